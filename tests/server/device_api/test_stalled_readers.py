"""Readers that stall, in one process with the listener, whose clock the test tells: who takes too little is ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import pytest

from otaseal.keys.public import public_pem
from otaseal.release.channels import Pointer
from otaseal.server import limits
from otaseal.server.device_api.connection import DeviceConnection
from otaseal.server.device_api.listener import Connections, ListenerContext
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.device_api.tls_transport import TlsTransport
from otaseal.store.files import DEVICES_FILE
from otaseal.store.store import Store
from support.device_apps import make_app
from support.releases import make_release
from support.servers import SECONDS, World, get

WINDOW = 4096
FEW = limits.STALL_BYTES // 4
"""Bytes that are no progress to the server."""


def published(folder: Path, world: World) -> Store:
    """Return a store with a firmware that no socket's buffers hold."""
    store, blob = Store.create(folder), bytes(8_000_000)
    store.add_key("blink", "signing", public_pem(world.key.public_key()))
    store.publish(make_release("1.0", blob), [blob], by="test")
    store.point("blink", "stable", Pointer("1.0"), expected=0, by="test")
    return store


class Reader:
    """A client whose system reads few bytes ahead, in the middle of a download."""

    def __init__(self, world: World, port: int) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        raw.settimeout(SECONDS)
        raw.connect(("127.0.0.1", port))
        self.connection = world.context().wrap_socket(raw, server_hostname="localhost")
        self.connection.sendall(get("/blink/firmware.bin.signed"))

    def take(self, count: int) -> None:
        while count > 0:
            count -= len(self.connection.recv(min(count, 1024)))


@contextlib.asynccontextmanager
async def listening(folder: Path, world: World) -> AsyncIterator[tuple[Connections, int]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.chain, world.chain.with_name("key.pem"))
    store = published(folder / "store", world)
    with Recorder(store.directory / DEVICES_FILE, print) as recorder:
        app = make_app(store, recorder)
        listener = ListenerContext(app, context, lambda _: None, Connections())
        while listener.connections.lend():
            pass  # as with many downloads: nobody's firmware lies in the kernel whole
        loop = asyncio.get_running_loop()
        async with await loop.create_server(partial(DeviceConnection, listener), "127.0.0.1", 0) as server:
            yield listener.connections, server.sockets[0].getsockname()[1]
            listener.connections.abort()


async def stall(folder: Path, world: World, takes: Iterable[int], taken: list[int] | None = None) -> list[int]:
    """Return how many connections are open after each of `takes`, once the time for a stall is over.

    With `taken`, the test says how many bytes the client's system has; else the reader reads them.
    """
    counts: list[int] = []
    async with listening(folder, world) as (connections, port), contextlib.AsyncExitStack() as stack:
        reader = await asyncio.to_thread(Reader, world, port)
        stack.callback(reader.connection.close)
        await asyncio.to_thread(reader.take, 1)
        for count in takes:
            if taken is None:
                await asyncio.to_thread(reader.take, count)
            else:
                taken[0] += count
            connections.sweep(time.monotonic() + limits.STALL_SECONDS + 1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            counts.append(len(connections))
    return counts


@pytest.mark.parametrize(
    ("takes", "counts"),
    [
        ((8 * limits.STALL_BYTES, 2 * limits.STALL_BYTES, limits.STALL_BYTES), [1, 1, 1]),
        ((8 * limits.STALL_BYTES, FEW), [1, 0]),
        ((limits.STALL_BYTES, limits.STALL_BYTES, limits.STALL_BYTES - 1), [1, 1, 0]),
        ((limits.STALL_BYTES, 0), [1, 0]),
    ],
)
def test_a_reader_has_to_take_something_in_time(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, takes: tuple[int, ...], counts: list[int]
) -> None:
    # How far a system reads ahead, and when it says so, is its own: the count is told here, to a byte.
    taken = [0]
    monkeypatch.setattr(TlsTransport, "unacknowledged", lambda tls: tls._handed - taken[0])
    assert asyncio.run(stall(tmp_path, world, takes, taken)) == counts


def test_the_system_says_who_has_taken_something(tmp_path: Path, world: World) -> None:
    assert asyncio.run(stall(tmp_path, world, [8 * limits.STALL_BYTES] * 3)) == [1, 1, 1]


def test_a_reader_that_takes_nothing_is_ended(tmp_path: Path, world: World) -> None:
    assert asyncio.run(stall(tmp_path, world, [0] * 50))[-1] == 0, "a system reads ahead, but not without end"
