"""Handshake messages: what the device writes, and its checks of what the server answers, with BearSSL's numbers.

The hello has the bytes of the core's: suites, extensions and their order (BearSSL src/ssl/ssl_hs_client.t0).
"""

from __future__ import annotations

from dataclasses import dataclass

from .error_numbers import TlsError
from .tls_suites import SUITES, TlsClosed

TLS_1_0, TLS_1_2 = 0x0301, 0x0303
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST = 1, 2, 11, 12, 13
SERVER_HELLO_DONE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED = 14, 15, 16, 20
SERVER_NAME, MAX_FRAGMENT_LENGTH, SUPPORTED_GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS = 0, 1, 10, 11, 13
RENEGOTIATION = 0xFF01
FRAGMENT_LENGTHS = {512: 1, 1024: 2, 2048: 3, 4096: 4}  # RFC 6066, 4
HASHES = {2: "sha1", 3: "sha224", 4: "sha256", 5: "sha384", 6: "sha512"}
GROUPS = (23, 24, 25, 29)  # P-256, P-384, P-521, X25519: by number, as BearSSL lists them
SIGNATURES = bytes.fromhex("0403030305030603020304010301050106010201")


class Reader:
    """A message read from the front; a truncated one is BAD_PARAM."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """Read `count` bytes."""
        if count > self.left:
            raise TlsClosed(TlsError.BAD_PARAM, "a handshake message of the server is malformed")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        """Read a number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Read a vector whose length has `size` bytes."""
        return self.take(self.number(size))

    def close(self) -> None:
        """Expect that nothing is left."""
        if self.left:
            raise TlsClosed(TlsError.BAD_PARAM, "a handshake message of the server has bytes too many")


def vector(data: bytes, size: int) -> bytes:
    """Return `data` behind its length in `size` bytes."""
    return len(data).to_bytes(size, "big") + data


def message(kind: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes([kind]) + vector(body, 3)


def extension(kind: int, value: bytes) -> bytes:
    """Return an extension of a hello."""
    return kind.to_bytes(2, "big") + vector(value, 2)


ALGORITHMS = (
    extension(SIGNATURE_ALGORITHMS, vector(SIGNATURES, 2))
    + extension(SUPPORTED_GROUPS, vector(b"".join(group.to_bytes(2, "big") for group in GROUPS), 2))
    + extension(POINT_FORMATS, b"\1\0")
)
"""The extensions that stand in every hello, the last ones of the handshake's."""


def client_hello(random: bytes, session: bytes, extensions: bytes) -> bytes:
    """Return a hello with these extensions."""
    suites = b"".join(suite.to_bytes(2, "big") for suite in SUITES)
    body = TLS_1_2.to_bytes(2, "big") + random + vector(session, 1) + vector(suites, 2) + b"\1\0"
    return message(CLIENT_HELLO, body + vector(extensions, 2))


def handshake_hello(random: bytes, session: bytes, name: str | None, fragment: int) -> bytes:
    """Return the hello of a handshake with the server `name`, which may be an address; None names nobody.

    `fragment` is the largest record that both buffers hold, 16384 asks for nothing (F27).
    """
    extensions = extension(RENEGOTIATION, b"\0")
    if name:
        extensions += extension(SERVER_NAME, vector(b"\0" + vector(name.encode(), 2), 2))
    if fragment in FRAGMENT_LENGTHS:
        extensions += extension(MAX_FRAGMENT_LENGTH, bytes([FRAGMENT_LENGTHS[fragment]]))
    return client_hello(random, session, extensions + ALGORITHMS)


@dataclass(frozen=True)
class ServerHello:
    """A ServerHello; `fragment` is whether the record length asked for was confirmed (F27)."""

    random: bytes
    session: bytes
    suite: int
    fragment: bool

    @classmethod
    def parse(cls, body: bytes, record_version: int, name: str | None, fragment: int) -> ServerHello:
        """Return what the server chose, in a record of that version; raises TlsClosed where BearSSL closes."""
        reader = Reader(body)
        version = reader.number(2)
        if not TLS_1_0 <= version <= TLS_1_2:
            raise TlsClosed(TlsError.UNSUPPORTED_VERSION, f"the server chooses version 0x{version:04x}")
        if version != record_version:
            raise TlsClosed(TlsError.BAD_VERSION, f"version 0x{version:04x} in a record of 0x{record_version:04x}")
        random, session = reader.take(32), reader.vector(1)
        if len(session) > 32:
            raise TlsClosed(TlsError.OVERSIZED_ID, f"a session id of {len(session)} bytes")
        suite = reader.number(2)
        if suite not in SUITES:
            raise TlsClosed(TlsError.BAD_CIPHER_SUITE, f"the server chooses suite 0x{suite:04x}, which was not offered")
        if reader.number(1):
            raise TlsClosed(TlsError.BAD_COMPRESSION, "the server chooses compression")
        if version != TLS_1_2:
            raise TlsClosed(TlsError.OK, f"the server speaks no TLS 1.2 but 0x{version:04x}, which is not played here")
        extensions = Reader(reader.vector(2) if reader.left else b"")
        reader.close()
        asked = {RENEGOTIATION, SIGNATURE_ALGORITHMS, SUPPORTED_GROUPS, POINT_FORMATS}
        asked |= {SERVER_NAME} if name else set()
        asked |= {MAX_FRAGMENT_LENGTH} if fragment in FRAGMENT_LENGTHS else set()
        confirmed = False
        while extensions.left:
            kind, value = extensions.number(2), extensions.vector(2)
            if kind not in asked:
                raise TlsClosed(TlsError.EXTRA_EXTENSION, f"the server answers extension {kind}, which was not asked")
            asked.remove(kind)
            _check_extension(kind, value, fragment)
            confirmed |= kind == MAX_FRAGMENT_LENGTH
        return cls(random, session, suite, confirmed)


def _check_extension(kind: int, value: bytes, fragment: int) -> None:
    if kind == SERVER_NAME and value:
        raise TlsClosed(TlsError.BAD_SNI, "the server's answer to the name is not empty")
    if kind == MAX_FRAGMENT_LENGTH and value != bytes([FRAGMENT_LENGTHS[fragment]]):
        raise TlsClosed(TlsError.BAD_FRAGLEN, "the server answers another fragment length", "F27")
    if kind == RENEGOTIATION and value != b"\0":
        raise TlsClosed(TlsError.BAD_SECRENEG, "the server's renegotiation data is wrong")


def read_certificates(body: bytes) -> tuple[bytes, ...]:
    """Return the chain as sent (DER)."""
    reader, chain = Reader(body), []
    certificates = Reader(reader.vector(3))
    reader.close()
    while certificates.left:
        chain.append(certificates.vector(3))
    return tuple(chain)


@dataclass(frozen=True)
class ServerKeyExchange:
    """Group, the server's point, hash and signature over `signed`."""

    group: int
    point: bytes
    hash_name: str
    signature: bytes
    signed: bytes

    @classmethod
    def parse(cls, body: bytes, signer: str) -> ServerKeyExchange:
        """Return the server's point and signature; `signer` is the suite's, "RSA" or "ECDSA"."""
        reader = Reader(body)
        if reader.number(1) != 3:
            raise TlsClosed(TlsError.INVALID_ALGORITHM, "the server names no curve", "F26")
        group, point = reader.number(2), reader.vector(1)
        if group not in GROUPS:
            raise TlsClosed(TlsError.INVALID_ALGORITHM, f"the server chooses group {group}", "F26")
        hash_number, algorithm = reader.number(1), reader.number(1)
        if hash_number not in HASHES or algorithm != {"RSA": 1, "ECDSA": 3}[signer]:
            reason = f"the server signs by 0x{hash_number:02x}{algorithm:02x}"
            raise TlsClosed(TlsError.INVALID_ALGORITHM, reason, "F26")
        signature = reader.vector(2)
        reader.close()
        return cls(group, point, HASHES[hash_number], signature=signature, signed=body[: 4 + len(point)])


def read_certificate_request(body: bytes) -> tuple[bytes, bytes]:
    """Return the kinds of certificates wanted (1 RSA, 64 ECDSA), and pairs of hash and signature, two bytes each."""
    reader = Reader(body)
    kinds, algorithms, _ = reader.vector(1), reader.vector(2), reader.vector(2)
    reader.close()
    return kinds, algorithms
