"""Handshake messages as the device writes and reads them: its hello, and what the server answers.

Reading fails with BearSSL's number. The bytes of the hello are the core's: same suites, same extensions, same order
(BearSSL src/ssl/ssl_hs_client.t0), so that a server sees what it would see.
"""

from __future__ import annotations

from dataclasses import dataclass

from .error_numbers import TlsError
from .tls_suites import SUITES, TlsStop

__all__ = [
    "CERTIFICATE",
    "CERTIFICATE_REQUEST",
    "CERTIFICATE_VERIFY",
    "CLIENT_KEY_EXCHANGE",
    "FINISHED",
    "FRAGMENT_LENGTHS",
    "HASHES",
    "MAX_FRAGMENT",
    "SERVER_HELLO",
    "SERVER_HELLO_DONE",
    "SERVER_KEY_EXCHANGE",
    "SIGNATURES",
    "TLS_1_2",
    "Hello",
    "KeyExchange",
    "Request",
    "Vector",
    "client_hello",
    "message",
    "read_certificates",
    "read_key_exchange",
    "read_request",
    "read_server_hello",
    "vector",
]

TLS_1_0, TLS_1_2 = 0x0301, 0x0303
SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST = 2, 11, 12, 13
SERVER_HELLO_DONE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED = 14, 15, 16, 20
FRAGMENT_LENGTHS = {512: 1, 1024: 2, 2048: 3, 4096: 4}  # RFC 6066, 4
HASHES = {2: "sha1", 3: "sha224", 4: "sha256", 5: "sha384", 6: "sha512"}
GROUPS = (23, 24, 25, 29)  # P-256, P-384, P-521, X25519: by number, as BearSSL lists them
SIGNATURES = bytes.fromhex("0403030305030603020304010301050106010201")
SERVER_NAME, MAX_FRAGMENT, GROUP_LIST, POINT_FORMATS, ALGORITHMS, RENEGOTIATION = 0, 1, 10, 11, 13, 0xFF01


@dataclass(frozen=True)
class Hello:
    """What a ServerHello settled: `fragment` is whether the length asked for was confirmed (F27)."""

    random: bytes
    session: bytes
    suite: int
    fragment: bool


@dataclass(frozen=True)
class KeyExchange:
    """A ServerKeyExchange: group, the server's point, hash and signature over `signed`."""

    group: int
    point: bytes
    hash_name: str
    signature: bytes
    signed: bytes


@dataclass(frozen=True)
class Request:
    """A CertificateRequest: kinds of certificates wanted (1 RSA, 64 ECDSA), and pairs of hash and signature."""

    kinds: bytes
    algorithms: bytes


class Vector:
    """A message read from the front; what is not there is BAD_PARAM."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """Read `count` bytes."""
        if count > self.left:
            raise TlsStop(TlsError.BAD_PARAM, "a handshake message of the server is malformed")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        """Read a number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def sub(self, size: int) -> bytes:
        """Read a vector whose length has `size` bytes."""
        return self.take(self.number(size))

    def close(self) -> None:
        """Expect that nothing is left."""
        if self.left:
            raise TlsStop(TlsError.BAD_PARAM, "a handshake message of the server has bytes too many")


def vector(data: bytes, size: int) -> bytes:
    """Return `data` behind its length in `size` bytes."""
    return len(data).to_bytes(size, "big") + data


def message(kind: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes([kind]) + vector(body, 3)


def client_hello(random: bytes, session: bytes, name: str | None, fragment: int) -> bytes:
    """Return the hello; `fragment` is the largest record that both buffers hold, 16384 asks for nothing (F27).

    An address goes into the server name like any other text.
    """
    extensions = [(RENEGOTIATION, b"\0")]
    if name:
        extensions.append((SERVER_NAME, vector(b"\0" + vector(name.encode(), 2), 2)))
    if fragment in FRAGMENT_LENGTHS:
        extensions.append((MAX_FRAGMENT, bytes([FRAGMENT_LENGTHS[fragment]])))
    groups = b"".join(group.to_bytes(2, "big") for group in GROUPS)
    extensions += [(ALGORITHMS, vector(SIGNATURES, 2)), (GROUP_LIST, vector(groups, 2)), (POINT_FORMATS, b"\1\0")]
    suites = b"".join(suite.to_bytes(2, "big") for suite in SUITES)
    body = TLS_1_2.to_bytes(2, "big") + random + vector(session, 1) + vector(suites, 2) + b"\1\0"
    body += vector(b"".join(kind.to_bytes(2, "big") + vector(value, 2) for kind, value in extensions), 2)
    return message(1, body)


def read_server_hello(body: bytes, record_version: int, name: str | None, fragment: int) -> Hello:
    """Return what the server chose, in a record of that version; raises TlsStop where BearSSL does."""
    reader = Vector(body)
    version = reader.number(2)
    if not TLS_1_0 <= version <= TLS_1_2:
        raise TlsStop(TlsError.UNSUPPORTED_VERSION, f"the server chooses version 0x{version:04x}")
    if version != record_version:
        raise TlsStop(TlsError.BAD_VERSION, f"version 0x{version:04x} in a record of 0x{record_version:04x}")
    random, session = reader.take(32), reader.sub(1)
    if len(session) > 32:
        raise TlsStop(TlsError.OVERSIZED_ID, f"a session id of {len(session)} bytes")
    suite = reader.number(2)
    if suite not in SUITES:
        raise TlsStop(TlsError.BAD_CIPHER_SUITE, f"the server chooses suite 0x{suite:04x}, which was not offered")
    if reader.number(1):
        raise TlsStop(TlsError.BAD_COMPRESSION, "the server chooses compression")
    if version != TLS_1_2:
        raise TlsStop(TlsError.OK, f"the server speaks no TLS 1.2 but 0x{version:04x}, which is not played here")
    extensions = Vector(reader.sub(2)) if reader.left else Vector(b"")
    reader.close()
    allowed = {RENEGOTIATION, ALGORITHMS, GROUP_LIST, POINT_FORMATS}
    allowed |= {SERVER_NAME} if name else set()
    allowed |= {MAX_FRAGMENT} if fragment in FRAGMENT_LENGTHS else set()
    confirmed = False
    while extensions.left:
        kind, value = extensions.number(2), extensions.sub(2)
        if kind not in allowed:
            raise TlsStop(TlsError.EXTRA_EXTENSION, f"the server answers extension {kind}, which was not asked")
        allowed.remove(kind)
        _check_extension(kind, value, fragment)
        confirmed |= kind == MAX_FRAGMENT
    return Hello(random, session, suite, confirmed)


def _check_extension(kind: int, value: bytes, fragment: int) -> None:
    if kind == SERVER_NAME and value:
        raise TlsStop(TlsError.BAD_SNI, "the server's answer to the name is not empty")
    if kind == MAX_FRAGMENT and value != bytes([FRAGMENT_LENGTHS[fragment]]):
        raise TlsStop(TlsError.BAD_FRAGLEN, "the server answers another fragment length", "F27")
    if kind == RENEGOTIATION and value != b"\0":
        raise TlsStop(TlsError.BAD_SECRENEG, "the server's renegotiation data is wrong")


def read_certificates(body: bytes) -> tuple[bytes, ...]:
    """Return the chain as sent (DER)."""
    reader, chain = Vector(body), []
    listed = Vector(reader.sub(3))
    reader.close()
    while listed.left:
        chain.append(listed.sub(3))
    return tuple(chain)


def read_key_exchange(body: bytes, signer: str) -> KeyExchange:
    """Return the server's point and signature; `signer` is the suite's, "RSA" or "ECDSA"."""
    reader = Vector(body)
    if reader.number(1) != 3:
        raise TlsStop(TlsError.INVALID_ALGORITHM, "the server names no curve", "F26")
    group, point = reader.number(2), reader.sub(1)
    if group not in GROUPS:
        raise TlsStop(TlsError.INVALID_ALGORITHM, f"the server chooses group {group}", "F26")
    signed = body[: 4 + len(point)]
    hash_number, algorithm = reader.number(1), reader.number(1)
    if hash_number not in HASHES or algorithm != {"RSA": 1, "ECDSA": 3}[signer]:
        raise TlsStop(TlsError.INVALID_ALGORITHM, f"the server signs by 0x{hash_number:02x}{algorithm:02x}", "F26")
    signature = reader.sub(2)
    reader.close()
    return KeyExchange(group, point, HASHES[hash_number], signature, signed)


def read_request(body: bytes) -> Request:
    """Return what kind of certificate the server wants; whose it should be is not looked at."""
    reader = Vector(body)
    kinds, algorithms = reader.sub(1), reader.sub(2)
    reader.sub(2)
    reader.close()
    return Request(kinds, algorithms)
