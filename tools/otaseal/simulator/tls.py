"""A TLS 1.2 client that behaves as BearSSL in the core: its hello, its order of checks, its error numbers.

Python's `ssl` cannot be this client: it neither asks for a record length nor shows the chain before the key exchange,
where BearSSL judges it (`x509`). Sessions are resumed by id; BearSSL has no tickets.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from ..errors import InputError
from . import tls_messages as messages
from .anchors import Trust
from .connection import Socket
from .error_numbers import RECEIVED_ALERT, TlsError
from .public_key import PublicKey, RsaKey, curve_of, signature_holds
from .tls_messages import ServerHello, ServerKeyExchange, message, vector
from .tls_records import ALERT, APPLICATION, CHANGE_CIPHER_SPEC, IN_OVERHEAD, OUT_OVERHEAD, Records
from .tls_suites import SUITES, Suite, TlsClosed, prf, protections
from .x509 import KEY_EXCHANGE, SIGN, validate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

X25519 = 29
MASTER_SIZE, FINISHED_SIZE = 48, 12
CLIENT_HASHES = (4, 5, 6, 3, 2)  # in the order in which BearSSL prefers them
RSA_SIGN, ECDSA_SIGN = 1, 64  # kinds of client certificates
RSA, ECDSA = 1, 3  # signature algorithms
FATAL = 2
_ALERTS = {54: 45, 62: 48, 56: 42}  # the alerts that tell the server why; BearSSL sends few


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
        sizes = (size for size in (1024, 2048, 4096, 16384) if size <= min(self.receive_buffer, self.send_buffer))
        return max(sizes, default=512)

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


class Connection:
    """A connection, and the handshake that opens it.

    `chain` is what the server sent, () where a session was `resumed`. `session` is what can be kept of it,
    `fragment_agreed` whether the server will send short records, `client_asked` whether it wanted a certificate of the
    device, `client_sent` whether there was one.
    """

    suite: Suite
    session: Session
    fragment_agreed: bool

    def __init__(self, records: Records, settings: TlsSettings) -> None:
        self.records, self.settings = records, settings
        self.chain: tuple[bytes, ...] = ()
        self.resumed = self.client_asked = self.client_sent = False
        self.step, self.crash = "handshake", False
        self._key: PublicKey | None = None
        self._randoms = bytes(4) + secrets.token_bytes(28)

    def send(self, data: bytes) -> bool:
        """Send `data`, and tell whether it went out."""
        return self.records.send(APPLICATION, data)

    def read(self) -> bytes:
        """Return the next piece of what the server sends; raises TlsClosed at the end, error 0 for an orderly one."""
        kind, data = self.records.receive()
        if kind != APPLICATION:
            raise TlsClosed(TlsError.UNEXPECTED, f"a record of type {kind} among the data")
        return data

    def close(self) -> None:
        """Close the connection."""
        self.records.close()

    def handshake(self) -> None:
        """Shake hands; raises TlsClosed where BearSSL closes, with `step` and `crash` telling where."""
        name, fragment, kept = self.settings.name, self.settings.fragment, self.settings.session
        offered = kept.id if kept else b""
        self.records.send_handshake(messages.handshake_hello(self._randoms, offered, name, fragment))
        body = self._expect(messages.SERVER_HELLO)
        hello = ServerHello.parse(body, self.records.version, name, fragment)
        suite = SUITES[hello.suite]
        if suite is None:
            raise TlsClosed(TlsError.OK, f"suite 0x{hello.suite:04x} is not played here", "F26")
        self.suite, self.fragment_agreed = suite, hello.fragment
        self._randoms += hello.random
        if kept is not None and offered and hello.session == offered:
            if hello.suite != kept.suite:
                raise TlsClosed(TlsError.RESUME_MISMATCH, "the server resumes with another suite")
            self.resumed, self.session = True, kept
            self._receive_finished()
            self._send_finished()
        else:
            self.session = Session(hello.session, hello.suite, self._exchange_keys())
            self._send_finished()
            self._receive_finished()

    def _exchange_keys(self) -> bytes:
        """Take the server's certificates and key, send ours, and return the master secret."""
        self.chain = messages.read_certificates(self._expect(messages.CERTIFICATE))
        key = self._judge_chain()
        if self.suite.exchange == "ECDHE":
            exchange = ServerKeyExchange.parse(self._expect(messages.SERVER_KEY_EXCHANGE), self.suite.signer)
            if len(exchange.signature) > 512:
                raise TlsClosed(TlsError.LIMIT_EXCEEDED, "a signature over 4096 bits", "F26")
            if not signature_holds(exchange.signature, key, self._randoms + exchange.signed, exchange.hash_name):
                raise TlsClosed(TlsError.BAD_SIGNATURE, "the server does not own the key of its certificate")
        kind, body = self._next()
        request = messages.read_certificate_request(body) if kind == messages.CERTIFICATE_REQUEST else None
        if request is not None:
            kind, body = self._next()
        if kind != messages.SERVER_HELLO_DONE:
            raise TlsClosed(TlsError.UNEXPECTED, f"handshake message {kind} out of turn")
        if body:
            raise TlsClosed(TlsError.BAD_HELLO_DONE, "ServerHelloDone is not empty")
        sign = None if request is None else self._send_certificate(*request)
        if isinstance(key, RsaKey) and self.suite.exchange == "RSA":
            secret, sent = _encrypted_secret(key)
        else:
            secret, sent = _diffie_hellman(exchange.group, exchange.point)
        self._send(messages.CLIENT_KEY_EXCHANGE, sent)
        if sign is not None:
            self._send(messages.CERTIFICATE_VERIFY, sign(self.records.transcript))
        if request is not None:
            self.step = "client-certificate"  # whoever asked for it refuses it now
        return prf(self.suite.prf_hash, secret, b"master secret", self._randoms, MASTER_SIZE)

    def _judge_chain(self) -> PublicKey:
        """Return the server's key; raises TlsClosed where its chain is not trusted, or not for this suite."""
        settings, self.step = self.settings, "certificate-chain"
        validation = validate(self.chain, settings.trust, settings.name, settings.now)
        self.crash = bool(validation.crash)
        if not validation.ok or validation.key is None:
            raise TlsClosed(validation.error, validation.crash or validation.reason, validation.fact)
        wanted = KEY_EXCHANGE if self.suite.exchange == "RSA" else SIGN
        fits = isinstance(validation.key, RsaKey) is (self.suite.signer == "RSA")
        if not fits or not validation.usages & wanted:
            reason = "the key usage of the server's certificate lacks digitalSignature"
            raise TlsClosed(TlsError.WRONG_KEY_USAGE, reason, "F27b")
        self.step = "handshake"
        return validation.key

    def _send_certificate(self, kinds: bytes, algorithms: bytes) -> Callable[[bytes], bytes] | None:
        """Send the device's chain if it is of the kind that is wanted, and return what signs for it, else None."""
        chain: tuple[bytes, ...] = ()
        sign = None
        if self.settings.client is not None:
            own, key = _load(self.settings.client)
            hash_number = _common_hash(key, kinds, algorithms)
            if hash_number is not None:
                chain, sign = own, partial(_sign, key, hash_number)
        self._send(messages.CERTIFICATE, vector(b"".join(vector(der, 3) for der in chain), 3))
        self.client_asked, self.client_sent = True, sign is not None
        return sign

    def _send_finished(self) -> None:
        proof = self._proof(b"client finished")
        self.records.send(CHANGE_CIPHER_SPEC, b"\1")
        self.records.protect_out(protections(self.suite, self.session.master, self._randoms)[0])
        self._send(messages.FINISHED, proof)

    def _receive_finished(self) -> None:
        self.records.receive_change_cipher_spec()
        self.records.protect_in(protections(self.suite, self.session.master, self._randoms)[1])
        proof = self._proof(b"server finished")
        if self._expect(messages.FINISHED) != proof:
            raise TlsClosed(TlsError.BAD_FINISHED, "the server's Finished is wrong")

    def _proof(self, label: bytes) -> bytes:
        digest = hashlib.new(self.suite.prf_hash, self.records.transcript).digest()
        return prf(self.suite.prf_hash, self.session.master, label, digest, FINISHED_SIZE)

    def _send(self, kind: int, body: bytes) -> None:
        self.records.send_handshake(message(kind, body))

    def _next(self) -> tuple[int, bytes]:
        """Return the next handshake message: kind and body."""
        whole = self.records.receive_handshake()
        return whole[0], whole[4:]

    def _expect(self, wanted: int) -> bytes:
        kind, body = self._next()
        if kind != wanted:
            raise TlsClosed(TlsError.UNEXPECTED, f"handshake message {kind} where {wanted} has to come")
        return body


def _encrypted_secret(key: RsaKey) -> tuple[bytes, bytes]:
    """Return a premaster secret, and the ClientKeyExchange that tells it."""
    secret = messages.TLS_1_2.to_bytes(2, "big") + secrets.token_bytes(46)
    padding = bytes(1 + secrets.randbelow(255) for _ in range(key.size - 51))
    block = int.from_bytes(b"\0\2" + padding + b"\0" + secret, "big")
    return secret, vector(pow(block, key.exponent, key.modulus).to_bytes(key.size, "big"), 2)


def handshake(socket: Socket, settings: TlsSettings) -> Connection | Failure:
    """Return a connection over `socket`, or why the device has none.

    Raises InputError where the device's own certificate or key cannot be read.
    """
    records = Records(socket, settings.receive_buffer, settings.fragment)
    connection = Connection(records, settings)
    try:
        connection.handshake()
    except InputError:
        socket.close()
        raise
    except TlsClosed as closed:
        error = closed.error
        if error and error < RECEIVED_ALERT:
            records.send(ALERT, bytes([FATAL, _ALERTS.get(error, 40)]))
        socket.close()
        fact = "F21" if error == RECEIVED_ALERT + 70 else closed.fact
        return Failure(connection.step, error, closed.reason, fact=fact, crash=connection.crash, chain=connection.chain)
    return connection


def _diffie_hellman(group: int, theirs: bytes) -> tuple[bytes, bytes]:
    """Return the premaster secret, and the ClientKeyExchange; raises TlsClosed for what is no point of that group."""
    from cryptography.hazmat.primitives.asymmetric import ec, x25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        if group == X25519:
            own = x25519.X25519PrivateKey.generate()
            secret = own.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
            return secret, vector(own.public_key().public_bytes_raw(), 1)
        public = ec.EllipticCurvePublicKey.from_encoded_point(curve_of(group), theirs)
    except ValueError as error:
        raise TlsClosed(TlsError.INVALID_ALGORITHM, "the server's point is not on its curve", "F26") from error
    private = ec.generate_private_key(curve_of(group))
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return private.exchange(ec.ECDH(), public), vector(point, 1)


def _load(client: ClientCertificate) -> tuple[tuple[bytes, ...], PrivateKey]:
    """Return the chain (DER) and the key of the device; raises InputError where they cannot be read."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    try:
        chain = tuple(each.public_bytes(Encoding.DER) for each in load_pem_x509_certificates(client.chain))
        key = load_pem_private_key(client.key, None)
        if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
            raise ValueError("a kind of key that BearSSL does not know")
    except (ValueError, TypeError) as error:
        raise InputError(
            "the device's certificate or key cannot be read", "give chain and key in PEM, the key without passphrase"
        ) from error
    return chain, key


def _common_hash(key: PrivateKey, kinds: bytes, algorithms: bytes) -> int | None:
    """Return the hash by which the server takes a signature of `key`, None where it takes no such key."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    kind, algorithm = (RSA_SIGN, RSA) if isinstance(key, RSAPrivateKey) else (ECDSA_SIGN, ECDSA)
    pairs = set(zip(algorithms[0::2], algorithms[1::2], strict=False))
    usable = (number for number in CLIENT_HASHES if (number, algorithm) in pairs and kind in kinds)
    return next(usable, None)


def _sign(key: PrivateKey, hash_number: int, transcript: bytes) -> bytes:
    """Return the content of a CertificateVerify."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    algorithm = getattr(hashes, messages.HASHES[hash_number].upper())()
    if isinstance(key, rsa.RSAPrivateKey):
        return bytes([hash_number, RSA]) + vector(key.sign(transcript, padding.PKCS1v15(), algorithm), 2)
    return bytes([hash_number, ECDSA]) + vector(key.sign(transcript, ec.ECDSA(algorithm)), 2)
