"""A TLS 1.2 client as the device is one: BearSSL's hello, its order of checks, its numbers; the keys are real.

The server's chain is judged by `x509` before a key is exchanged, so a server that is refused sees the device leave when
a device would. A session that was kept is offered by its id; BearSSL knows no tickets.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..errors import InputError
from . import tls_messages as messages
from .anchors import Trust
from .connection import Socket
from .error_numbers import TlsError
from .public_key import PublicKey, RsaKey, signature_holds
from .tls_messages import Hello, KeyExchange, Request, message, vector
from .tls_records import ALERT, APPLICATION, CHANGE_CIPHER_SPEC, IN_OVERHEAD, OUT_OVERHEAD, Records
from .tls_suites import SUITES, Suite, TlsStop, derive, prf, protection
from .x509 import KEY_EXCHANGE, SIGN, Validation, validate

__all__ = ["ClientCertificate", "Connection", "Failure", "Session", "TlsSettings", "handshake"]

X25519 = 29
MASTER_SIZE, FINISHED_SIZE = 48, 12
CLIENT_HASHES = (4, 5, 6, 3, 2)  # in the order in which BearSSL prefers them
RSA_SIGN, ECDSA_SIGN = 1, 64  # kinds of client certificates
_ALERTS = {54: 45, 62: 48, 56: 42}  # BearSSL tells the server little; these only end the connection in good manners


@dataclass(frozen=True)
class ClientCertificate:
    """The device's own chain and key, PEM as the sketch embeds them."""

    chain: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Session:
    """What is kept of a connection to resume it: id, suite, and the master secret."""

    id: bytes
    suite: int
    master: bytes = field(repr=False)


@dataclass(frozen=True)
class TlsSettings:
    """How the client is set up: whom it trusts, the server `name` it expects (None: any), its clock, its buffers.

    Buffers are in bytes, as given to `setBufferSizes`. `now` None is 1970 (F25).
    """

    trust: Trust
    name: str | None
    now: datetime | None
    receive_buffer: int = 16384
    send_buffer: int = 512
    client: ClientCertificate | None = None
    session: Session | None = None

    @property
    def fragment(self) -> int:
        """The record length that fits in both buffers and is asked for, 16384 for none (F27c)."""
        return max(size for size in (512, 1024, 2048, 4096, 16384) if size <= self.receive_buffer and self._sends(size))

    def _sends(self, size: int) -> bool:
        return size <= self.send_buffer or size == 512

    @property
    def memory(self) -> int:
        """Bytes of heap that the two buffers take."""
        return self.receive_buffer + IN_OVERHEAD + self.send_buffer + OUT_OVERHEAD


@dataclass(frozen=True)
class Failure:
    """Why there is no connection: BearSSL's number (0: it has none), the step, reason and fact; or a crash (F18b)."""

    step: str
    error: int
    reason: str
    fact: str
    crash: bool = False
    chain: tuple[bytes, ...] = ()


@dataclass
class Connection:
    """An open connection. `chain` is what the server sent, () where a session was resumed."""

    records: Records
    suite: Suite
    session: Session
    chain: tuple[bytes, ...]
    resumed: bool
    fragment_agreed: bool
    client_asked: bool
    client_sent: bool
    _data: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes) -> bool:
        """Send `data`, and tell whether it went out."""
        return self.records.send(APPLICATION, data)

    def read(self) -> bytes:
        """Return the next piece of what the server sends; raises TlsStop at the end, error 0 for an orderly one."""
        kind, data = self.records.receive()
        if kind != APPLICATION:
            raise TlsStop(TlsError.UNEXPECTED, f"a record of type {kind} among the data")
        return data

    def close(self) -> None:
        """Close the connection."""
        self.records.close()


def handshake(connection: Socket, settings: TlsSettings) -> Connection | Failure:
    """Return a TLS connection over `connection`, or why the device has none.

    Raises InputError where the device's own certificate or key cannot be read.
    """
    records = Records(connection, settings.receive_buffer, settings.fragment)
    client = _Client(records, settings)
    try:
        return client.run()
    except TlsStop as stop:
        fact = "F21" if stop.error == 256 + 70 else stop.fact
        failure = Failure(client.step, stop.error, stop.reason, fact, client.crash, client.chain)
    if failure.error and failure.error < 256:
        records.send(ALERT, bytes([2, _ALERTS.get(failure.error, 40)]))
    connection.close()
    return failure


class _Client:
    def __init__(self, records: Records, settings: TlsSettings) -> None:
        self.records, self.settings = records, settings
        self.step, self.crash = "handshake", False
        self.chain: tuple[bytes, ...] = ()
        self.random = bytes(4) + secrets.token_bytes(28)
        self.key: PublicKey | None = None

    def run(self) -> Connection:
        settings, session = self.settings, self.settings.session
        known = session.id if session else b""
        self.records.send_handshake(messages.client_hello(self.random, known, settings.name, settings.fragment))
        body = self._expect(messages.SERVER_HELLO)
        hello = messages.read_server_hello(body, self.records.version, settings.name, settings.fragment)
        suite = SUITES[hello.suite]
        if suite is None:
            raise TlsStop(TlsError.OK, f"suite 0x{hello.suite:04x} is not played here", "F26")
        if session is not None and known and hello.session == known:
            return self._resume(hello, suite, session)
        return self._full(hello, suite)

    def _full(self, hello: Hello, suite: Suite) -> Connection:
        self.chain = messages.read_certificates(self._expect(messages.CERTIFICATE))
        self._judge(suite)
        exchange = None
        if suite.exchange == "ECDHE":
            exchange = messages.read_key_exchange(self._expect(messages.SERVER_KEY_EXCHANGE), suite.signer)
            self._check_exchange(exchange, hello)
        kind, body = self._next()
        request = None
        if kind == messages.CERTIFICATE_REQUEST:
            request = messages.read_request(body)
            kind, body = self._next()
        if kind != messages.SERVER_HELLO_DONE:
            raise TlsStop(TlsError.UNEXPECTED, f"handshake message {kind} out of turn")
        if body:
            raise TlsStop(TlsError.BAD_HELLO_DONE, "ServerHelloDone is not empty")
        signer = self._send_certificate(request) if request is not None else None
        secret, sent = self._exchange_keys(exchange)
        self.records.send_handshake(message(messages.CLIENT_KEY_EXCHANGE, sent))
        seed = self.random + hello.random
        master = prf(suite.prf_hash, secret, b"master secret", seed, MASTER_SIZE)
        if signer is not None:
            self.records.send_handshake(message(messages.CERTIFICATE_VERIFY, signer.sign(self.records.transcript)))
        if request is not None:
            self.step = "client-certificate"  # whoever asked for it refuses it now
        self._finish(suite, master, hello)
        self._await_finish(suite, master, hello)
        kept = Session(hello.session, hello.suite, master)
        sent_one = signer is not None
        return Connection(self.records, suite, kept, self.chain, False, hello.fragment, request is not None, sent_one)

    def _resume(self, hello: Hello, suite: Suite, session: Session) -> Connection:
        if hello.suite != session.suite:
            raise TlsStop(TlsError.RESUME_MISMATCH, "the server resumes with another suite")
        self._await_finish(suite, session.master, hello)
        self._finish(suite, session.master, hello)
        return Connection(self.records, suite, session, (), True, hello.fragment, False, False)

    def _judge(self, suite: Suite) -> None:
        self.step = "certificate-chain"
        found: Validation = validate(self.chain, self.settings.trust, self.settings.name, self.settings.now)
        if found.crash:
            self.crash = True
            raise TlsStop(TlsError.OK, found.crash, found.fact)
        if found.error:
            raise TlsStop(found.error, found.reason, found.fact)
        wanted = KEY_EXCHANGE if suite.exchange == "RSA" else SIGN
        fits = isinstance(found.key, RsaKey) is (suite.signer == "RSA")
        if not fits or not found.usages & wanted:
            reason = "the key usage of the server's certificate lacks digitalSignature"
            raise TlsStop(TlsError.WRONG_KEY_USAGE, reason, "F27b")
        self.key, self.step = found.key, "handshake"

    def _check_exchange(self, exchange: KeyExchange, hello: Hello) -> None:
        assert self.key is not None
        if len(exchange.signature) > 512:
            raise TlsStop(TlsError.LIMIT_EXCEEDED, "a signature over 4096 bits", "F26")
        signed = self.random + hello.random + exchange.signed
        if not signature_holds(exchange.signature, self.key, signed, exchange.hash_name):
            raise TlsStop(TlsError.BAD_SIGNATURE, "the server does not own the key of its certificate")

    def _exchange_keys(self, exchange: KeyExchange | None) -> tuple[bytes, bytes]:
        """Return the premaster secret, and the ClientKeyExchange that tells it."""
        if exchange is not None:
            secret, point = _agree(exchange)
            return secret, vector(point, 1)
        assert isinstance(self.key, RsaKey)
        secret = messages.TLS_1_2.to_bytes(2, "big") + secrets.token_bytes(46)
        filling = bytes(1 + secrets.randbelow(255) for _ in range(self.key.size - 51))
        block = int.from_bytes(b"\0\2" + filling + b"\0" + secret, "big")
        sent = pow(block, self.key.exponent, self.key.modulus).to_bytes(self.key.size, "big")
        return secret, vector(sent, 2)

    def _send_certificate(self, request: Request) -> _Signer | None:
        signer = _Signer.choose(self.settings.client, request) if self.settings.client else None
        listed = b"".join(vector(der, 3) for der in signer.chain) if signer else b""
        self.records.send_handshake(message(messages.CERTIFICATE, vector(listed, 3)))
        return signer

    def _finish(self, suite: Suite, master: bytes, hello: Hello) -> None:
        keys, _ = derive(suite, master, self.random, hello.random)
        proof = self._proof(suite, master, b"client finished")
        self.records.send(CHANGE_CIPHER_SPEC, b"\1")
        self.records.protect_out(protection(suite, keys))
        self.records.send_handshake(message(messages.FINISHED, proof))

    def _await_finish(self, suite: Suite, master: bytes, hello: Hello) -> None:
        self.records.receive_change()
        _, keys = derive(suite, master, self.random, hello.random)
        self.records.protect_in(protection(suite, keys))
        expected = self._proof(suite, master, b"server finished")
        if self._expect(messages.FINISHED) != expected:
            raise TlsStop(TlsError.BAD_FINISHED, "the server's Finished is wrong")

    def _proof(self, suite: Suite, master: bytes, label: bytes) -> bytes:
        digest = hashlib.new(suite.prf_hash, self.records.transcript).digest()
        return prf(suite.prf_hash, master, label, digest, FINISHED_SIZE)

    def _next(self) -> tuple[int, bytes]:
        kind, body, whole = self.records.receive_handshake()
        self.records.transcript += whole
        return kind, body

    def _expect(self, kind: int) -> bytes:
        found, body = self._next()
        if found != kind:
            raise TlsStop(TlsError.UNEXPECTED, f"handshake message {found} where {kind} has to come")
        return body


def _agree(exchange: KeyExchange) -> tuple[bytes, bytes]:
    """Return the shared secret and our point."""
    from cryptography.hazmat.primitives.asymmetric import ec, x25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        if exchange.group == X25519:
            own = x25519.X25519PrivateKey.generate()
            secret = own.exchange(x25519.X25519PublicKey.from_public_bytes(exchange.point))
            return secret, own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        curves: dict[int, ec.EllipticCurve] = {23: ec.SECP256R1(), 24: ec.SECP384R1(), 25: ec.SECP521R1()}
        curve = curves[exchange.group]
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(curve, exchange.point)
    except ValueError as error:
        raise TlsStop(TlsError.INVALID_ALGORITHM, "the server's point is not on its curve", "F26") from error
    mine = ec.generate_private_key(curve)
    point = mine.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return mine.exchange(ec.ECDH(), theirs), point


@dataclass(frozen=True)
class _Signer:
    """The device's certificate, if the server wants one of its kind: chain (DER), key, and the hash agreed on."""

    chain: tuple[bytes, ...]
    key: Any
    hash_number: int
    kind: int

    @classmethod
    def choose(cls, client: ClientCertificate, request: Request) -> _Signer | None:
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(client.key, None)
            chain = _chain(client.chain)
        except (ValueError, TypeError) as error:
            raise InputError(
                "the device's certificate or key cannot be read",
                "give chain and key in PEM, the key without passphrase",
            ) from error
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        kind, algorithm = (RSA_SIGN, 1) if is_rsa else (ECDSA_SIGN, 3)
        pairs = set(zip(request.algorithms[0::2], request.algorithms[1::2], strict=False))
        usable = (name for name in CLIENT_HASHES if (name, algorithm) in pairs and kind in request.kinds)
        chosen = next(usable, None)
        return None if chosen is None else cls(chain, key, chosen, algorithm)

    def sign(self, transcript: bytes) -> bytes:
        """Return the content of a CertificateVerify."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding

        algorithm = getattr(hashes, messages.HASHES[self.hash_number].upper())()
        if self.kind == 1:
            signature = self.key.sign(transcript, padding.PKCS1v15(), algorithm)
        else:
            signature = self.key.sign(transcript, ec.ECDSA(algorithm))
        return bytes([self.hash_number, self.kind]) + vector(signature, 2)


def _chain(text: bytes) -> tuple[bytes, ...]:
    """Return the certificates in PEM, undecoded, as the device sends them; raises ValueError where there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    found = re.findall(f"{begin}.*?{end}", text.decode("ascii", "replace"), re.DOTALL)
    if not found:
        raise ValueError("no certificate")
    return tuple(ssl.PEM_cert_to_DER_cert(pem) for pem in found)
