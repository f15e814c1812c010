"""Looking at live servers: real ones by Python's ssl, and some that are none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import ConfigError, InputError, OtasealError, SystemFaultError, VerificationError
from otaseal.pki import Authority, KeyType, Role
from otaseal.pki.certificate import parse_certificates
from otaseal.pki.check import examine
from otaseal.pki.live import parse_target, probe
from otaseal.simulator.tls_messages import handshake_hello, vector
from support.chain_maker import NOW, make
from support.verifiers import Presenter, presenting

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as running:
        yield running


def test_the_chain_is_seen_as_it_is_sent(presenter: Presenter) -> None:
    root = make("a root with a name long enough", ca=True)
    middle = make("an intermediate authority", root, ca=True)
    leaf = make("a server", middle)
    for chain in ([leaf], [leaf, middle], [leaf, root, middle]):
        presenter.present([one.der for one in chain], leaf.key)
        assert probe(HOST, presenter.port).chain == tuple(one.der for one in chain)


def test_what_the_device_would_get(presenter: Presenter) -> None:
    by = Authority.create(role=Role.SERVER, product="blink", now=NOW, key=KeyType.P_256)
    issued = by.issue_server([HOST, "update.local"], now=NOW, key=KeyType.P_256)
    presenter.present([one.der for one in parse_certificates(issued.chain_pem)], issued.key)
    seen = probe(HOST, presenter.port, "update.local")
    assert (seen.version, seen.fragment) == (0x0303, 512)
    assert seen.suite in (0xCCA9, 0xC02B, 0xC02C)
    assert examine(seen.chain, [by.certificate_der], HOST, NOW).good
    assert not examine(seen.chain, [by.certificate_der], "192.0.2.1", NOW).good
    assert len(examine(seen.chain, [by.certificate_der], HOST, NOW + timedelta(days=310)).expiring) == 1


def test_a_server_of_tls_1_3_alone_is_named(tmp_path: Path) -> None:
    root = make("a root with a name long enough", ca=True)
    leaf = make("a server", root)
    with presenting() as server:
        server.present([leaf.der], leaf.key)
        server.context.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(VerificationError, match=r"no TLS 1\.2"):
            probe(HOST, server.port)


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server for one connection."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(60)
        assert not thread.is_alive()


def after_the_hello(answer: bytes) -> Callable[[socket.socket], None]:
    """What sends `answer` to whoever says hello, and then closes its side."""

    def send(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    return send


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", InputError),
        (b"", VerificationError),
        (b"\x16\x03\x03", VerificationError),
        (b"\x15\x03\x03\x00\x02\x02\x46", VerificationError),
        (b"\x15\x03\x03\x00\x02\x01\x70", VerificationError),  # a warning, and then nothing
        (b"\x15\x03\x03\x00\x00", VerificationError),
        (b"\x16\x03\x03\xff\xff", InputError),
        (b"\x16\x03\x03\x00\x04\x02\xff\xff\xff", InputError),
        (b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", InputError),
        (b"\x16\x03\x03\x00\x00" * 3, VerificationError),
    ],
)
def test_what_is_no_tls_server(data: bytes, error: type[OtasealError]) -> None:
    with answering(after_the_hello(data)) as port, pytest.raises(error):
        probe(HOST, port)


def test_a_silent_server_costs_the_time_out_only() -> None:
    released = threading.Event()
    with answering(lambda connection: bool(connection.recv(4096)) and released.wait(60)) as port:  # type: ignore[arg-type,return-value]
        with pytest.raises(SystemFaultError, match="timed out"):
            probe(HOST, port, timeout=0.1)
        released.set()


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:  # so that nobody else listens there
        taken.bind((HOST, 0))
        with pytest.raises(SystemFaultError, match="does not answer"):
            probe(HOST, taken.getsockname()[1])


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"\x16\x03\x03\x00\x09\x02\x00\x00\x05" + rest))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    with answering(after_the_hello(data)) as port, contextlib.suppress(OtasealError):
        assert all(sent in data for sent in probe(HOST, port).chain)


def test_an_answer_that_ends_early_is_refused(presenter: Presenter) -> None:
    """No prefix of a real answer gives a wrong result."""
    leaf = make("a server")
    presenter.present([leaf.der], leaf.key)
    whole = b""
    with socket.create_connection((HOST, presenter.port), 10) as connection:
        connection.sendall(b"\x16\x03\x01" + vector(handshake_hello(bytes(32), b"", "update.local", 512), 2))
        stream = connection.makefile("rb")
        handshake = b""
        while leaf.der not in handshake:
            header = stream.read(5)
            body = stream.read(int.from_bytes(header[3:], "big"))
            assert header[:1] == b"\x16"
            whole, handshake = whole + header + body, handshake + body
        stream.close()
    for cut in (*range(0, len(whole), 41), len(whole) - 400):
        with answering(after_the_hello(whole[:cut])) as port, pytest.raises(VerificationError):
            probe(HOST, port)
    with answering(after_the_hello(whole)) as port:
        assert probe(HOST, port).chain == (leaf.der,)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("update.local", ("update.local", 443)),
        ("update.local:8443", ("update.local", 8443)),
        ("https://192.0.2.7:8443/firmware.bin", ("192.0.2.7", 8443)),
        ("[::1]:8443", ("::1", 8443)),
        ("[::1]", ("::1", 443)),
        ("::1", ("::1", 443)),
    ],
)
def test_targets(text: str, target: tuple[str, int]) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", ":443", "host:0", "host:65536", "host:http", "http://host", "host:-1", "host:٣"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_target(text)
