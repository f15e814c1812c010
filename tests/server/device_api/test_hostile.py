"""Clients that are slow, silent or gone, while others are answered; and a server that ends while one downloads."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

import pytest

from otaseal.server import limits
from support.servers import SECONDS, Running, answered_soon, as_device, get, parse_reply, publish, talk

SILENT = 100


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), SECONDS)


def test_probes_are_answered_while_hundreds_say_nothing(server: Running) -> None:
    firmware = server.world.firmware(1)
    publish(server, "1.0", firmware.signed)
    context = server.world.context()
    with contextlib.ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(connect(server))  # not even a handshake
        for number in range(SILENT):
            raw = stack.enter_context(connect(server))
            held = stack.enter_context(context.wrap_socket(raw, server_hostname="localhost"))
            held.sendall(b"GET /firmware" if number % 2 else get("/firmware.bin.signed")[:-2])
        request = as_device("/firmware.bin.signed", firmware)

        def poll() -> None:
            assert talk(context, server.port, request).status == 304

        answered_soon(poll, 20)


@pytest.mark.proof
def test_a_head_that_takes_too_long_is_cut_off(released: Running) -> None:
    begun = time.monotonic()
    with connect(released) as raw, released.world.context().wrap_socket(raw, server_hostname="localhost") as connection:
        connection.settimeout(limits.HEAD_SECONDS + SECONDS)
        connection.sendall(b"GET /firmware.bin.signed HTTP/1.0\r\n")
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            assert connection.recv(1) == b""
        assert time.monotonic() - begun >= limits.HEAD_SECONDS, "and a slow one has its time"


@pytest.mark.proof
def test_an_idle_connection_is_closed(bare: Running) -> None:
    with connect(bare) as raw, bare.world.context().wrap_socket(raw, server_hostname="localhost") as connection:
        connection.sendall(get("/nothing", version="1.1"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
        assert parse_reply(received).status == 404


def test_a_running_download_ends_and_new_ones_are_refused(server: Running) -> None:
    firmware = server.world.firmware(1, size=2_000_000)
    publish(server, "1.0", firmware.signed)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.settimeout(SECONDS)
    raw.connect(("127.0.0.1", server.port))
    with raw, server.world.context().wrap_socket(raw, server_hostname="localhost") as connection:
        connection.sendall(as_device("/firmware.bin.signed", server.world.firmware(2)))
        received = connection.recv(1000)
        ended: list[int] = []
        stopper = threading.Thread(target=lambda: ended.append(server.stop()))
        stopper.start()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                connect(server).close()
            except ConnectionRefusedError:
                break
            except ConnectionResetError:
                continue  # it was waiting to be taken when the listener closed
        else:
            pytest.fail("new connections are still taken")
        assert server.process.poll() is None, "the download is not over"
        while piece := connection.recv(65536):
            received += piece
    stopper.join(SECONDS)
    assert ended == [0]
    assert parse_reply(received).body == firmware.signed


def test_many_downloads_at_once_are_all_whole(server: Running) -> None:
    firmware = server.world.firmware(1, size=300_000)
    publish(server, "1.0", firmware.signed)
    context, bodies = server.world.context(), []

    def download() -> None:
        bodies.append(talk(context, server.port, get("/firmware.bin.signed")).body)

    threads = [threading.Thread(target=download) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(SECONDS)
    assert bodies == [firmware.signed] * 20


def test_releases_that_change_are_never_mixed(server: Running) -> None:
    versions = [server.world.firmware(seed, size=100_000).signed for seed in range(1, 6)]
    publish(server, "1", versions[0])
    context, bodies, stop = server.world.context(), [], threading.Event()

    def download() -> None:
        while not stop.is_set():
            bodies.append(talk(context, server.port, get("/firmware.bin.signed")).body)

    threads = [threading.Thread(target=download) for _ in range(3)]
    for one in threads:
        one.start()
    for number, signed in enumerate(versions[1:], 2):
        publish(server, str(number), signed)
    stop.set()
    for one in threads:
        one.join(SECONDS)
    assert set(bodies) <= set(versions)
    assert len(bodies) > 10
