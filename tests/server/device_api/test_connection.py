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
from operator import attrgetter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otaseal.server import limits
from otaseal.server.device_api import request_parser
from otaseal.server.device_api.request_parser import MAX_WAITING, RequestParser
from support import peers
from support.proving import ProvingDevice
from support.servers import SECONDS, Running, StartServer, as_device, get, parse_reply, publish, run, talk, until

PATH = "/blink/firmware.bin.signed"

SAYS = attrgetter("proof", *(f"head.{name}" for name in ("method", "path", "headers", "version", "keeps", "has_body")))


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


HEADS = st.lists(st.sampled_from(["/a", "/b/c", "/%41", "/" + "d" * 300]), min_size=1, max_size=5)


@given(HEADS, st.lists(st.integers(1, 400), max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_parser_finds_the_same_however_its_bytes_come(paths: list[str], cuts: list[int]) -> None:
    data = b"".join(get(path, "X: y", version="1.1") for path in paths)
    whole, pieces = RequestParser(), RequestParser()
    expected = whole.feed(data)
    found, position = [], 0
    for size in [*cuts, len(data)]:
        found += pieces.feed(data[position : position + size])
        position += size
    whole.close()
    pieces.close()
    assert list(map(SAYS, found)) == list(map(SAYS, expected))
    assert [one.head.path for one in found] == [path.replace("%41", "A") for path in paths]


PROOF = b"X-Otaseal-Proof: 5ccf7ff004cb 7 " + b"0" * 32
LINES = (
    b"X: y",
    b" folded",
    b"",
    b"\r",
    b"X: a\n",
    PROOF,
    PROOF.lower(),
    PROOF + b" ",
    b"X-Otaseal-Proof: ",
    PROOF + b"\tz",
)


@given(st.lists(st.sampled_from(LINES), max_size=4), st.lists(st.sampled_from(LINES), max_size=2))
@example([b"", b"\r"], [])
@settings(max_examples=300, deadline=None)
def test_a_proof_stands_beside_a_head_that_is_remembered_without_it(before: list[bytes], behind: list[bytes]) -> None:
    """Whatever stands around it: bytes of which a part is known say what they say to who reads them anew."""
    plain = [b"GET /a HTTP/1.1", b"Host: x", *before, *behind, b"", b""]
    proving = [b"GET /a HTTP/1.1", b"Host: x", *before, PROOF, *behind, b"", b""]
    found = []
    for seen_before in (False, True):
        request_parser._remembered.clear()
        parser = RequestParser()
        if seen_before:
            for lines in (plain, [*plain[:-2], PROOF, b"", b""]):
                RequestParser().feed(b"\r\n".join(lines))
        received = parser.feed(b"\r\n".join(proving))
        found.append((list(map(SAYS, received)), parser.stopped, parser.unread, parser.within, parser.refusal))
    assert found[0] == found[1]


def test_a_device_is_remembered_whatever_number_its_proof_has() -> None:
    request_parser._remembered.clear()
    parser = RequestParser()
    device, heads = ProvingDevice("5C:CF:7F:F0:04:CB", shows=True), []
    for shows in (True, False, False):
        device.shows = shows
        sent = device.prove(get("/a", version="1.1"))
        (received,) = parser.feed(sent)
        assert received.proof is not None
        assert (received.proof.sequence, received.proof.key) == (device.clock, device.key if shows else None)
        heads.append(received.head)
    assert heads[0] is heads[1] is heads[2]
    assert [name for name, _ in heads[0].headers] == [b"host", b"x-otaseal-capabilities"]
    (plain,) = parser.feed(get("/a", "X-Otaseal-Capabilities: 1 proof enroll", version="1.1"))
    assert plain == (heads[0], None)
    parser.feed(device.prove(device.prove(get("/a", version="1.1"))))
    assert parser.refusal == "X-Otaseal-Proof is given twice, or says nothing"


ODD = ("", "\n", "POST", "Content-Length: 3", "Connection: close", "Connection: keep-alive", "Upgrade: x", "\0")


@given(st.lists(st.tuples(st.sampled_from(["1.0", "1.1"]), st.sampled_from(ODD)), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_parser_finds_the_same_in_bytes_that_it_remembers(said: list[tuple[str, str]]) -> None:
    sent = [get("/a", line, version=version) if ":" in line else f"{line} /a".encode() for version, line in said]
    rounds = []
    for _ in range(3):
        parser = RequestParser()
        heads = [list(map(SAYS, parser.feed(data))) for data in sent]
        rounds.append((heads, parser.stopped, parser.unread, parser.within, parser.refusal))
        parser.close()
    request_parser._remembered.clear()
    assert rounds[0] == rounds[1] == rounds[2]


def test_remembered_heads_are_few_and_short_with_few_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_parser, "MAX_REMEMBERED", 50)
    request_parser._remembered.clear()
    parser = RequestParser()
    for number in range(60):
        parser.feed(get(f"/{number}", version="1.1"))
    long = get("/" + "l" * request_parser.REMEMBERED_BYTES, version="1.1")
    many = get("/", *(f"A{number}: b" for number in range(request_parser.REMEMBERED_HEADERS)), version="1.1")
    for data in (long, many):
        assert parser.feed(data)[0].head is not parser.feed(data)[0].head
    parser.close()
    assert len(request_parser._remembered) == 50


def test_a_request_for_a_certificate_is_not_remembered() -> None:
    request_parser._remembered.clear()
    for path, count in (("/blink/client.crt", 0), ("/blink/certs.ar.signed", 1)):
        parser = RequestParser()
        assert len(parser.feed(get(path, "X-Otaseal-Claim: 0000-0000-0000-0000", version="1.1"))) == 1
        assert len(request_parser._remembered) == count


def test_a_fleet_is_remembered() -> None:
    """Ten times as many devices as in the bench: once a fleet of so many paid for all of a request with each poll."""
    heads = [[feed(number) for number in range(10_000)] for _ in range(2)]
    assert all(again is first for first, again in zip(*heads, strict=True))
    request_parser._remembered.clear()


def feed(number: int) -> request_parser.Head:
    parser = RequestParser()
    (received,) = parser.feed(get("/a", f"x-ESP8266-STA-MAC: {number}", version="1.1"))
    parser.close()
    return received.head


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_a_parser_takes_any_bytes(data: bytes) -> None:
    parser = RequestParser()
    heads = parser.feed(b"GET /x HTTP/1.1\r\nHost: a\r\n" + data)
    assert len(heads) <= MAX_WAITING
    assert parser.refusal is None or parser.stopped
    for _ in range(limits.MAX_HEAD_BYTES // 300 + 2):
        heads += parser.feed(data)
    parser.close()


@pytest.mark.parametrize("proof", ["x", f"{'0' * 12} 1 {'0' * 32} {'0' * 64} 1", f"{'0' * 12} 4294967296 {'0' * 32}"])
def test_a_header_that_is_no_proof_is_refused(proof: str) -> None:
    parser = RequestParser()
    assert parser.feed(f"GET / HTTP/1.0\r\nX-Otaseal-Proof: {proof}\r\n\r\n".encode()) == []
    assert "not a proof" in str(parser.refusal)


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
