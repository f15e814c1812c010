"""The devices' listener and its open connections: how many, how long, and how they end.

Checking all of them once a second costs less than a timer for each request. At the end of the server idle connections
are closed, and those with an answer on its way get their time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..limits import DRAIN_SECONDS, MAX_CONNECTIONS, Addresses
from ..tls import Inspect
from .app import DeviceApp
from .last_connections import HALF_OPEN_SECONDS, take_no_more
from .proxy_protocol import Network

if TYPE_CHECKING:
    from .connection import DeviceConnection

BACKLOG = 2048
SWEEP_SECONDS = 1.0
TICK_SECONDS = 0.1
MAX_LENT = 16
"""Connections that may have a whole firmware in memory at once; with thousands, each has what it can just send."""


class Connections:
    """The open connections, at most `limit` of them, and a share of these from one address."""

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._open: dict[DeviceConnection, str] = {}
        self._addresses = Addresses(limit)
        self._lent = 0
        self.finishing = False
        """Whether nobody is admitted any more, and each connection ends after its answer."""

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: DeviceConnection, address: str) -> bool:
        """Add a connection from `address`, and return whether there was room for it."""
        if self.finishing or not self._addresses.enter(address):
            return False
        self._open[connection] = address
        return True

    def forget(self, connection: DeviceConnection) -> None:
        """Remove a connection that has ended."""
        if (address := self._open.pop(connection, None)) is not None:
            self._addresses.leave(address)

    def lend(self) -> bool:
        """Reserve one of the larger send buffers, and return whether there was one."""
        if self._lent >= MAX_LENT:
            return False
        self._lent += 1
        return True

    def give_back(self) -> None:
        """Release a larger send buffer."""
        self._lent -= 1

    def sweep(self, now: float) -> None:
        """End the connections in which something has taken too long at `now`, by the monotonic clock."""
        for connection in tuple(self._open):
            connection.sweep(now)

    def finish(self) -> None:
        """Admit no more, and end each connection after the answer on its way."""
        self.finishing = True
        for connection in tuple(self._open):
            connection.finish()

    def abort(self) -> None:
        """End all connections at once."""
        for connection in tuple(self._open):
            connection.abort()


@dataclass(frozen=True)
class ListenerContext:
    """What the connections of a listener share; `inspect` is called for each.

    Those from `forwarders` begin with a header that says whose they are.
    """

    app: DeviceApp
    tls: ssl.SSLContext
    inspect: Inspect
    connections: Connections
    forwarders: Sequence[Network] = ()


class DeviceListener:
    """A listening socket and its connections: `serve()` it until `should_exit`, or `force_exit` to end at once."""

    def __init__(
        self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], connections: Connections
    ) -> None:
        self.listening, self.protocol, self.connections = listening, protocol, connections
        self.should_exit = self.force_exit = False

    async def serve(self) -> None:
        """Serve until `should_exit`, and return when the answers on their way are sent or have had their time."""
        loop = asyncio.get_running_loop()
        waiting = self.listening.dup()
        accepting = await loop.create_server(self.protocol, sock=self.listening, backlog=BACKLOG)
        await self._watch(lambda: self.should_exit)
        if take_no_more(waiting):
            await asyncio.sleep(HALF_OPEN_SECONDS)
        accepting.close()
        await self._accept_rest(waiting)
        self.connections.finish()
        end = time.monotonic() + DRAIN_SECONDS
        await self._watch(lambda: not self.connections or self.force_exit or time.monotonic() > end)
        self.connections.abort()
        await asyncio.sleep(0)  # what was aborted says so in the next round

    async def _accept_rest(self, waiting: socket.socket) -> None:
        """Take on who is connected already: they would get a reset, and whoever forwards them cannot ask elsewhere."""
        loop = asyncio.get_running_loop()
        waiting.setblocking(False)
        with waiting, contextlib.suppress(OSError):
            while True:
                connection, _ = waiting.accept()
                await loop.connect_accepted_socket(self.protocol, connection)

    async def _watch(self, done: Callable[[], bool]) -> None:
        swept = time.monotonic()
        while not done():
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - swept >= SWEEP_SECONDS:
                self.connections.sweep(now)
                swept = now
