"""Which devices were seen, what they say they run, and what they were sent: one SQLite file beside the store.

Telemetry, not promises: no release depends on it, so commits are not flushed one by one (WAL, synchronous=NORMAL: a
power cut may forget the last seconds and damages nothing). Everything a device says is a claim of bounded length, and
the number of devices is bounded too: beyond it those go first that are new and prove nothing, the longest silent among
them, so that a flood of invented devices cannot push out a fleet. Which file it is may change: `device_file` moves them
into memory while the store's cannot be used.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..directories import locked
from ..errors import SystemFaultError
from ..formats import refuse_later
from ..release.rollout import Tally
from . import statements
from .device_batch import COLUMNS, SELECT, TAKE, Rows
from .device_rows import (
    CERTIFIED,
    IS_NEW,
    PROVEN,
    UNPROVEN,
    Device,
    Selection,
    Sighting,
    conditions,
    device_key,
    says_nothing_new,
    seen,
)
from .proof_keys import LastProof, Name
from .rollout_rows import BEGIN, BEGUN, ROLLOUTS, SET_ASIDE, TALLY, Rollout, tally_of, tally_values

if TYPE_CHECKING:
    from .device_file import DeviceFile

MAX_DEVICES = 100_000
EVICTED_AT_ONCE = 100
NEWCOMERS_SHARE = 10
"""One of so many places is kept for newcomers: beyond that they push out each other only."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait while another process writes."""
MAX_JOURNAL_BYTES = 16 * 1024 * 1024
SCHEMA = 2
DAMAGED_HINT = "move the file away: it only says which devices were seen, and is made anew"


class DamagedFileError(SystemFaultError):
    """The file is not a list of devices, or one that is damaged."""


TABLES = (
    f"CREATE TABLE IF NOT EXISTS devices ({COLUMNS}, PRIMARY KEY (product, device)) WITHOUT ROWID",
    "DROP INDEX IF EXISTS by_age",
    "CREATE INDEX IF NOT EXISTS by_silence ON devices (last_seen)",
    "CREATE INDEX IF NOT EXISTS by_channel ON devices (product, channel, last_seen)",
    ROLLOUTS,
    *statements.TABLES,
)
ADDED = {
    **{"counter": "counter", "error": "error", "certs": "certs DEFAULT ''", "address": "address DEFAULT ''"},
    **{"elsewhere": "elsewhere", "elsewhere_deliveries": "elsewhere_deliveries DEFAULT 0"},
    **{"elsewhere_at": "elsewhere_at", "other_mac": "other_mac"},
    **{"enrolled": "enrolled", "sequence": "sequence"},
}
"""Columns that earlier versions did not have. Those of schema 2 name theirs, and leave others as they are."""
NEWCOMERS = f"SELECT count(*) FROM devices WHERE {IS_NEW}"  # noqa: S608 - our own names
EVICT_NEWCOMERS = f"""DELETE FROM devices WHERE (product, device) IN (
    SELECT product, device FROM devices WHERE {IS_NEW} ORDER BY last_seen LIMIT ?)"""  # noqa: S608
EVICT = f"""DELETE FROM devices WHERE (product, device) IN (
    SELECT product, device FROM devices WHERE NOT {IS_NEW} ORDER BY {PROVEN}, last_seen LIMIT ?)"""  # noqa: S608
RUNNING = """SELECT md5, version, count(*) FROM (
    SELECT md5, version FROM devices WHERE product = :product AND channel = :channel UNION ALL
    SELECT md5, version FROM statements WHERE product = :product AND channel = :channel AND said_at >= :since)
    GROUP BY md5, version"""
CLONES = "SELECT product, device, mac, other_mac FROM devices WHERE other_mac IS NOT NULL LIMIT ?"
PROOFS = "SELECT product, device, sequence, last_seen FROM devices WHERE sequence IS NOT NULL"
WITHOUT_PROOF = f"""SELECT count(*) FROM devices
    WHERE last_seen >= ? AND sequence IS NULL AND NOT {CERTIFIED} AND NOT {UNPROVEN}"""  # noqa: S608 - our own names
NEEDS = """SELECT DISTINCT md5, offered FROM devices WHERE product = :product UNION ALL
    SELECT DISTINCT md5, NULL FROM statements WHERE product = :product"""


ALL = Selection()


class Devices:
    """The devices in one file; use in a `with` statement, or `close` it. Safe in threads."""

    def __init__(self, file: Path | DeviceFile, limit: int = MAX_DEVICES, timeout: float = BUSY_TIMEOUT) -> None:
        """Open the file, making it if it is missing; a call waits for `timeout` seconds at most while others write.

        Raises DamagedFileError when it is none of ours, LaterFormatError, SystemFaultError when it cannot be used.
        """
        self.limit = limit
        self._timeout = timeout
        self._file = None if isinstance(file, Path) else file
        self._generation = 0 if self._file is None else self._file.generation
        self.path = file if isinstance(file, Path) else file.path(self._generation)
        self._evicted_at_once = min(EVICTED_AT_ONCE, 1 + limit // NEWCOMERS_SHARE)
        self._lock = threading.RLock()
        self._room = 0  # devices that may be added before they are counted again
        self.losses = 0
        """How often rows have gone, or may have, that nobody wanted to be forgotten."""
        self._open()

    def _open(self) -> None:
        # SQLite waits for nobody where it makes a journal or takes it away.
        with locked(self.path.parent), self._faults():
            self._database = sqlite3.connect(
                self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(SystemFaultError):  # where nobody can lock, nobody can write either
                stack.enter_context(locked(self.path.parent))
            stack.enter_context(self._lock)
            self._database.close()

    def preview(
        self, known: Device | None, claim: Sighting, now: float, sequence: int | None = None
    ) -> tuple[Device, bool]:
        """Return what `Rows.see` would of a device whose row is `known`, and whether there is something to write."""
        if known is not None and says_nothing_new(known, claim, now):
            with self._current_file():
                if not statements.is_new(self._database, known, claim, now):
                    return known, False
        return seen(known, claim, now, sequence), True

    def get(self, product: str, device: str) -> Device | None:
        """Return what is known of a device, None if nothing is."""
        with self._current_file():
            return self._row(product, device)

    def list(self, product: str, selection: Selection = ALL, after: str = "", limit: int = 1000) -> tuple[Device, ...]:
        """Return the selected devices of a product, by name, at most `limit` of those behind the name `after`."""
        where, values = conditions(selection)
        rows = self._query(
            f"{SELECT} WHERE product = ? AND device > ?{where} ORDER BY device LIMIT ?",
            (product, after, *values, limit),
        )
        return tuple(Device(*row) for row in rows)

    def needs(self, product: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the sketch MD5s that a product's devices named last, and the versions that they were offered last."""
        rows = self._query(NEEDS, {"product": product})
        return frozenset(md5 for md5, _ in rows), frozenset(version for _, version in rows if version)

    def proofs(self) -> dict[Name, LastProof]:
        """Return the last proof by a key that was written down, by product and device."""
        return {(product, device): LastProof(*last) for product, device, *last in self._query(PROOFS)}

    def without_proof(self, since: float) -> int:
        """Return how many devices that were heard of since then have never proved their names, as far as is known."""
        return int(self._query(WITHOUT_PROOF, (since,))[0][0])

    def running(self, product: str, channel: str, since: float = math.inf) -> tuple[tuple[str, str, int], ...]:
        """Return what a channel's devices named last, each with their number: sketch MD5 and version, "" for none.

        Statements count beside that (`statements`) which were made `since` then, in seconds since 1970.
        """
        return tuple(self._query(RUNNING, {"product": product, "channel": channel, "since": since}))

    def tally(self, product: str, channel: str, rollout: Rollout, now: float, patience: float | None) -> Tally:
        """Return how a rollout goes, by the evidence for what is said, as `tally_values` has it."""
        values = {"product": product, "channel": channel, **tally_values(rollout, now, patience)}
        return tally_of(self._query(TALLY, values))

    def rollout(self, product: str, channel: str, version: str) -> Rollout | None:
        """Return what is known of the rollout of a version, None where it has not begun."""
        rows = self._query(BEGUN, (product, channel, version))
        return Rollout(*rows[0]) if rows else None

    def begin(self, product: str, channel: str, version: str, now: float) -> None:
        """Note that a channel's rollout of a version begins now, unless it has begun; those of others are over."""
        if self.rollout(product, channel, version) is not None:
            return
        with self._transaction():
            self._database.execute(BEGIN, (product, channel, version, now))

    def set_aside(self, product: str, channel: str, version: str, now: float) -> None:
        """Note that the failures of a rollout until now do not count."""
        with self._transaction():
            self._database.execute(SET_ASIDE, (now, product, channel, version))

    def clones(self, limit: int) -> tuple[str, ...]:
        """Return in words of which certificates there are copies on other chips, of `limit` of them at most."""
        return tuple(
            f"the certificate of '{device}' of '{product}' is on two chips, {' and '.join(sorted((mac, other)))}: "
            "revoke it, and forget the device"
            for product, device, mac, other in self._query(CLONES, (limit,))
        )

    def _prepare(self) -> None:
        """Make the tables of an empty file; two processes may do so at once."""
        self._check_schema()  # before anything is written into what is not ours
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL_BYTES}")
        self._database.execute("BEGIN IMMEDIATE")
        self._check_schema()
        for statement in TABLES:
            self._database.execute(statement)
        there = {row[1] for row in self._database.execute("PRAGMA table_info(devices)")}
        for column in ADDED.keys() - there:
            self._database.execute(f"ALTER TABLE devices ADD COLUMN {ADDED[column]}")
        self._database.execute(f"PRAGMA user_version = {SCHEMA}")
        self._database.execute("COMMIT")

    def _check_schema(self) -> int:
        """Return the schema, 0 for an empty file; raises LaterFormatError, DamagedFileError."""
        (schema,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        refuse_later(schema, SCHEMA, f"the list of devices '{self.path}'")
        if schema < 0 or (not schema and tables):
            raise DamagedFileError(f"'{self.path}' is not a list of devices", DAMAGED_HINT)
        return int(schema)

    def check(self) -> None:
        """Read every page of the file; raises DamagedFileError."""
        ((result,),) = self._query("PRAGMA quick_check(1)")
        if result != "ok":
            raise DamagedFileError(f"the devices in '{self.path}' are damaged: {result}", DAMAGED_HINT)

    def take(self, rows: Iterable[Device]) -> None:
        """Add devices as another file has them; of one that is known, what was seen last stays."""
        with self._transaction():
            self._database.executemany(TAKE, rows)

    def read_all(self) -> Iterator[Device]:
        """Yield every device, for `take`."""
        yield from (Device(*row) for row in self._query(SELECT))

    def _query(self, statement: str, values: tuple[object, ...] | dict[str, object] = ()) -> Sequence[Any]:
        with self._current_file():
            return self._database.execute(statement, values).fetchall()

    def _row(self, product: str, device: str) -> Device | None:
        row = self._database.execute(
            f"{SELECT} WHERE product = ? AND device = ?", device_key(product, device)
        ).fetchone()
        return None if row is None else Device(*row)

    def _make_room(self) -> None:
        """Evict devices when there are too many; counting them all is too slow to do for every new one."""
        (count,) = self._database.execute("SELECT count(*) FROM devices").fetchone()
        if count >= self.limit:
            surplus = count - self.limit + self._evicted_at_once
            (newcomers,) = self._database.execute(NEWCOMERS).fetchone()
            theirs = max(0, min(surplus, newcomers - self.limit // NEWCOMERS_SHARE + 1))
            count -= self._database.execute(EVICT_NEWCOMERS, (theirs,)).rowcount
            count -= self._database.execute(EVICT, (surplus - theirs,)).rowcount
            self.losses += 1
        self._room = self.limit - count - 1

    def flood(self) -> str:
        """Return in words that newcomers push out each other, "" while there is room."""
        ((count,),) = self._query("SELECT count(*) FROM devices")
        if count < self.limit - self._evicted_at_once or self._query(NEWCOMERS)[0][0] < self.limit // NEWCOMERS_SHARE:
            return ""
        places = self.limit // NEWCOMERS_SHARE
        return (
            f"the list of devices is full: more than {places} of {self.limit} are new within a day; they "
            "push out each other, and nobody who was known before"
        )

    @contextlib.contextmanager
    def batch(self) -> Iterator[Rows]:
        """Make one transaction of all changes within; when one raises, none is made."""
        with self._transaction():
            rows = Rows(self)
            yield rows
            rows.write()

    @contextlib.contextmanager
    def _current_file(self) -> Iterator[None]:
        """Lock the connection, reopened where another file is in use by now."""
        with self._lock:
            if self._file is not None and self._file.generation != self._generation:
                self._database.close()
                self._generation = self._file.generation
                self.path, self._room = self._file.path(self._generation), 0
                self.losses += 1
                try:
                    self._open()
                except SystemFaultError:
                    self._generation = -1  # to be tried again
                    raise
            with self._faults():
                yield

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._current_file():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                self._room = 0
                with contextlib.suppress(sqlite3.Error):  # SQLite has ended it already where the disk refused
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            message = f"the devices in '{self.path}' cannot be used: {error}"
            # Python 3.10 has no numbers for it. What is not operational is a file that is damaged, or is none.
            busy = isinstance(error, sqlite3.ProgrammingError) or "locked" in str(error)
            if self._file is not None and not busy:
                self._file.move_to_memory(self._generation, message)
            if type(error) is sqlite3.DatabaseError:
                raise DamagedFileError(message, DAMAGED_HINT) from error
            raise SystemFaultError(message, "check the disk's space and the permissions") from error
