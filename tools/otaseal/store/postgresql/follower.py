"""Follows what other servers change, so that each has in memory what every request asks for.

A notification only wakes: `changes` is what counts, and is looked at every second in any case. After each new
connection everything is loaded anew, because a standby that was promoted may have less than what was seen.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from ...errors import OtasealError, SystemFaultError
from .database import CHANNEL, Database, deadline

LOOK_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
LEASE_SECONDS = 5.0
"""How long a server that sees nothing of the database goes on as if nothing were changed."""
CLEANING_SECONDS = 600.0

_SEEN = """INSERT INTO servers (name, seen, at) VALUES (%s, %s, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, at = excluded.at"""
# Who was away for so long loads everything anyway, and a server that was is none any more.
_CLEANING = (
    "DELETE FROM changes WHERE at < now() - interval '1 hour'",
    "DELETE FROM servers WHERE at < now() - interval '1 day'",
)


class Kind(NamedTuple):
    """What is kept in memory of one kind: how all of it is loaded, and how what changed under some names is."""

    load: Callable[[], None]
    apply: Callable[[list[str]], None]
    own: bool = False
    """Whether what this server has changed itself is of interest, too."""


class Follower:
    """A thread that keeps the memory of one server fresh, and says what that has seen."""

    def __init__(self, database: Database, report: Callable[[str], None]) -> None:
        self._database = database
        self._report = report
        self._kinds: dict[str, Kind] = {}
        self._stopping = threading.Event()
        self._looked = -LEASE_SECONDS
        self._cleaned = 0.0
        self.seen = 0
        """The last change that is known here, or about to be."""
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.fault = ""
        """Why the database is not seen, "" while it is."""

    def on(self, name: str, kind: Kind) -> None:
        """Keep what is named by a kind of changes."""
        self._kinds[name] = kind

    def start(self) -> None:
        """Load everything, then follow; raises SystemFaultError where that does not begin."""
        with self._database.connect() as connection:
            self._load(connection)
        self._thread.start()

    def stop(self) -> None:
        """End it, and say that this server has ended."""
        self._stopping.set()
        self._thread.join(2 * LOOK_SECONDS)
        with contextlib.suppress(SystemFaultError), self._database.transaction(durable=False) as transaction:
            transaction.execute("DELETE FROM servers WHERE name = ?", (self._database.server,))

    def in_touch(self) -> bool:
        """Return whether what others changed a few seconds ago is known here."""
        return time.monotonic() - self._looked < LEASE_SECONDS

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.connect() as connection, self._database.faults():
                    self._follow(connection)
            except OtasealError as error:
                if self.fault != error.message:
                    self._report(error.message)
                self.fault = error.message
            self._stopping.wait(RECONNECT_SECONDS)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        self._load(connection)
        self.fault = ""
        while not self._stopping.is_set():
            for _ in connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
                pass
            with deadline(connection, LEASE_SECONDS):
                self._look(connection)

    def _load(self, connection: psycopg.Connection[Any]) -> None:
        looked = time.monotonic()
        with self._database.faults(), deadline(connection, LEASE_SECONDS):
            connection.execute(f"LISTEN {CHANNEL}")
            row = connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
        assert row is not None
        for kind in self._kinds.values():  # what is changed meanwhile is read twice
            kind.load()
        self.seen = row[0]
        self._say_seen(connection, looked)

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        looked = time.monotonic()
        statement = "SELECT number, server, kind, names FROM changes WHERE number > %s ORDER BY number"
        changed: dict[str, dict[str, None]] = {}
        for number, server, kind, names in connection.execute(statement, (self.seen,)):
            self.seen = number
            if server != self._database.server or (kind in self._kinds and self._kinds[kind].own):
                changed.setdefault(kind, {}).update(dict.fromkeys(names))
        for kind in self._kinds.keys() & changed.keys():
            self._kinds[kind].apply(list(changed[kind]))
        self._say_seen(connection, looked)

    def _say_seen(self, connection: psycopg.Connection[Any], looked: float) -> None:
        with self._database.faults():
            connection.execute("SET synchronous_commit = off")
            connection.execute(_SEEN, (self._database.server, self.seen))
            if looked - self._cleaned > CLEANING_SECONDS:
                self._cleaned = looked
                for statement in _CLEANING:
                    connection.execute(statement)
        self._looked = looked
