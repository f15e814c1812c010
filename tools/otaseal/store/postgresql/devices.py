"""The table of devices in PostgreSQL, and in the memory of each server, so that no request waits for the database.

A batch of changes is played on the rows as they are in the database: what another server counted is added to, and never
overwritten. Telemetry: it waits for no disk and no standby.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .. import sql
from ..device_batch import SELECT, Key, Rows
from ..device_rows import IN_STATE, LATE, Device, Sighting, change_name, changed_key, device_key
from ..device_table import MAX_DEVICES, Census, DeviceTable, Flash, preview
from ..row_changes import pace
from ..row_changes import touched as touched_row
from ..selection import Condition
from ..sql import Values
from .database import Database, Transaction
from .follower import Follower, Kind

KIND = "device"
T = TypeVar("T")
_OF_KEYS = "(product, device) IN (SELECT * FROM unnest(?::text[], ?::text[]))"
_TOUCH = f"""UPDATE devices SET last_seen = touched.last_seen, sequence = touched.sequence, {pace("touched")}
    FROM unnest(?::text[], ?::text[], ?::double precision[], ?::bigint[])
        AS touched (product, device, last_seen, sequence)
    WHERE devices.product = touched.product AND devices.device = touched.device"""  # noqa: S608 - our own words
_STATE = " ".join(f"WHEN {condition} THEN '{state}'" for state, condition in IN_STATE.items())
_CENSUS = f"""SELECT {", ".join(Flash._fields)}, answered, CASE {_STATE} END, count(*), count(*) FILTER (WHERE {LATE})
    FROM devices"""  # noqa: S608 - our own words
_GROUPED = f"GROUP BY {', '.join(map(str, range(1, len(Flash._fields) + 3)))}"
_SAID = "SELECT product, device, md5, said_at FROM statements"


class _Copy:
    """The rows of all devices and what they said, in the memory of one server."""

    def __init__(self) -> None:
        self.rows: dict[Key, Device] = {}
        self.said: dict[Key, list[tuple[str, float]]] = {}
        self.losses = 0
        self.lock = threading.RLock()

    def take(self, keys: Iterable[Key], rows: Iterable[Sequence[Any]], said: Iterable[Sequence[Any]]) -> None:
        """Put what the database has of devices in the place of what was here."""
        found = {row[:2]: row for row in (Device(*values) for values in rows)}
        statements: dict[Key, list[tuple[str, float]]] = {}
        for product, device, md5, when in said:
            statements.setdefault((product, device), []).append((md5, when))
        for key in keys:
            self._put(self.rows, key, found.get(key))
            self._put(self.said, key, statements.get(key))

    def touch(self, touched: Mapping[Key, tuple[float, int | None]]) -> None:
        """Note when devices were seen."""
        for key, (when, sequence) in touched.items():
            if (row := self.rows.get(key)) is not None:
                self.rows[key] = touched_row(row, when, sequence)

    @staticmethod
    def _put(kept: dict[Key, T], key: Key, value: T | None) -> None:
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


class PostgresDevices(DeviceTable):
    """The devices in a database; `follow` a follower in a server, and give requests the `reader`."""

    digest = "sha256(convert_to(? || device, 'UTF8'))"

    def __init__(self, database: Database, limit: int = MAX_DEVICES) -> None:
        self.limit = limit
        self._database = database
        self._copy = _Copy()
        self._follower: Follower | None = None
        self._local = threading.local()
        self._changed: set[str] = set()
        self.heard: Callable[[Key, int], None] = lambda key, sequence: None
        """Is told the numbers of proofs that another server has taken."""

    def follow(self, follower: Follower) -> None:
        """Keep what is in memory as fresh as `follower` does."""
        self._follower = follower
        follower.on(KIND, Kind(self.load, lambda names: self._apply([changed_key(name) for name in names])))

    def reader(self) -> DeviceReader:
        """Return what requests read: memory, and no database."""
        return DeviceReader(self._copy)

    def take_changed(self) -> set[str]:
        """See `DeviceTable.take_changed`: what the follower has read anew."""
        changed = set()
        with contextlib.suppress(KeyError):
            while True:
                changed.add(self._changed.pop())
        return changed

    def load(self) -> None:
        """Read the rows of all devices; raises SystemFaultError."""
        with self._copy.lock:
            rows, said = self._database.query(SELECT), self._database.query(_SAID)
            keys = {row[:2] for row in rows} | self._copy.rows.keys()
            self._copy.take(keys, rows, said)
            self._copy.losses += 1

    def close(self) -> None:
        """Do nothing: the database is its owner's to close."""

    def census(self, product: str, where: Condition, now: float) -> Census:
        """See `DeviceTable.census`: by one pass over the rows, which costs here what one of three would."""
        kinds, states, answered, late = Counter[Flash](), Counter[str](), Counter[str](), 0
        rows = self.query(f"{_CENSUS} WHERE product = ? AND {where.sql} {_GROUPED}", (now, product, *where.values))
        for *kind, answer, state, count, belated in rows:
            kinds[Flash(*kind)] += count
            states[state] += count
            answered[answer] += count
            late += belated
        return Census(kinds, states, late, answered)

    def query(self, statement: str, values: Values = ()) -> list[Any]:
        """See `DeviceTable.query`."""
        return self._database.query(statement, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `DeviceTable.transaction`."""
        with self._database.transaction(durable=False) as transaction:
            yield transaction

    def touch(self, transaction: sql.Transaction, touched: Sequence[tuple[str, str, float, int | None]]) -> None:
        """See `DeviceTable.touch`."""
        transaction.execute(_TOUCH, tuple(map(list, zip(*touched, strict=True))))

    @contextlib.contextmanager
    def batch(self, keys: Iterable[Key] = ()) -> Iterator[Rows]:
        """See `DeviceTable.batch`: the rows of `keys` are read at once, and all that changed are told at the end."""
        wanted = sorted({device_key(*key) for key in keys})
        with self._database.transaction(durable=False) as transaction:
            before = self._rows_of(wanted)
            rows = _Rows(self, transaction, {key: before.get(key) for key in wanted})
            self._local.rows = rows
            yield rows
            rows.write()
            transaction.changed(KIND, *map(change_name, (*rows.outcome, *rows.touched)))
            said = self._said_of(list(rows.outcome))
        with self._copy.lock:
            if self._follower is not None and self._follower.seen > transaction.number:
                self._apply([*rows.outcome, *rows.touched])  # somebody has written after this
            else:
                self._copy.losses += any(self._copy.rows.get(key) != before.get(key) for key in wanted)
                self._copy.take(rows.outcome, filter(None, rows.outcome.values()), said)
                self._copy.touch(rows.touched)

    def _apply(self, keys: Sequence[Key]) -> None:
        with self._copy.lock:
            rows = self._rows_of(keys)
            self._copy.take(keys, rows.values(), self._said_of(keys))
            self._copy.losses += 1
        self._changed.update(product for product, _ in keys)
        for key, row in rows.items():
            if row.sequence is not None:
                self.heard(key, row.sequence)

    def _evicted(self, statement: str, labelled: str, count: int) -> int:
        gone = self.query(f"{statement} RETURNING product, device", (labelled, count)) if count else []
        self._local.rows.outcome.update(dict.fromkeys(gone))
        return len(gone)

    def _rows_of(self, keys: Sequence[Key]) -> dict[Key, Device]:
        rows = self._database.query(f"{SELECT} WHERE {_OF_KEYS}", _columns(keys)) if keys else []
        return {(row[0], row[1]): Device(*row) for row in rows}

    def _said_of(self, keys: Sequence[Key]) -> list[Any]:
        return self._database.query(f"{_SAID} WHERE {_OF_KEYS}", _columns(keys)) if keys else []


class DeviceReader:
    """What requests read of devices: the memory of the server."""

    def __init__(self, copy: _Copy) -> None:
        self._copy = copy

    @property
    def losses(self) -> int:
        """How often rows were changed by others."""
        return self._copy.losses

    def get(self, product: str, device: str) -> Device | None:
        """See `DeviceTable.get`."""
        return self._copy.rows.get(device_key(product, device))

    def preview(
        self, known: Device | None, claim: Sighting, now: float, sequence: int | None = None
    ) -> tuple[Device, bool]:
        """See `DeviceTable.preview`."""
        said = self._copy.said
        return preview(known, claim, now, sequence, lambda row: said.get((row.product, row.device), ()))

    def close(self) -> None:
        """Do nothing: memory is nobody's to close."""


class _Rows(Rows):
    """The rows of one transaction, of which some were read already, and what became of them."""

    def __init__(self, devices: PostgresDevices, transaction: Transaction, read: Mapping[Key, Device | None]) -> None:
        super().__init__(devices, transaction)
        self._rows.update(read)
        self.outcome: dict[Key, Device | None] = {}
        self.touched: dict[Key, tuple[float, int | None]] = {}

    def forget(self, product: str, device: str) -> None:
        super().forget(product, device)
        self.outcome[device_key(product, device)] = None

    def write(self) -> None:
        self.touched.update(self._touched)
        self.outcome.update(self._changed)
        super().write()


def _columns(keys: Sequence[Key]) -> tuple[list[str], list[str]]:
    return [product for product, _ in keys], [device for _, device in keys]
