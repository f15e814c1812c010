"""The bounds of an operator's connection: heads, in bytes that come in any pieces, and clients that rest or trickle."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.server.limits import IDLE_SECONDS, MAX_HEAD_BYTES
from otaseal.server.operator_api.connection import RequestHeads
from support.servers import SECONDS, Running, get, until

BODIES = st.lists(st.binary(max_size=40), min_size=1, max_size=3)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def fed(data: bytes, cuts: list[int]) -> RequestHeads:
    heads, start = RequestHeads(), 0
    for end in [*sorted(cuts), len(data)]:
        heads.feed(data[start:end])
        start = max(start, end)
    heads.close()
    return heads


@given(bodies=BODIES, cuts=CUTS)
def test_heads_are_found_however_the_bytes_come(bodies: list[bytes], cuts: list[int]) -> None:
    requests = [get("/x", f"Content-Length: {len(body)}", version="1.1", method="PUT") + body for body in bodies]
    heads = fed(b"".join(requests), cuts)
    assert (heads.begun, heads.awaited, heads.too_large) == (len(bodies), False, False)
    begun = fed(b"".join(requests) + b"GET /y", cuts)
    assert (begun.begun, begun.awaited, begun.too_large) == (len(bodies) + 1, True, False)


@given(body=st.sampled_from((0, 1, 3 * MAX_HEAD_BYTES)), cuts=st.lists(st.integers(0, 4 * MAX_HEAD_BYTES), max_size=4))
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_after_a_body_is_bounded_as_the_first_one(end: bytes, body: int, cuts: list[int]) -> None:
    first = get("/x", f"Content-Length: {body}", version="1.1", method="PUT") + bytes(body)
    assert not fed(first, cuts).too_large
    second = b"GET /y HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * (MAX_HEAD_BYTES // 2) + end.removeprefix(b"\r\n")
    assert fed(first + second, [*cuts, len(first)]).too_large


def test_what_follows_the_last_request_is_not_wanted() -> None:
    heads = RequestHeads()
    assert heads.wants(b"\r\n"), "before a request empty lines may come, and they count"
    heads.feed(get("/x", "Connection: upgrade", "Upgrade: h2c", version="1.1"))
    assert not heads.wants(b"anything")
    heads.close()


def begin_upload(server: Running, connection: ssl.SSLSocket) -> bytes:
    """Send the head of an upload and half of its body, wait until it is being read, and return the other half."""
    path, body = "/v1/products/blink/releases/1.0?created=2030-01-31T12:00:00Z", bytes(20_000)
    lines = (f"Authorization: Bearer {server.token}", f"Content-Length: {len(body)}", "Expect: 100-continue")
    connection.sendall(get(path, *lines, version="1.1", method="PUT"))
    assert connection.recv(1024).startswith(b"HTTP/1.1 100")
    connection.sendall(body[:10_000])
    return body[10_000:]


@contextlib.contextmanager
def connected(server: Running) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.operators), SECONDS) as raw,
        server.world.context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        yield connection


def refuses(server: Running) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.operators), SECONDS).close()
    except ConnectionError:
        return True
    return False


def test_an_upload_is_answered_at_the_end_and_nobody_else_is_waited_for(server: Running) -> None:
    with (
        connected(server) as connection,
        connected(server) as resting,
        socket.create_connection(("127.0.0.1", server.operators), SECONDS) as silent,
    ):
        rest = begin_upload(server, connection)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(server), "connections are still taken")
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b"", "its handshake will never be over"
        assert resting.recv(1) == b""
        connection.sendall(rest)
        assert connection.recv(1024).startswith(b"HTTP/1.1 422"), "no firmware, but an answer"
    assert server.process.wait(SECONDS) == 0


def test_a_second_signal_ends_uploads_at_once(server: Running) -> None:
    with connected(server) as connection:
        begin_upload(server, connection)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(server), "connections are still taken")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
    assert not [line for line in server.lines() if line.startswith("trouble")]


@pytest.mark.proof
def test_empty_lines_do_not_hold_a_connection(bare: Running) -> None:
    with connected(bare) as connection:
        connection.sendall(get("/healthz", version="1.1"))
        assert connection.recv(1024).startswith(b"HTTP/1.1 200")
        connection.settimeout(IDLE_SECONDS / 10)
        begun = time.monotonic()

        def ended() -> bool:
            with contextlib.suppress(TimeoutError):
                try:
                    connection.sendall(b"\r\n")
                    return connection.recv(1024) == b""
                except (ConnectionError, ssl.SSLError):
                    return True
            return False

        until(ended, "empty lines hold the connection")
        assert time.monotonic() - begun >= IDLE_SECONDS - 1, "and a client may rest"
