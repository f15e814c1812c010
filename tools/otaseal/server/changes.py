"""What changed, as hints for those who listen: a page, or a program, which then reads by the API what it is now.

A hint is a kind, a product and a channel: never a value, and nothing that a device said. All listeners share the last
hints, and costs no more than its place in them. One that falls behind, or comes back too late, is told to read
everything anew.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..errors import SystemFaultError

KINDS = ("channel", "releases", "devices", "alarms", "reload")
"""What a hint is about: `devices` are the counts of rollouts, too; `reload` is everything."""
MAX_KEPT = 256
"""Hints for listeners that do not read just now."""
DELIVER_SECONDS = 0.25
ALIVE_SECONDS = 15.0
"""How often a listener hears something: its own timeouts, and those of what is between, need that."""
AT_ONCE = 50
"""Listeners that are told in one go, before devices have their turn again."""
ALIVE = b":\n\n"


class Change(NamedTuple):
    """A hint: of every product, or of every channel, where it names none."""

    kind: str
    product: str = ""
    channel: str = ""


class Connection(Protocol):
    """What a listener is written to: an asyncio transport."""

    def write(self, data: bytes) -> None:
        """Send bytes, at some time."""

    def close(self) -> None:
        """End, once all is sent."""


class Listener:
    """Who listens to a product, or to all (None), and was told all hints before the number `told`."""

    __slots__ = ("_changes", "_connection", "_paused", "product", "told")

    def __init__(self, changes: Changes, product: str | None, told: int) -> None:
        self.product, self.told = product, told
        self._changes = changes
        self._connection: Connection | None = None
        self._paused = False

    def begin(self, connection: Connection) -> None:
        """Listen with a connection, on which the head of the answer has gone out."""
        self._connection = connection
        self._changes.enter(self)

    def pause(self) -> None:
        """Send nothing for now: the reader does not take it."""
        self._paused = True

    def resume(self) -> None:
        """Go on, with what the reader has missed."""
        self._paused = False
        self._changes.serve(self)

    def leave(self) -> None:
        """Listen no more: the connection has ended."""
        self._connection = None
        self._changes.forget(self)

    def send(self, news: bytes) -> None:
        """Send hints."""
        if self._connection is not None:
            self._connection.write(news)

    def end(self) -> None:
        """End the connection, for the server ends."""
        if self._connection is not None:
            self._connection.close()

    @property
    def ready(self) -> bool:
        """Whether the reader takes what it is sent."""
        return not self._paused


class Changes:
    """The last hints, and at most `most` listeners. `tell` may be called in any thread, the rest in the event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.watchers: list[Callable[[str, str, str], None]] = []
        """Are told each hint at once, in the thread of who tells it."""
        self._run = secrets.token_hex(4)
        """Tells the numbers of this server from those of the one before, or of another."""
        self._told: dict[Change, None] = {}
        self._lock = threading.Lock()
        self._kept: deque[tuple[Change, bytes]] = deque(maxlen=MAX_KEPT)
        self._next = 0
        """The number of the next hint."""
        self._listeners: dict[Listener, None] = {}
        self._closed = False

    def tell(self, kind: str, product: str = "", channel: str = "") -> None:
        """Tell listeners that something of this kind has changed; the same hint twice within a moment is one."""
        with self._lock:
            self._told[Change(kind, product, channel)] = None
        for watcher in self.watchers:
            watcher(kind, product, channel)

    def listen(self, product: str | None, last: str = "") -> Listener:
        """Return a listener to a product, None for all; `last` is the id of the last hint that it was told.

        Raises SystemFaultError where there are too many.
        """
        if len(self._listeners) >= self._most:
            raise SystemFaultError(f"{len(self._listeners)} listen already", "read from time to time instead")
        listener = Listener(self, product, self._next)
        run, _, number = last.partition("-")
        if last:  # a number from elsewhere is before all that are kept
            known = run == self._run and number.isascii() and number.isdigit() and len(number) < 16
            listener.told = min(int(number) + 1, self._next) if known else -1
        return listener

    @property
    def listening(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def enter(self, listener: Listener) -> None:
        """Begin to tell a listener; at once, if it has missed something."""
        if self._closed:
            listener.end()
            return
        self._listeners[listener] = None
        listener.send(ALIVE)
        self.serve(listener)

    def forget(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        self._listeners.pop(listener, None)

    def serve(self, listener: Listener) -> None:
        """Send a listener what it was not told yet, if it takes that."""
        if listener.ready and listener.told != self._next and (news := self._news(listener)):
            listener.send(news)

    async def run(self) -> None:
        """Deliver until cancelled; then all listeners end."""
        beats, silent = int(ALIVE_SECONDS / DELIVER_SECONDS), 0
        try:
            while True:
                await asyncio.sleep(DELIVER_SECONDS)
                silent += 1
                if self._take():
                    await self._each(self.serve)
                if silent >= beats:
                    silent = 0
                    await self._each(_beat)
        finally:
            self._closed = True
            for listener in tuple(self._listeners):
                listener.end()

    def _take(self) -> bool:
        """Number what was told since, and return whether there was anything."""
        with self._lock:
            told, self._told = self._told, {}
        for change in told:
            self._kept.append((change, self._format(change, self._next)))
            self._next += 1
        return bool(told)

    async def _each(self, act: Callable[[Listener], None]) -> None:
        for number, listener in enumerate(tuple(self._listeners), 1):
            act(listener)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _news(self, listener: Listener) -> bytes:
        """Return what a listener was not told yet."""
        told, listener.told = listener.told, self._next
        behind = self._next - told
        if told < 0 or behind > len(self._kept):
            return self._format(Change("reload"), self._next - 1)
        recent = [self._kept[place] for place in range(len(self._kept) - behind, len(self._kept))]
        mine = [text for change, text in recent if listener.product in (None, change.product) or not change.product]
        return b"".join(mine)

    def _format(self, change: Change, number: int) -> bytes:
        """Return a hint as a server-sent event; names of products and channels need no escaping."""
        data = f'{{"product": "{change.product}", "channel": "{change.channel}"}}'
        return f"id: {self._run}-{number}\nevent: {change.kind}\ndata: {data}\n\n".encode()


def _beat(listener: Listener) -> None:
    if listener.ready:
        listener.send(ALIVE)
