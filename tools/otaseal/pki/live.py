"""Looking at a live server: the chain it sends, and what it answers to a device's hello.

One TLS 1.2 hello as the device sends it, spoken by hand, and the plain-text answers up to the certificates; then the
connection is dropped. Nothing is verified and no key exchanged: the verdict is `check`'s. So it sees the raw chain, in
the order sent, and whether TLS 1.2 is offered at all (F21) and short records are agreed to (F27).
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from dataclasses import dataclass

from ..errors import ConfigError, InputError, SystemFaultError, VerificationError

__all__ = ["LiveServer", "look_at", "parse_target"]

TIMEOUT = 10.0  # seconds, for connecting and for each read
MAX_HANDSHAKE_BYTES = 256 * 1024
MAX_RECORD_BYTES = 16384 + 2048  # RFC 5246, 6.2.3
DEFAULT_PORT = 443
FRAGMENT_SIZES = {1: 512, 2: 1024, 3: 2048, 4: 4096}  # RFC 6066, 4
# The device's first choices, and its last: with key exchange by ECDHE, ChaCha20 before AES-GCM (F27d)
SUITES = (0xCCA9, 0xCCA8, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xC023, 0xC027, 0xC009, 0xC013, 0x009C, 0x002F)
GROUPS = (29, 23, 24, 25)  # X25519, P-256, P-384, P-521
SIGNATURES = (0x0403, 0x0401, 0x0503, 0x0501, 0x0603, 0x0601, 0x0203, 0x0201)
ALERT, HANDSHAKE = 21, 22
WARNING = b"\x01"
SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE = 2, 11, 14
MAX_FRAGMENT_LENGTH = 1


@dataclass(frozen=True)
class LiveServer:
    """What a server answered: its chain (DER, as sent), the version and suite chosen, and its record size.

    `fragment` is the length of records agreed to (512), None if the server does not negotiate it.
    """

    chain: tuple[bytes, ...]
    version: int
    suite: int
    fragment: int | None


def parse_target(text: str) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `[v6]:port` or an https URL; raises ConfigError."""
    rest = text.removeprefix("https://").split("/", 1)[0]
    host, colon, port = rest.rpartition(":")
    if rest.count(":") > 1 and not rest.startswith("["):
        host, colon, port = rest, "", ""
    elif not colon or port.endswith("]"):
        host, port = rest, ""
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else DEFAULT_PORT if not port else 0
    host = host.removeprefix("[").removesuffix("]")
    if not host or not 0 < number < 65536 or "://" in text.removeprefix("https://"):
        raise ConfigError(f"'{text}' names no server", "write host:port, as in update.local:8443")
    return host, number


def look_at(host: str, port: int, server_name: str | None = None, timeout: float = TIMEOUT) -> LiveServer:
    """Return what the server at `host`:`port` answers to a device's hello; `server_name` defaults to `host`.

    Raises SystemFaultError when it cannot be reached, VerificationError when it refuses the hello (no TLS 1.2: every
    ESP8266 is locked out), InputError when it does not speak TLS.
    """
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(client_hello(server_name or host))
            return _read_answer(_ServerConnection(connection, f"{host}:{port}", time.monotonic() + timeout))
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise SystemFaultError(
            f"'{host}:{port}' does not answer: {reason}", "check address, port and firewall"
        ) from error


def client_hello(server_name: str) -> bytes:
    """Return the record with the hello: TLS 1.2, 512-byte records asked for, the name unless it is an address."""
    extensions = [
        _extension(MAX_FRAGMENT_LENGTH, bytes([1])),
        _extension(10, _vector(b"".join(group.to_bytes(2, "big") for group in GROUPS), 2)),
        _extension(11, _vector(b"\0", 1)),
        _extension(13, _vector(b"".join(signature.to_bytes(2, "big") for signature in SIGNATURES), 2)),
    ]
    if not _is_address(server_name):
        try:
            name = server_name.encode("ascii")
        except UnicodeEncodeError as error:
            raise ConfigError(f"'{server_name}' is not a host name in ASCII", "write it in punycode") from error
        extensions.append(_extension(0, _vector(b"\0" + _vector(name, 2), 2)))
    suites = b"".join(suite.to_bytes(2, "big") for suite in SUITES)
    body = (
        b"\x03\x03"
        + secrets.token_bytes(32)
        + b"\0"
        + _vector(suites, 2)
        + b"\x01\0"
        + _vector(b"".join(extensions), 2)
    )
    return b"\x16\x03\x01" + _vector(b"\x01" + _vector(body, 3), 2)


def parse_answer(data: bytes) -> LiveServer | None:
    """Return what the handshake messages in `data` say, None while the certificates are not there yet.

    Raises InputError for anything that is no ServerHello followed by a Certificate.
    """
    messages = _messages(data)
    if not messages or (len(messages) < 2 and messages[0][0] == SERVER_HELLO):
        return None
    if [kind for kind, _ in messages[:2]] != [SERVER_HELLO, CERTIFICATE]:
        raise InputError(
            "the server sends no certificate", "it may want a pre-shared key; a device needs a certificate"
        )
    hello = _Reader(messages[0][1])
    version = int.from_bytes(hello.take(2), "big")
    hello.take(32)
    hello.vector(1)
    suite = int.from_bytes(hello.take(2), "big")
    hello.take(1)
    extensions = _Reader(hello.vector(2)) if hello.left else _Reader(b"")
    fragment = None
    while extensions.left:
        kind, value = int.from_bytes(extensions.take(2), "big"), extensions.vector(2)
        if kind == MAX_FRAGMENT_LENGTH and len(value) == 1:
            fragment = FRAGMENT_SIZES.get(value[0])
    listed, chain = _Reader(_Reader(messages[1][1]).vector(3)), []
    while listed.left:
        chain.append(listed.vector(3))
    return LiveServer(tuple(chain), version, suite, fragment)


class _Reader:
    """Bytes taken from the front; raises InputError where there are not enough."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise InputError("the server's answer is cut short", "this may be no TLS server")
        self._at += count
        return self._data[self._at - count : self._at]

    def vector(self, width: int) -> bytes:
        return self.take(int.from_bytes(self.take(width), "big"))


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    """Return the whole handshake messages at the front of `data`: type and body."""
    found = []
    at = 0
    while len(data) - at >= 4:
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if size > MAX_HANDSHAKE_BYTES:
            raise InputError(f"a handshake message of {size} bytes", "this may be no TLS server")
        if len(data) - at - 4 < size:
            break
        found.append((data[at], data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


@dataclass(frozen=True)
class _ServerConnection:
    connection: socket.socket
    title: str
    deadline: float  # of time.monotonic: a server that sends a byte at a time does not hold us for ever

    def take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self.connection.settimeout(left)
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise VerificationError(
                    f"'{self.title}' closes the connection on a device's hello",
                    "it may offer TLS 1.3 only, or no TLS",
                )
            data += piece
        return data


def _read_answer(wire: _ServerConnection) -> LiveServer:
    handshake = b""
    while len(handshake) <= MAX_HANDSHAKE_BYTES:
        header = wire.take(5)
        size = int.from_bytes(header[3:5], "big")
        if header[0] not in (ALERT, HANDSHAKE) or header[1] != 3 or size > MAX_RECORD_BYTES:
            raise InputError(f"'{wire.title}' does not speak TLS", "check the port: this may be plain HTTP")
        record = wire.take(size)
        if header[0] == HANDSHAKE:
            handshake += record
        elif record[:1] != WARNING:
            raise _refusal(record, wire.title)
        answer = parse_answer(handshake)
        if answer is not None:
            return answer
    raise InputError(f"'{wire.title}' sends more than {MAX_HANDSHAKE_BYTES} bytes", "this may be no TLS server")


def _refusal(record: bytes, title: str) -> VerificationError:
    reason = {40: "no cipher suite in common", 70: "no TLS 1.2", 112: "an unknown name"}.get(
        record[-1] if record else -1
    )
    said = reason or f"alert {record[-1] if record else 'without content'}"
    return VerificationError(
        f"'{title}' refuses a device's hello: {said}",
        "offer TLS 1.2 with ECDHE: a server of 1.3 alone locks it out",
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(data, 2)
