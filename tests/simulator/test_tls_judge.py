"""The virtual device's handshake against libbearssl's own, on the same live servers: the same end, the same number."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from otaseal.simulator.anchors import AnchorList
from otaseal.simulator.connection import dial
from otaseal.simulator.tls import Failure, TlsSettings, handshake
from support.chain_maker import NOW
from support.chain_rows import ADDRESS, HOST, ROWS, Row
from support.verifiers import Presenter, Question, ask_bearssl, presenting

pytestmark = pytest.mark.proof

BROKEN_OFF = "error 31"  # of the I/O around the engine, which the core does not use
REFUSED_BY_ALERT = "error 296"
ANY = "-"  # a sketch that connects to an IPAddress names nobody
NAMES = (ADDRESS, HOST, ANY)
if os.environ.get("OTASEAL_THOROUGH"):
    NAMES += (HOST.upper(), "x" + HOST, "example.com")
SECONDS = 60
UNUSABLE_ANCHORS = {"key: Ed25519 root"}
BUFFER = 16384  # of tls_client.c, in both directions
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
CLOCKS = {
    "1970": EPOCH,
    "2000": EPOCH + timedelta(days=30 * 365),
    "yesterday": NOW - timedelta(days=1),
    "in a year": NOW + timedelta(days=365),
    "in 2050": EPOCH + timedelta(days=80 * 365 + 30),
}


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as made:
        yield made


def shown(presenter: Presenter, row: Row) -> list[bytes]:
    """Present the row's chain, and return its anchors."""
    presenter.present([one.der for one in row.chain], row.chain[0].key)
    return [one.der for one in row.anchors]


def device_says(question: Question) -> str:
    """Return what the virtual device says, in the words of tls_client.c."""
    connection = dial("127.0.0.1", question.port, SECONDS)
    assert not isinstance(connection, str), connection
    name = None if question.name == ANY else question.name
    trust = AnchorList(question.anchors)
    found = handshake(connection, TlsSettings(trust, name, question.now, receive_buffer=BUFFER, send_buffer=BUFFER))
    if isinstance(found, Failure):
        return f"error {found.error}"
    found.close()
    return "ok"


def both_say(question: Question) -> tuple[str, str]:
    """Return what libbearssl says, and what the device says; an end of the connection is no error to the core."""
    _, said = ask_bearssl(question)
    return "error 0" if said == BROKEN_OFF else said, device_says(question)


@pytest.mark.parametrize("title", ROWS)
def test_chains_and_names(title: str, presenter: Presenter, tmp_path: Path) -> None:
    anchors = shown(presenter, ROWS[title]())
    for name in NAMES:
        bearssl, device = both_say(Question(presenter.port, anchors, name, NOW, tmp_path))
        if bearssl.endswith("anchor"):  # tls_client.c does not try: the core would, with one anchor less
            assert title in UNUSABLE_ANCHORS
            return
        assert device == bearssl, name


@pytest.mark.parametrize("title", [one for one in ROWS if one.startswith(("good", "time"))])
@pytest.mark.parametrize("clock", CLOCKS)
def test_clocks(title: str, clock: str, presenter: Presenter, tmp_path: Path) -> None:
    anchors = shown(presenter, ROWS[title]())
    bearssl, device = both_say(Question(presenter.port, anchors, HOST, CLOCKS[clock], tmp_path))
    assert device == bearssl


def suites() -> list[str]:
    """Every suite for TLS 1.2 and below that this OpenSSL has, one by one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFDEFAULT:!aNULL:!PSK:!SRP:@SECLEVEL=0")
    return [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]


def limited(version: ssl.TLSVersion, *, only: bool) -> Callable[[ssl.SSLContext], None]:
    def change(context: ssl.SSLContext) -> None:
        context.maximum_version = version
        context.minimum_version = version if only else ssl.TLSVersion.MINIMUM_SUPPORTED

    return change


def with_suite(name: str) -> Callable[[ssl.SSLContext], None]:
    return lambda context: context.set_ciphers(f"{name}:@SECLEVEL=0")


def with_curve(name: str) -> Callable[[ssl.SSLContext], None]:
    return lambda context: context.set_ecdh_curve(name)


def wanting_a_client(context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED


SERVERS: dict[str, Callable[[ssl.SSLContext], None]] = {
    "F21 TLS 1.3 alone": limited(ssl.TLSVersion.TLSv1_3, only=True),
    "F21 TLS 1.2 alone": limited(ssl.TLSVersion.TLSv1_2, only=True),
    "F23 a client certificate is required": wanting_a_client,
    **{f"F26 {one}": with_curve(one) for one in ("X25519", "prime256v1", "secp384r1", "secp521r1", "X448")},
    **{f"F27d {one}": with_suite(one) for one in suites()},
}


@pytest.mark.parametrize("key", ["good, P-256", "good, RSA-2048"])
@pytest.mark.parametrize("server", SERVERS)
def test_servers(server: str, key: str, presenter: Presenter, tmp_path: Path) -> None:
    anchors = shown(presenter, ROWS[key]())
    SERVERS[server](presenter.context)
    bearssl, device = both_say(Question(presenter.port, anchors, HOST, NOW, tmp_path))
    if SERVERS[server] is wanting_a_client:  # its alert and the end of the connection arrive in any order
        assert {bearssl, device} <= {"error 0", REFUSED_BY_ALERT}
    else:
        assert device == bearssl


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A server that says `data`, whatever it is asked, and closes; twice."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            with suppress(OSError), closing(listener.accept()[0]) as connection:
                connection.settimeout(SECONDS)
                connection.recv(4096)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(SECONDS)
        assert not thread.is_alive()


def record(kind: int, body: bytes, version: bytes = b"\3\3") -> bytes:
    return bytes([kind]) + version + len(body).to_bytes(2, "big") + body


def server_hello(version: bytes, suite: bytes, compression: int = 0, session: bytes = b"") -> bytes:
    body = version + bytes(32) + bytes([len(session)]) + session + suite + bytes([compression])
    return record(22, b"\2" + len(body).to_bytes(3, "big") + body)


ANSWERS = {
    "HTTP": b"HTTP/1.0 400 Bad Request\r\n\r\n",
    "nothing": b"",
    "half a header": b"\x16\x03",
    "an alert: handshake failure": record(21, b"\2\x28"),
    "an alert: protocol version": record(21, b"\2\x46"),
    "an alert: unknown name, then the end": record(21, b"\1\x70"),
    "an alert of three bytes": record(21, b"\2\x28\0"),
    "data": record(23, b"hello"),
    "a change of ciphers": record(20, b"\1"),
    "a record of no known kind": record(99, b"hello"),
    "a record that is too large": b"\x16\3\3\xff\xff" + bytes(70_000),
    "an old version": record(22, b"\2\0\0\0", b"\2\0"),
    "an empty hello": record(22, b"\2\0\0\0"),
    "another message": record(22, b"\x0b\0\0\3\0\0\0"),
    "TLS 1.3's version": server_hello(b"\3\4", b"\xcc\xa9"),
    "SSL 3": server_hello(b"\3\0", b"\xcc\xa9"),
    "TLS 1.1 in a record of 1.2": server_hello(b"\3\2", b"\xcc\xa9"),
    "an alert in two records": record(21, b"\2") + record(21, b"\x28"),
    "an alert of level 3": record(21, b"\3\x28"),
    "no renegotiation": record(21, b"\1\x64"),
    "empty records of any kind": record(99, b"") + record(23, b"") + record(21, b"\2\x28"),
    "a suite that nobody offered": server_hello(b"\3\3", b"\0\5"),
    "a suite of TLS 1.3": server_hello(b"\3\3", b"\x13\1"),
    "compression": server_hello(b"\3\3", b"\xcc\xa9", 1),
    "a session id of 33 bytes": server_hello(b"\3\3", b"\xcc\xa9", 0, bytes(33)),
    "a hello and the end": server_hello(b"\3\3", b"\xcc\xa9"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_server(answer: str, presenter: Presenter, tmp_path: Path) -> None:
    anchors = [one.der for one in ROWS["good, P-256"]().anchors]
    with answering(ANSWERS[answer]) as port:
        bearssl, device = both_say(Question(port, anchors, HOST, NOW, tmp_path))
    assert device == bearssl
