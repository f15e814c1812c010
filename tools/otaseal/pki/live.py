"""Looking at a live server: the chain it sends, and what it answers to a device's hello.

The virtual device says its TLS 1.2 hello and reads what comes in plain text, up to the certificates; then the
connection is dropped. Nothing is verified and no key exchanged: the verdict is `check`'s. So it sees the raw chain,
in the order sent, and whether TLS 1.2 is offered at all (F21) and short records are agreed to (F27).
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from dataclasses import dataclass

from ..errors import ConfigError, InputError, SystemFaultError, VerificationError
from ..simulator import tls_messages
from ..simulator.tls_messages import CERTIFICATE, SERVER_HELLO, TLS_1_2
from ..simulator.tls_suites import TlsStop

__all__ = ["LiveServer", "look_at", "parse_target"]

TIMEOUT = 10.0  # seconds, for connecting and for each read
MAX_HANDSHAKE_BYTES = 256 * 1024
MAX_RECORD_BYTES = 16384 + 2048  # RFC 5246, 6.2.3
DEFAULT_PORT = 443
FRAGMENT = 512
"""Bytes of the records that devices ask for."""
ALERT, HANDSHAKE = 21, 22
WARNING = b"\x01"


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
    if not server_name.isascii():
        raise ConfigError(f"'{server_name}' is not a host name in ASCII", "write it in punycode")
    name = None if _is_address(server_name) else server_name
    hello = tls_messages.client_hello(secrets.token_bytes(32), b"", name, FRAGMENT)
    return b"\x16\x03\x01" + tls_messages.vector(hello, 2)


def parse_answer(data: bytes) -> LiveServer | None:
    """Return what the handshake messages in `data` say, None while the certificates are not there yet.

    Raises InputError for anything that is no ServerHello of TLS 1.2 followed by a Certificate.
    """
    messages = _messages(data)
    if not messages or (len(messages) < 2 and messages[0][0] == SERVER_HELLO):
        return None
    if [kind for kind, _ in messages[:2]] != [SERVER_HELLO, CERTIFICATE]:
        raise InputError(
            "the server sends no certificate", "it may want a pre-shared key; a device needs a certificate"
        )
    try:
        hello = tls_messages.read_server_hello(messages[0][1], TLS_1_2, "any", FRAGMENT)
        chain = tls_messages.read_certificates(messages[1][1])
    except TlsStop as stop:
        raise InputError(f"a device ends the handshake: {stop.reason}", "offer TLS 1.2 as its RFC has it") from stop
    return LiveServer(chain, TLS_1_2, hello.suite, FRAGMENT if hello.fragment else None)


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
