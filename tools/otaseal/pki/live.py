"""The chain that a live server sends, and what it answers to the hello of the virtual device.

Nothing is verified and no key exchanged: the connection is dropped after the certificates, and `check` judges them. So
the raw chain is seen, in the order sent, and whether TLS 1.2 is offered at all (F21) and short records are agreed to
(F27).
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
from dataclasses import dataclass

from .. import addresses
from ..errors import ConfigError, InputError, OtasealError, SystemFaultError, VerificationError
from ..simulator import tls_messages as messages
from ..simulator.connection import dial
from ..simulator.error_numbers import RECEIVED_ALERT
from ..simulator.tls_messages import Reader, handshake_hello, read_certificates
from ..simulator.tls_records import Records
from ..simulator.tls_suites import TlsClosed

TIMEOUT = 10.0  # seconds, for connecting and for each read
DEFAULT_PORT = 443
RECEIVE_BUFFER, FRAGMENT = 16384, 512  # bytes: the device's largest, and the records that it asks for
_ALERTS = {40: "no cipher suite in common", 70: "no TLS 1.2", 112: "an unknown name"}  # RFC 5246, 7.2; RFC 6066, 3


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
    try:
        addresses.check_host(host)
    except ValueError:
        host = ""
    if not host or not 0 < number < 65536 or "://" in text.removeprefix("https://"):
        raise ConfigError(f"'{text}' names no server", "write host:port, as in update.local:8443")
    return host, number


def probe(host: str, port: int, server_name: str | None = None, timeout: float = TIMEOUT) -> LiveServer:
    """Return what the server at `host`:`port` answers to a device's hello; `server_name` defaults to `host`.

    Raises SystemFaultError when it cannot be reached, VerificationError when it refuses the hello (no TLS 1.2: every
    ESP8266 is locked out), InputError when it does not speak TLS.
    """
    name = _sent_name(server_name or host)
    title = f"{host}:{port}"
    connection = dial(host, port, timeout)
    if isinstance(connection, str):
        raise _unreachable(title, connection)
    records = Records(connection, RECEIVE_BUFFER, FRAGMENT)
    try:
        records.send_handshake(handshake_hello(secrets.token_bytes(32), b"", name, FRAGMENT))
        return _read_answer(records)
    except TlsClosed as closed:
        if connection.timed_out:
            raise SystemFaultError(
                f"'{title}' does not answer: timed out", "check address, port and firewall"
            ) from closed
        raise _error(title, closed) from closed
    finally:
        connection.close()


def _sent_name(host: str) -> str | None:
    """Return the name that the hello carries, None for an address; raises ConfigError unless it is ASCII."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    if not host.isascii():
        raise ConfigError(f"'{host}' is not a host name in ASCII", "write it in punycode")
    return host


def _read_answer(records: Records) -> LiveServer:
    """Read ServerHello and Certificate, whatever version and suite the server chose."""
    first = records.receive_handshake()
    second = records.receive_handshake() if first[0] == messages.SERVER_HELLO else first
    if second[0] != messages.CERTIFICATE:
        raise InputError(
            "the server sends no certificate", "it may want a pre-shared key; a device needs a certificate"
        )
    hello = Reader(first[4:])
    version = hello.number(2)
    hello.take(32)
    hello.vector(1)
    suite = hello.number(2)
    hello.take(1)
    extensions = Reader(hello.vector(2) if hello.left else b"")
    fragment = None
    while extensions.left:
        extension, value = extensions.number(2), extensions.vector(2)
        if extension == messages.MAX_FRAGMENT_LENGTH:
            fragment = next((size for size, code in messages.FRAGMENT_LENGTHS.items() if value == bytes([code])), None)
    return LiveServer(read_certificates(second[4:]), version, suite, fragment)


def _unreachable(title: str, reason: str) -> SystemFaultError:
    return SystemFaultError(f"'{title}' does not answer: {reason}", "check address, port and firewall")


def _error(title: str, closed: TlsClosed) -> OtasealError:
    if closed.error >= RECEIVED_ALERT:
        alert = closed.error - RECEIVED_ALERT
        return VerificationError(
            f"'{title}' refuses a device's hello: {_ALERTS.get(alert, f'alert {alert}')}",
            "offer TLS 1.2 with ECDHE: a server of 1.3 alone locks it out",
        )
    if not closed.error:
        return VerificationError(
            f"'{title}' closes the connection on a device's hello", "it may offer TLS 1.3 only, or no TLS"
        )
    return InputError(f"'{title}' does not speak TLS: {closed.reason}", "check the port: this may be plain HTTP")
