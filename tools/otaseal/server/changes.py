"""What changed, as hints for those who listen: a page, or a program, which then reads by the API what it is now.

A hint is a kind, a product and a channel: never a value, and nothing that a device said. All listeners share the last
hints: each costs no more than its place in them. One that falls behind, or comes back too late, is told to read
everything anew.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..errors import ConflictError, SystemFaultError

MAX_KEPT = 256
"""Hints for listeners that do not read just now."""
DELIVER_SECONDS = 0.25
ALIVE_SECONDS = 15.0
"""How often a listener hears something: its own timeouts, and those of what is between, need that."""
CHECK_SECONDS = 2.0
"""How often it is checked that credentials with which somebody listens are still good."""
MAX_OF_CALLER, SHARES = 100, 4
"""Listeners of one caller: so many, and one of so many shares of all where there are few."""
AT_ONCE = 50
"""Listeners that are told in one go, before devices have their turn again."""
ALIVE = b":\n\n"


class Change(NamedTuple):
    """A hint: of every product, or of every channel, where it names none.

    The kinds are channel, releases, devices (with the counts of rollouts), alarms, and reload, which is everything.
    """

    kind: str
    product: str = ""
    channel: str = ""


class Connection(Protocol):
    """What a listener is written to."""

    def write(self, data: bytes) -> None:
        """Send bytes, at some time."""

    def close(self) -> None:
        """End, once all is sent."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a `caller` listens to, a product or all (None), by the credentials `shown`, which names no secret.

    `holds` tells whether these are still good for that. It is asked once for all who listen by the same.
    """

    caller: str
    shown: str
    product: str | None
    holds: Callable[[], bool] = field(compare=False, repr=False)


class Listener:
    """Who listens by a subscription, and was told all hints before the number `told`."""

    __slots__ = ("_changes", "_connection", "_paused", "subscription", "told")

    def __init__(self, changes: Changes, subscription: Subscription, told: int) -> None:
        self.subscription, self.told = subscription, told
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
        """End the connection: the server ends, or the credentials have."""
        connection, self._connection = self._connection, None
        self._changes.forget(self)
        if connection is not None:
            connection.close()

    @property
    def ready(self) -> bool:
        """Whether the reader takes what it is sent."""
        return not self._paused


class Changes:
    """The last hints, and at most `most` listeners. `tell` may be called in any thread, the rest in the event loop."""

    def __init__(self, most: int) -> None:
        self._most, self._share = most, max(1, min(MAX_OF_CALLER, most // SHARES))
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
        self._callers: Counter[str] = Counter()
        self._closed = False

    def tell(self, kind: str, product: str = "", channel: str = "") -> None:
        """Tell listeners that something of this kind has changed; the same hint twice within a moment is one."""
        with self._lock:
            self._told[Change(kind, product, channel)] = None
        for watcher in self.watchers:
            watcher(kind, product, channel)

    def listen(self, subscription: Subscription, last: str = "") -> Listener:
        """Return a listener; `last` is the id of the last hint that it was told.

        Raises ConflictError where its caller has too many, SystemFaultError where there are too many of all.
        """
        if self._callers[subscription.caller] >= self._share:
            raise ConflictError(
                f"'{subscription.caller}' listens {self._share} times already", "end one of these, or read now and then"
            )
        if len(self._listeners) >= self._most:
            raise SystemFaultError(f"{len(self._listeners)} listen already", "read from time to time instead")
        listener = Listener(self, subscription, self._next)
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
        self._callers[listener.subscription.caller] += 1
        listener.send(ALIVE)
        self.serve(listener)

    def forget(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        if listener in self._listeners:
            del self._listeners[listener]
            caller = listener.subscription.caller
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    def serve(self, listener: Listener) -> None:
        """Send a listener what it was not told yet, if it takes that."""
        if listener.ready and listener.told != self._next and (news := self._news(listener)):
            listener.send(news)

    async def run(self) -> None:
        """Deliver until cancelled; then all listeners end."""
        beat, check = (max(1, int(seconds / DELIVER_SECONDS)) for seconds in (ALIVE_SECONDS, CHECK_SECONDS))
        try:
            for turn in itertools.count(1):
                await asyncio.sleep(DELIVER_SECONDS)
                if turn % check == 0:
                    await self._each(_Check())
                if self._take():
                    await self._each(self.serve)
                if turn % beat == 0:
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
        product = listener.subscription.product
        mine = [text for change, text in recent if product in (None, change.product) or not change.product]
        return b"".join(mine)

    def _format(self, change: Change, number: int) -> bytes:
        """Return a hint as a server-sent event; names of products and channels need no escaping."""
        data = f'{{"product": "{change.product}", "channel": "{change.channel}"}}'
        return f"id: {self._run}-{number}\nevent: {change.kind}\ndata: {data}\n\n".encode()


class _Check:
    """Ends listeners whose credentials are no longer good; each of these is asked for once."""

    def __init__(self) -> None:
        self._good: dict[Subscription, bool] = {}

    def __call__(self, listener: Listener) -> None:
        subscription = listener.subscription
        if subscription not in self._good:
            self._good[subscription] = subscription.holds()
        if not self._good[subscription]:
            listener.end()


def _beat(listener: Listener) -> None:
    if listener.ready:
        listener.send(ALIVE)
