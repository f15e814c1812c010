"""HTTP of the devices' listener with real clients: pipelining, bodies, odd heads, kept connections, short records."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from otaseal.server import limits
from otaseal.server.device_api.request_parser import MAX_WAITING
from support import peers
from support.servers import SECONDS, Running, StartServer, as_device, get, parse_reply, publish, run, talk, until

PATH = "/blink/firmware.bin.signed"


@contextlib.contextmanager
def connected(server: Running, window: int | None = None) -> Iterator[ssl.SSLSocket]:
    with socket.socket() as raw:
        if window is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        raw.settimeout(SECONDS)
        raw.connect(("127.0.0.1", server.port))
        with server.world.context().wrap_socket(raw, server_hostname="localhost") as connection:
            yield connection


def read_all(connection: ssl.SSLSocket) -> bytes:
    received = bytearray()
    while piece := connection.recv(65536):
        received += piece
    return bytes(received)


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def test_requests_sent_ahead_are_answered_in_order(released: Running) -> None:
    signed = released.world.firmware(1).signed
    with connected(released) as connection:
        first, second, third = (get(path, version="1.1") for path in (PATH, "/nothing", PATH))
        last = get(PATH, "Connection: close", version="1.1", method="HEAD")
        connection.sendall(first + second + third[:20])
        connection.sendall(third[20:] + last)
        received = read_all(connection)
    assert statuses(received.replace(signed, b"")) == [200, 404, 200, 200]
    assert received.count(signed) == 2


def test_no_more_than_a_few_requests_wait(bare: Running) -> None:
    many = 3 * MAX_WAITING
    with connected(bare) as connection:
        connection.sendall(get("/n", version="1.1") * many)
        received = read_all(connection)
    answers = statuses(received)
    assert MAX_WAITING <= len(answers) < many
    assert set(answers) == {404}
    assert received.count(b"Connection: close") == 1, "only the last one says that it is the last"


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /n HTTP/1.1\r\n\r\n", [400]),
        (b"GET /n HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", [400]),
        (b"GET /n\r\n\r\n", [400]),
        (b"GET /n HTTP/2.0\r\nHost: a\r\n\r\n", [400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (get("/n", "Connection: upgrade", "Upgrade: h2c", version="1.1") + get("/n"), [404]),
        (get("/n", "Connection: keep-alive") + get("/n"), [404, 404]),
        (get("/n") + get("/n"), [404]),
        (get("/n", version="1.1") + b"\x00\x01\r\n\r\n", [404, 400]),
        (get(PATH, "Content-Length: 0", "Connection: close", version="1.1", method="HEAD"), [404]),
        (get(PATH, "Transfer-Encoding: chunked", version="1.1", method="POST") + b"5\r\nhello\r\n0\r\n\r\n", [405]),
        (get(PATH, "Content-Length: 5", "Transfer-Encoding: chunked", version="1.1"), [400]),
    ],
)
def test_what_ends_a_connection_and_what_does_not(bare: Running, request_bytes: bytes, expected: list[int]) -> None:
    with connected(bare) as connection:
        connection.sendall(request_bytes)
        assert statuses(read_all(connection)) == expected


def test_a_refusal_arrives_though_its_request_has_a_long_body(bare: Running) -> None:
    with connected(bare) as connection:
        connection.sendall(get(PATH, "Content-Length: 600000", method="PUT", version="1.1"))
        for _ in range(30):
            connection.sendall(bytes(20_000))
        assert statuses(read_all(connection)) == [405]


def test_a_request_byte_by_byte(released: Running) -> None:
    firmware = released.world.firmware(1)
    request = as_device(PATH, firmware)
    with connected(released) as connection:
        for position in range(len(request)):
            connection.sendall(request[position : position + 1])
        assert statuses(read_all(connection)) == [304]


def test_curl_keeps_one_connection_for_several_files(released: Running) -> None:
    signed = released.world.firmware(1).signed
    url = f"https://localhost:{released.port}{PATH}"
    curl = [peers.tool("curl", "curl"), "-sS", "--cacert", released.world.ca, "-w", "%{stderr}%{num_connects} "]
    done = run([*curl, url, url, url])
    assert done.stdout == signed * 3
    assert done.stderr.split() == [b"1", b"0", b"0"]
    part = run([*curl, "-r", "100-299", "--http1.0", url])
    assert part.stdout == signed[100:300]


@pytest.mark.parametrize("size", ["512", "4096"])
def test_short_records_carry_the_same_bytes(server: Running, size: str) -> None:
    signed = server.world.firmware(1, size=150_000).signed
    publish(server, "1.0", signed)
    client = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-quiet"]
    done = run([*client, "-maxfraglen", size, "-ign_eof", "-CAfile", server.world.ca], get(PATH))
    assert parse_reply(done.stdout).body == signed


def test_every_resumption_is_followed_by_an_answer(bare: Running) -> None:
    command = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{bare.port}", "-tls1_2"]
    session = str(bare.store.with_name("session"))
    run([*command, "-sess_out", session, "-ign_eof"], get("/n"))
    for _ in range(3):
        done = run([*command, "-sess_in", session, "-sess_out", session, "-ign_eof"], get("/n"))
        assert b"Reused, TLSv1.2" in done.stdout
        assert b"HTTP/1.1 404" in done.stdout


def test_a_reader_that_stops_is_no_delivery_and_holds_nobody_up(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2, size=2_000_000)
    publish(server, "1.1", new.signed)
    with connected(server, window=4096) as connection:
        connection.sendall(as_device(PATH, old))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        other = as_device(PATH, old, "5C:CF:7F:00:00:01")
        assert talk(server.world.context(), server.port, other).body == new.signed
    until(lambda: any("cut=True" in line for line in server.lines()), "the break is not in the log")


def test_a_client_that_sends_while_it_is_answered_is_cut_off(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1, size=2_000_000).signed)
    with connected(server, window=4096) as connection:
        connection.sendall(get(PATH, version="1.1"))
        with pytest.raises((ConnectionError, ssl.SSLError)):
            connection.sendall(get("/n", version="1.1") * 1_000_000)
    until(lambda: any("cut=True" in line for line in server.lines()), "the break is not in the log")


def test_a_renegotiation_gets_nowhere(bare: Running) -> None:
    command = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{bare.port}", "-tls1_2"]
    assert b"no renegotiation" in (done := run(command, b"R\n")).stdout + done.stderr


@pytest.mark.proof
def test_a_connection_without_a_handshake_ends(bare: Running) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", bare.port), limits.HANDSHAKE_SECONDS + SECONDS) as raw:
        raw.sendall(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(1) == b""
        assert time.monotonic() - begun >= limits.HANDSHAKE_SECONDS, "and a slow chip has its time"


def test_a_second_signal_ends_downloads_at_once(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1, size=2_000_000).signed)
    with connected(server, window=4096) as connection:
        connection.sendall(get(PATH))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        until(lambda: any(line.startswith("stopping") for line in server.lines()), "it does not stop")
        assert server.process.poll() is None, "the download is not over"
        server.process.terminate()
        stopper.join(SECONDS)
        assert server.process.poll() == 0


@pytest.mark.parametrize("begun", [False, True])
def test_a_server_that_stops_answers_who_is_connected(start_server: StartServer, begun: bool) -> None:
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw, contextlib.ExitStack() as stack:
        connection = None
        if begun:
            connection = stack.enter_context(server.world.context().wrap_socket(raw, server_hostname="localhost"))
        server.process.send_signal(signal.SIGTERM)
        server.logs("stopping")
        until(lambda: not _accepts(server.port), "it still listens")
        if connection is None:
            connection = stack.enter_context(server.world.context().wrap_socket(raw, server_hostname="localhost"))
        connection.sendall(get("/firmware.bin.signed", "Connection: keep-alive", version="1.1"))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert parse_reply(received).status == 404
    assert server.process.wait(SECONDS) == 0


def test_a_server_that_stops_waits_for_nobody_who_says_nothing(start_server: StartServer) -> None:
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as silent:
        assert server.stop() == 0
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True
