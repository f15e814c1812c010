"""Which devices were seen, what they say they run, and what they were sent: one SQLite file beside the store.

Telemetry, not promises: no release depends on it, so commits are not flushed one by one (WAL, synchronous=NORMAL: a
power cut may forget the last seconds and damages nothing). Everything a device says is a claim of bounded length, and
the number of devices is bounded too: beyond it those go first that never took a release, then the longest silent, so
that a flood of invented devices cannot push out a fleet. Processes share the file; each opens its own, after forking.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from .errors import SystemFaultError
from .pki.disk import locked
from .protocol import LOOP_LIMIT
from .rollout import Counts

__all__ = ["MAX_CLAIM", "MAX_DEVICES", "Device", "Devices", "Sighting", "is_recent"]

MAX_DEVICES = 100_000
MAX_CLAIM = 128
"""Characters of any one thing that a device says; longer ones are cut."""
LATE_SECONDS = 5.0
"""How much later than others a process may write down what it heard first; a clock is set back by more."""
LAST_SEEN_RESOLUTION = 60.0
"""Seconds within which a device that says the same again costs no write."""
EVICTED_AT_ONCE = 100
PROCESSES = 8
"""Processes that may fill the same room before one of them counts again."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait while another process writes."""
MAX_JOURNAL_BYTES = 16 * 1024 * 1024
SCHEMA = 2
DAMAGED_HINT = "move the file away: it only says which devices were seen, and is made anew"


@dataclass(frozen=True)
class Sighting:
    """One request: `device` is `protocol.device_id`, `md5` of the running sketch; "" or None for what was not said.

    `counter`, `error` and `certs` are what devices with our library say (see `UpdateRequest`).
    """

    product: str
    channel: str
    device: str
    md5: str = ""
    version: str = ""
    mac: str = ""
    counter: int | None = None
    error: int | None = None
    certs: str = ""


@dataclass(frozen=True)
class Device:
    """What is known of one device. Times are seconds since 1970.

    `offered` is the version that it was last answered with, `expected_md5` the sketch MD5 it should come back with,
    `deliveries` how often that went out in full since the device's own MD5 last changed, `confirmed_at` when it came
    back with it. `failed_at`: it came back after a full delivery with what it ran before.
    """

    product: str
    device: str
    channel: str
    md5: str
    version: str
    mac: str
    first_seen: float
    last_seen: float
    offered: str | None = None
    expected_md5: str | None = None
    offered_at: float | None = None
    deliveries: int = 0
    delivered_at: float | None = None
    confirmed_at: float | None = None
    failed_at: float | None = None
    counter: int | None = None
    error: int | None = None
    certs: str = ""

    @property
    def state(self) -> str:
        """How its last update goes, in one word."""
        if self.deliveries >= LOOP_LIMIT:
            return "looping"
        if self.failed_at is not None:
            return "stuck"
        if self.confirmed_at is not None:
            return "updated"
        if self.delivered_at is not None:
            return "updating"
        return "seen" if self.offered is None else "offered"


_SAID = attrgetter(*(field.name for field in fields(Sighting)))
_VALUES = attrgetter(*(field.name for field in fields(Device)))
COLUMNS = ", ".join(field.name for field in fields(Device))
PLACES = ", ".join("?" for _ in fields(Device))
TABLES = (
    f"CREATE TABLE IF NOT EXISTS devices ({COLUMNS}, PRIMARY KEY (product, device)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS by_age ON devices (delivered_at IS NOT NULL, last_seen)",
    "CREATE INDEX IF NOT EXISTS by_channel ON devices (product, channel, last_seen)",
)
SELECT = f"SELECT {COLUMNS} FROM devices"  # noqa: S608 - our own names
SAVE = f"INSERT OR REPLACE INTO devices ({COLUMNS}) VALUES ({PLACES})"  # noqa: S608
ADDED = tuple(f"ALTER TABLE devices ADD COLUMN {column}" for column in ("counter", "error", "certs DEFAULT ''"))
"""What schema 2 has beyond schema 1."""
EVICT = """DELETE FROM devices WHERE (product, device) IN (
    SELECT product, device FROM devices ORDER BY delivered_at IS NOT NULL, last_seen LIMIT ?)"""
RUNNING = "SELECT md5, count(*) FROM devices WHERE product = ? AND channel = ? GROUP BY md5"
COUNTS = """SELECT count(*), sum(mine), sum(mine AND delivered), sum(mine AND confirmed),
    sum(mine AND NOT confirmed AND (failed OR late)) FROM (
    SELECT offered IS ? AS mine, delivered_at IS NOT NULL AS delivered, confirmed_at IS NOT NULL AS confirmed,
    failed_at IS NOT NULL AS failed, coalesce(delivered_at <= ?, 0) AS late
    FROM devices WHERE product = ? AND channel = ?)"""


class Devices:
    """The devices in the file `path`; use in a `with` statement, or `close` it. Safe in threads."""

    def __init__(self, path: Path, limit: int = MAX_DEVICES, patience: float = BUSY_TIMEOUT) -> None:
        """Open the file, making it if it is missing; raises SystemFaultError when it is none of ours or unusable.

        `patience` is how many seconds a call waits while another process writes.
        """
        self.path = path
        self.limit = limit
        self._lock = threading.RLock()
        self._in_batch = False
        self._drafts: dict[tuple[str, str], tuple[Device | None, bool]] = {}
        """In a batch: the rows that were asked for, and whether they have changed; each is read and written once."""
        self._room = 0  # devices that may be added before they are counted again
        with locked(path.parent), self._faults():  # SQLite waits for nobody where it makes a journal or takes it away
            self._database = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
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
        with locked(self.path.parent), self._lock, self._faults():
            self._database.close()

    def see(self, sighting: Sighting, now: float) -> Device:
        """Note that a device asked, and return what is known of it now; raises SystemFaultError."""
        if not self._in_batch:  # which has begun to write already
            found, news = self.look(sighting, now)
            if not news:
                return found
        claim = _claim(sighting)
        with self._transaction():
            known = self._row(claim.product, claim.device)
            if known is not None and _says_nothing_new(known, claim, now):
                return known
            if known is None:
                self._make_room()
            seen = _seen(known, claim, now)
            self._save(seen)
        return seen

    def look(self, sighting: Sighting, now: float) -> tuple[Device, bool]:
        """Return what `see` would, without writing anything, and whether there is something to write."""
        claim = _claim(sighting)
        known = self.get(claim.product, claim.device)
        if known is not None and _says_nothing_new(known, claim, now):
            return known, False
        return _seen(known, claim, now), True

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float) -> None:
        """Note that a device, which was seen, is answered with a release, to come back with a sketch of that MD5."""
        with self._transaction():
            known = self._row(product, device)
            if known is not None and (known.offered, known.expected_md5) != (version, expected_md5):
                self._save(_offered(known, version, expected_md5, now))

    def deliver(self, product: str, device: str, version: str, now: float) -> int:
        """Note that a release went out in full; return how often since the device's own MD5 last changed.

        0 when that device is unknown or has been offered another release since.
        """
        with self._transaction():
            known = self._row(product, device)
            if known is None or known.offered != version:
                return 0
            self._save(replace(known, deliveries=known.deliveries + 1, delivered_at=now))
        return known.deliveries + 1

    def get(self, product: str, device: str) -> Device | None:
        """Return what is known of a device, None if nothing is."""
        with self._lock, self._faults():
            return self._row(product, device)

    def list(self, product: str, channel: str | None = None, limit: int = 1000) -> tuple[Device, ...]:
        """Return a product's devices, last seen first, at most `limit`."""
        where = "product = ?" if channel is None else "product = ? AND channel = ?"
        values = [product, limit] if channel is None else [product, channel, limit]
        with self._lock, self._faults():
            self._settle()
            rows = self._database.execute(f"{SELECT} WHERE {where} ORDER BY last_seen DESC LIMIT ?", values)
            return tuple(Device(*row) for row in rows)

    def running(self, product: str, channel: str) -> tuple[tuple[str, int], ...]:
        """Return the sketch MD5s that a channel's devices named last, "" for none, each with the number of devices."""
        with self._lock, self._faults():
            self._settle()
            return tuple(self._database.execute(RUNNING, (product, channel)))

    def counts(self, product: str, channel: str, version: str, now: float, patience: float) -> Counts:
        """Return how a rollout goes; a delivery unanswered for `patience` seconds counts as failed."""
        with self._lock, self._faults():
            self._settle()
            row = self._database.execute(COUNTS, (version, now - patience, product, channel)).fetchone()
        return Counts(*(value or 0 for value in row))

    def forget(self, product: str, device: str) -> bool:
        """Forget a device, so that a loop that was broken may be tried again; return whether it was known."""
        with self._transaction():
            self._settle()
            done = self._database.execute("DELETE FROM devices WHERE product = ? AND device = ?", _key(product, device))
        return done.rowcount > 0

    def _prepare(self) -> None:
        """Make the tables of an empty file; two processes may do so at once."""
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL_BYTES}")
        self._database.execute("BEGIN IMMEDIATE")
        (schema,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if schema == 1:
            for statement in ADDED:
                self._database.execute(statement)
        elif schema != SCHEMA and (schema or tables):
            raise SystemFaultError(f"'{self.path}' is not this otaseal's list of devices", DAMAGED_HINT)
        for statement in TABLES:
            self._database.execute(statement)
        self._database.execute(f"PRAGMA user_version = {SCHEMA}")
        self._database.execute("COMMIT")

    def _row(self, product: str, device: str) -> Device | None:
        key = _key(product, device)
        if (draft := self._drafts.get(key)) is not None:
            return draft[0]
        row = self._database.execute(f"{SELECT} WHERE product = ? AND device = ?", key).fetchone()
        found = None if row is None else Device(*row)
        if self._in_batch:
            self._drafts[key] = found, False
        return found

    def _save(self, device: Device) -> None:
        if self._in_batch:
            self._drafts[device.product, device.device] = device, True
        else:
            self._database.execute(SAVE, _VALUES(device))

    def _settle(self) -> None:
        """Write what a batch has changed so far, before the file is asked for more than single rows."""
        if self._drafts:
            changed = [_VALUES(device) for device, news in self._drafts.values() if news and device is not None]
            self._drafts.clear()
            self._database.executemany(SAVE, changed)

    def _make_room(self) -> None:
        """Let go of the least wanted when there are too many; counting them all is too dear for every new device."""
        self._room -= 1
        if self._room >= 0:
            return
        self._settle()
        (count,) = self._database.execute("SELECT count(*) FROM devices").fetchone()
        if count >= self.limit:
            gone = self._database.execute(EVICT, (count - self.limit + min(EVICTED_AT_ONCE, 1 + self.limit // 10),))
            count -= gone.rowcount
        self._room = (self.limit - count) // PROCESSES - 1

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Make one transaction of all that is noted within; raises as they do, and then nothing of it was noted."""
        with self._transaction():
            self._in_batch = True
            try:
                yield
                self._settle()
            finally:
                self._in_batch = False
                self._drafts.clear()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._faults():
            if self._in_batch:
                yield
                return
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
            raise SystemFaultError(f"the devices in '{self.path}' cannot be used: {error}", DAMAGED_HINT) from error


def is_recent(known: Device, now: float) -> bool:
    """Return whether a device was seen so lately that only what is new of it is written."""
    return 0 <= now - known.last_seen < LAST_SEEN_RESOLUTION


def _claim(sighting: Sighting) -> Sighting:
    return Sighting(*map(_bounded, vars(sighting).values()))


def _says_nothing_new(known: Device, claim: Sighting, now: float) -> bool:
    if 0 < known.last_seen - now < LATE_SECONDS:
        return True
    if not is_recent(known, now):
        return False
    # What nearly every poll is, without making two devices of it: nothing is awaited, or it has been confirmed before.
    settled = known.confirmed_at is not None and known.failed_at is None
    if _SAID(known) == _SAID(claim) and not known.deliveries and (settled or known.md5 != known.expected_md5):
        return True
    return _seen(known, claim, now) == replace(known, last_seen=now)


def _seen(known: Device | None, claim: Sighting, now: float) -> Device:
    """Return what is known of a device after it said `claim`; without an MD5 it says nothing about updates."""
    if known is None:
        return Device(**vars(claim), first_seen=now, last_seen=now)
    now_known = replace(known, **vars(claim), last_seen=now)
    if not claim.md5:
        return replace(now_known, md5=known.md5)
    if known.expected_md5 and claim.md5 == known.expected_md5:
        return replace(now_known, deliveries=0, failed_at=None, confirmed_at=known.confirmed_at or now)
    if claim.md5 != known.md5:
        return replace(now_known, deliveries=0, confirmed_at=None)
    return replace(now_known, failed_at=known.failed_at or now) if known.deliveries else now_known


def _offered(known: Device, version: str, expected_md5: str, now: float) -> Device:
    answered = {"offered": version, "expected_md5": expected_md5, "offered_at": now}
    return replace(known, **answered, deliveries=0, delivered_at=None, confirmed_at=None, failed_at=None)  # type: ignore[arg-type]


def _bounded(said: Any) -> Any:
    return _bounded_text(said) if isinstance(said, str) else said


def _bounded_text(text: str) -> str:
    return text if len(text) <= MAX_CLAIM and text.isascii() else text[:MAX_CLAIM].encode(errors="replace").decode()


def _key(product: str, device: str) -> tuple[str, str]:
    return _bounded_text(product), _bounded_text(device)
