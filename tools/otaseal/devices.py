"""Which devices were seen, what they say they run, and what they were sent: one SQLite file beside the store.

Telemetry, not promises: no release depends on it, so commits are not flushed one by one (WAL, synchronous=NORMAL: a
power cut may forget the last seconds and damages nothing). Everything a device says is a claim of bounded length, and
the number of devices is bounded too: beyond it those go first that never took a release, then the longest silent, so
that a flood of invented devices cannot push out a fleet. Processes share the file; each opens its own, after forking.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from .errors import SystemFaultError
from .pki.disk import locked
from .protocol import LOOP_LIMIT
from .rollout import Counts

__all__ = ["MAX_CLAIM", "MAX_DEVICES", "Device", "Devices", "Rows", "Sighting", "is_recent"]

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


class Device(NamedTuple):
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
COLUMNS = ", ".join(Device._fields)
PLACES = ", ".join("?" for _ in Device._fields)
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
    failed_at IS NOT NULL AS failed, coalesce(delivered_at <= ? OR delivered_at > ?, 0) AS late
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
        found, news = self.look(sighting, now)
        if news:
            with self.batch() as rows:
                found = rows.see(sighting, now)
        return found

    def look(self, sighting: Sighting, now: float) -> tuple[Device, bool]:
        """Return what `see` would, without writing anything, and whether there is something to write."""
        claim = _claim(sighting)
        with self._lock, self._faults():
            known = self._row(claim.product, claim.device)
        if known is not None and _says_nothing_new(known, claim, now):
            return known, False
        return _seen(known, claim, now), True

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float) -> None:
        """Note that a device, which was seen, is answered with a release, to come back with a sketch of that MD5."""
        with self.batch() as rows:
            rows.offer(product, device, version, expected_md5, now)

    def deliver(self, product: str, device: str, version: str, now: float) -> int:
        """Note that a release went out in full; return how often since the device's own MD5 last changed.

        0 when that device is unknown or has been offered another release since.
        """
        with self.batch() as rows:
            return rows.deliver(product, device, version, now)

    def get(self, product: str, device: str) -> Device | None:
        """Return what is known of a device, None if nothing is."""
        with self._lock, self._faults():
            return self._row(product, device)

    def list(self, product: str, channel: str | None = None, limit: int = 1000) -> tuple[Device, ...]:
        """Return a product's devices, last seen first, at most `limit`."""
        where = "product = ?" if channel is None else "product = ? AND channel = ?"
        values = [product, limit] if channel is None else [product, channel, limit]
        with self._lock, self._faults():
            rows = self._database.execute(f"{SELECT} WHERE {where} ORDER BY last_seen DESC LIMIT ?", values)
            return tuple(Device(*row) for row in rows)

    def running(self, product: str, channel: str) -> tuple[tuple[str, int], ...]:
        """Return the sketch MD5s that a channel's devices named last, "" for none, each with the number of devices."""
        with self._lock, self._faults():
            return tuple(self._database.execute(RUNNING, (product, channel)))

    def counts(self, product: str, channel: str, version: str, now: float, patience: float | None) -> Counts:
        """Return how a rollout goes; a delivery unanswered for `patience` seconds counts as failed, if that is given.

        So does one that lies after `now`: the clock has been set back since then.
        """
        late = (-math.inf, math.inf) if patience is None else (now - patience, now + LATE_SECONDS)
        with self._lock, self._faults():
            row = self._database.execute(COUNTS, (version, *late, product, channel)).fetchone()
        return Counts(*(value or 0 for value in row))

    def forget(self, product: str, device: str) -> bool:
        """Forget a device, so that a loop that was broken may be tried again; return whether it was known."""
        with self._transaction():
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
        row = self._database.execute(f"{SELECT} WHERE product = ? AND device = ?", _key(product, device)).fetchone()
        return None if row is None else Device(*row)

    def _make_room(self) -> None:
        """Let go of the least wanted when there are too many; counting them all is too dear for every new device."""
        (count,) = self._database.execute("SELECT count(*) FROM devices").fetchone()
        if count >= self.limit:
            gone = self._database.execute(EVICT, (count - self.limit + min(EVICTED_AT_ONCE, 1 + self.limit // 10),))
            count -= gone.rowcount
        self._room = (self.limit - count) // PROCESSES - 1

    @contextlib.contextmanager
    def batch(self) -> Iterator[Rows]:
        """Make one transaction of all that is noted within; raises as they do, and then nothing of it was noted."""
        with self._transaction():
            rows = Rows(self)
            yield rows
            rows.settle()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._faults():
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


class Rows:
    """The rows of one transaction, made by `Devices.batch`: each is read once, and written once, at the end."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._rows: dict[tuple[str, str], Device | None] = {}
        self._changed: dict[tuple[str, str], Device] = {}

    def see(self, sighting: Sighting, now: float) -> Device:
        """See `Devices.see`."""
        claim = _claim(sighting)
        known = self._get(key := (claim.product, claim.device))
        if known is not None and _says_nothing_new(known, claim, now):
            return known
        if known is None:
            self._make_room()
        return self._put(key, _seen(known, claim, now))

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float) -> None:
        """See `Devices.offer`."""
        known = self._get(key := _key(product, device))
        if known is not None and (known.offered, known.expected_md5) != (version, expected_md5):
            self._put(key, _offered(known, version, expected_md5, now))

    def deliver(self, product: str, device: str, version: str, now: float) -> int:
        """See `Devices.deliver`."""
        known = self._get(key := _key(product, device))
        if known is None or known.offered != version:
            return 0
        return self._put(key, known._replace(deliveries=known.deliveries + 1, delivered_at=now)).deliveries

    def settle(self) -> None:
        """Write what has changed so far."""
        if self._changed:
            self._devices._database.executemany(SAVE, self._changed.values())
            self._changed.clear()

    def _get(self, key: tuple[str, str]) -> Device | None:
        if key not in self._rows:
            self._rows[key] = self._devices._row(*key)
        return self._rows[key]

    def _put(self, key: tuple[str, str], row: Device) -> Device:
        self._rows[key] = self._changed[key] = row
        return row

    def _make_room(self) -> None:
        self._devices._room -= 1
        if self._devices._room < 0:
            self.settle()  # and what is evicted is not known any more
            self._rows.clear()
            self._devices._make_room()


def is_recent(known: Device, now: float) -> bool:
    """Return whether a device was seen so lately that only what is new of it is written."""
    return 0 <= now - known.last_seen < LAST_SEEN_RESOLUTION


def _claim(sighting: Sighting) -> Sighting:
    """Return what is kept of what a device says; mostly the same."""
    said: tuple[Any, ...] = _SAID(sighting)
    texts = [one for one in said if isinstance(one, str)]
    if max(map(len, texts)) <= MAX_CLAIM and "".join(texts).isascii():
        return sighting
    kept: list[Any] = [_bounded_text(one) if isinstance(one, str) else one for one in said]
    return Sighting(*kept)


def _says_nothing_new(known: Device, claim: Sighting, now: float) -> bool:
    if 0 < known.last_seen - now < LATE_SECONDS:
        return True
    if not is_recent(known, now):
        return False
    # What nearly every poll is, without making two devices of it: nothing is awaited, or it has been confirmed before.
    settled = known.confirmed_at is not None and known.failed_at is None
    if _SAID(known) == _SAID(claim) and not known.deliveries and (settled or known.md5 != known.expected_md5):
        return True
    return _seen(known, claim, now) == known._replace(last_seen=now)


def _seen(known: Device | None, claim: Sighting, now: float) -> Device:
    """Return what is known of a device after it said `claim`; without an MD5 it says nothing about updates."""
    said = vars(claim)
    if known is None:
        return Device(**said, first_seen=now, last_seen=now)
    if not claim.md5:
        return known._replace(**{**said, "md5": known.md5}, last_seen=now)
    news: dict[str, Any] = {}
    if known.expected_md5 and claim.md5 == known.expected_md5:
        news = {"deliveries": 0, "failed_at": None, "confirmed_at": known.confirmed_at or now}
    elif claim.md5 != known.md5:
        news = {"deliveries": 0, "confirmed_at": None}
    elif known.deliveries:
        news = {"failed_at": known.failed_at or now}
    return known._replace(**said, **news, last_seen=now)


def _offered(known: Device, version: str, expected_md5: str, now: float) -> Device:
    answered = {"offered": version, "expected_md5": expected_md5, "offered_at": now}
    return known._replace(**answered, deliveries=0, delivered_at=None, confirmed_at=None, failed_at=None)  # type: ignore[arg-type]


def _bounded_text(text: str) -> str:
    return text if len(text) <= MAX_CLAIM and text.isascii() else text[:MAX_CLAIM].encode(errors="replace").decode()


def _key(product: str, device: str) -> tuple[str, str]:
    return _bounded_text(product), _bounded_text(device)
