"""All open connections of devices, and the door through which they come: how many, how long, and how they end.

One look a second at all of them costs less than a timer for each request. At the end of the server connections at rest
are closed, and those with an answer on its way get their time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..limits import DRAIN_SECONDS, MAX_CONNECTIONS, Addresses
from ..sockets import BACKLOG
from ..tls import Inspect
from .app import DeviceApp

__all__ = ["Connection", "Connections", "DeviceListener", "Door", "ListenerContext"]

SWEEP_SECONDS = 1.0
TICK_SECONDS = 0.1
MAX_LENT = 16
"""Connections that may have a whole firmware in memory at once; with thousands, each has what it can just send."""


class Connection(Protocol):
    """What is asked of a connection."""

    def sweep(self, now: float) -> None:
        """End if something has taken too long by the monotonic clock."""

    def finish(self) -> None:
        """Take nothing more on, and end when nothing is on its way."""

    def abort(self) -> None:
        """End at once."""


class Door(Protocol):
    """Through which connections come, such as asyncio's server."""

    def close(self) -> None:
        """Let nobody in any more."""


class Connections:
    """The open connections, at most `limit` of them, and a share of these from one address."""

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._open: dict[Connection, str] = {}
        self._addresses = Addresses(limit)
        self._lent = 0
        self._finishing = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection, address: str) -> bool:
        """Take one in that comes from `address`, and return whether there was room for it."""
        if self._finishing or not self._addresses.enter(address):
            return False
        self._open[connection] = address
        return True

    def forget(self, connection: Connection) -> None:
        """Let go of one that has ended."""
        if (address := self._open.pop(connection, None)) is not None:
            self._addresses.leave(address)

    def lend(self) -> bool:
        """Return whether there is a buffer of the larger size for one more; it is to be given back."""
        if self._lent >= MAX_LENT:
            return False
        self._lent += 1
        return True

    def give_back(self) -> None:
        """Take one back."""
        self._lent -= 1

    def sweep(self, now: float) -> None:
        """End those in which something has taken too long."""
        for one in tuple(self._open):
            one.sweep(now)

    def finish(self) -> None:
        """Take in no more, and end each when nothing is on its way in it."""
        self._finishing = True
        for one in tuple(self._open):
            one.finish()

    def abort(self) -> None:
        """End all at once."""
        for one in tuple(self._open):
            one.abort()


HandOver = Callable[[bytes, asyncio.Transport], bool]
"""Takes what a connection says first; True when it is another process's from now on."""


@dataclass(frozen=True)
class ListenerContext:
    """What the connections of a listener have in common; `inspect` is called once for each.

    `hand_over` is asked of each connection that did not come from another process.
    """

    app: DeviceApp
    tls: ssl.SSLContext
    inspect: Inspect
    connections: Connections
    hand_over: HandOver | None = None


class DeviceListener:
    """A listening socket and its connections: `serve()` it until `should_exit`, or `force_exit` to end at once."""

    def __init__(
        self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], connections: Connections
    ) -> None:
        self.listening, self.protocol, self.connections = listening, protocol, connections
        self.should_exit = self.force_exit = False

    async def open(self) -> Door:
        """Begin to take connections, and return what ends that."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(self.protocol, sock=self.listening, backlog=BACKLOG)

    async def serve(self) -> None:
        """Serve until `should_exit`, and return when the answers on their way are sent or have had their time."""
        door = await self.open()
        await self._watch(lambda: self.should_exit)
        door.close()
        self.connections.finish()
        end = time.monotonic() + DRAIN_SECONDS
        await self._watch(lambda: not self.connections or self.force_exit or time.monotonic() > end)
        self.connections.abort()
        await asyncio.sleep(0)  # what was aborted says so in the next round

    async def _watch(self, done: Callable[[], bool]) -> None:
        swept = time.monotonic()
        while not done():
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - swept >= SWEEP_SECONDS:
                self.connections.sweep(now)
                swept = now
