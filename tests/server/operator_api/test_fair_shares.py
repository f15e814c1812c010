"""Nobody gets in another's way: one address leaves room for others, and one operator's uploads for other operators'."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from otaseal.server import limits
from otaseal.server.limits import Addresses, origin
from otaseal.server.operator_api import uploads as bodies
from otaseal.store.tokens import TokenFile
from support.servers import SECONDS, Running, StartServer, as_device, get, metrics, operator, publish, talk, until

FILES = 356
"""Files that the servers here may open: room for 50 connections on each side."""
ROOM = (FILES - limits.OTHER_FILES) // 2


@contextlib.contextmanager
def held(port: int, count: int, address: str) -> Iterator[list[socket.socket]]:
    """Hold that many connections from a loopback address, which say nothing."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS, (address, 0)))
            for _ in range(count)
        ]


def closed(connections: list[socket.socket]) -> int:
    """Return how many of the connections the server has closed."""
    count = 0
    for one in connections:
        one.setblocking(False)
        try:
            count += one.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionError:
            count += 1
    return count


@pytest.mark.parametrize("side", ["devices", "operators"])
def test_one_address_does_not_take_all_connections(start_server: StartServer, side: str) -> None:
    server = start_server(prefix=("prlimit", f"--nofile={FILES}:{FILES}"))
    publish(server, "1.0", server.world.firmware(1).signed)
    port = server.port if side == "devices" else server.operators
    device = as_device("/firmware.bin.signed", server.world.firmware(1))
    with held(port, ROOM, "127.0.0.2") as taken:
        for _ in range(20):  # at once: after a while silent ones are ended anyway
            assert talk(server.world.context(), server.port, device).status == 304
            assert talk(server.world.context(), server.operators, get("/healthz")).status == 200
        until(lambda: closed(taken) >= len(taken) - ROOM, "too many are open")
    if side == "devices":
        assert "otaseal_refused_connections_total 0" not in metrics(server)
        assert "otaseal_refused_connections_total " in metrics(server)
    for _ in range(3 * ROOM):  # what has ended is counted no more
        assert talk(server.world.context(), server.operators, get("/healthz")).status == 200


def test_shares() -> None:
    addresses = Addresses(40)
    assert [addresses.enter("192.0.2.1") for _ in range(12)] == [True] * 10 + [False] * 2
    assert [addresses.enter(f"2001:db8::{n:x}") for n in range(12)] == [True] * 10 + [False] * 2, "one network"
    assert [addresses.enter(f"2001:db8:0:{n:x}::1") for n in range(1, 22)] == [True] * 20 + [False]
    addresses.leave("192.0.2.1")
    assert addresses.enter("192.0.2.7")
    assert not addresses.enter("192.0.2.8")
    assert origin("192.0.2.1") != origin("192.0.2.2")
    assert origin("::ffff:192.0.2.1") != origin("::ffff:192.0.2.2")
    assert origin("fe80::1%eth0") == origin("fe80::2")


def begin_upload(server: Running, token: str, version: str, body: bytes = b"x", length: int = 30000) -> ssl.SSLSocket:
    """Return a connection on which an upload has begun, and does not go on."""
    raw = socket.create_connection(("127.0.0.1", server.operators), SECONDS)
    context = server.world.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # which sends nothing by itself
    connection = context.wrap_socket(raw, server_hostname="localhost")
    path = f"/v1/products/blink/releases/{version}?channel=beta&created=2030-01-01T00:00:00Z"
    connection.sendall(get(path, f"Authorization: Bearer {token}", f"Content-Length: {length}", method="PUT") + body)
    return connection


def test_stalled_uploads_of_one_operator_hold_up_no_other(server: Running) -> None:
    # of the same name as the one that publishes
    _, secret = TokenFile(server.store).issue("tests", "blink", "beta", 1, datetime.now(timezone.utc))
    with contextlib.ExitStack() as stack:
        uploads = [begin_upload(server, secret, f"9.{number}") for number in range(2 * bodies.UPLOADS_AT_ONCE)]
        for one in uploads:
            stack.enter_context(one)
        done = threading.Event()

        def deploy() -> None:
            publish(server, "1.0", server.world.firmware(1).signed)
            done.set()

        deploying = threading.Thread(target=deploy, daemon=True)
        deploying.start()
        assert done.wait(SECONDS), "others wait for uploads that stand"
        ended, _, _ = select.select(uploads, [], [], 0)
        assert len(ended) < bodies.UPLOADS_AT_ONCE // 2, "they wait for each other, and nobody for them"
        deploying.join()


def test_an_upload_whose_token_is_revoked_before_its_last_byte_publishes_nothing(server: Running) -> None:
    tokens, signed = TokenFile(server.store), server.world.firmware(1).signed
    token, secret = tokens.issue("ci", "blink", "beta", 1, datetime.now(timezone.utc))
    with (
        begin_upload(server, secret, "9.0", signed[:-1], len(signed)) as release,
        begin_upload(server, secret, "9.1", signed[:-1], len(signed)) as waiting,
    ):
        metrics(server)  # an answer later: both have begun
        tokens.revoke(token.id)
        for one in (release, waiting):
            one.sendall(signed[-1:])
            answer = b"".join(iter(lambda one=one: one.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert operator(server).get("/v1/products/blink/releases")["releases"] == []


@pytest.mark.proof
def test_an_upload_that_nearly_stands_is_ended(server: Running) -> None:
    with begin_upload(server, server.token, "9.0") as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"] == "the upload stopped"


def test_a_hangup_reloads(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: sum(line.startswith("reload") for line in server.lines()) == 1, "not in the log")
    assert server.process.poll() is None
    device = as_device("/firmware.bin.signed", server.world.firmware(1))
    assert talk(server.world.context(), server.port, device).status == 304
