"""Changes of devices' rows: each row is read once in a transaction, and written once, at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import history, statements
from .device_rows import Asking, Device, Sighting, bounded, device_key
from .row_changes import answered_to, delivered_to, offered_to, retried, says_nothing_new, seen, touched

if TYPE_CHECKING:
    from .device_table import DeviceTable
    from .sql import Transaction

Key = tuple[str, str]
"""A product, and one of its devices."""
COLUMNS = ", ".join(Device._fields)
PLACES = ", ".join("?" for _ in Device._fields)
SELECT = f"SELECT {COLUMNS} FROM devices"  # noqa: S608 - our own names
SAVE = (
    f"INSERT INTO devices ({COLUMNS}) VALUES ({PLACES}) ON CONFLICT (product, device) DO UPDATE SET "  # noqa: S608
    + ", ".join(f"{name} = excluded.{name}" for name in Device._fields)
)
"""Of a row that is there the columns that are known change: others are a later otaseal's."""
TAKE = f"{SAVE} WHERE excluded.last_seen >= devices.last_seen"

FORGET = "DELETE FROM devices WHERE product = ? AND device = ?"


class Rows:
    """The rows of one transaction, made by `DeviceTable.batch`: each is read once, and written once, at the end."""

    def __init__(self, devices: DeviceTable, transaction: Transaction) -> None:
        self._devices = devices
        self._transaction = transaction
        self._rows: dict[tuple[str, str], Device | None] = {}
        self._changed: dict[tuple[str, str], Device] = {}
        self._touched: dict[tuple[str, str], tuple[float, int | None]] = {}
        self._events: list[tuple[object, ...]] = []

    def see(self, sighting: Sighting, now: float, sequence: int | None = None) -> Device:
        """Record a request of a device, with the number of its proof by a key, and return its row."""
        claim = bounded(sighting)
        known = self._get(key := (claim.product, claim.device))
        if known is None:
            self._make_room()
        else:
            statements.remember(self._transaction, known, claim, now)
            if says_nothing_new(known, claim, now):
                return known
        return self._put(key, seen(known, claim, now, sequence), now)

    def touch(self, product: str, device: str, now: float, sequence: int | None) -> None:
        """Record a request that only `repeats`, with the number of its proof; a device that is gone stays so."""
        key = product, device
        if (row := self._rows.get(key)) is not None:
            self._put(key, touched(row, now, sequence), now)
        elif key not in self._rows:
            self._touched[key] = now, sequence

    def offer(self, asking: Asking, version: str, expected_md5: str, now: float) -> None:
        """Record that a device, if it is known, is answered with a release whose sketch has that MD5."""
        key = device_key(asking.product, asking.device)
        self._change(key, lambda known: offered_to(known, asking, version, expected_md5, now), now)

    def deliver(self, asking: Asking, version: str, now: float) -> None:
        """Record a delivery in full; at home one of a release that was not offered does not count."""
        key = device_key(asking.product, asking.device)
        self._change(key, lambda known: delivered_to(known, asking, version, now), now)

    def answer(self, asking: Asking, reason: str, now: float) -> None:
        """Record why a device's poll was answered as it was."""
        key = device_key(asking.product, asking.device)
        self._change(key, lambda known: answered_to(known, asking, reason, now), now)

    def forget(self, product: str, device: str) -> None:
        """Remove a device; when it asks again, it is a new one."""
        key = device_key(product, device)
        self._changed.pop(key, None)
        self._touched.pop(key, None)
        self._events = [event for event in self._events if event[:2] != key]
        self._rows[key] = None
        self._transaction.execute(FORGET, key)

    def retry(self, product: str, device: str) -> None:
        """Let a device that is stuck or in a loop have its release again."""
        self._change(device_key(product, device), retried, 0.0)

    def write(self) -> None:
        """Write the rows that have changed."""
        if self._touched:
            self._devices.touch(self._transaction, [(*key, *values) for key, values in self._touched.items()])
            self._touched.clear()
        if self._changed:
            self._transaction.executemany(SAVE, self._changed.values())
            self._changed.clear()
        if self._events:
            self._transaction.executemany(history.PUT, self._events)
            self._events.clear()

    def _change(self, key: tuple[str, str], change: Callable[[Device], Device], now: float) -> None:
        known = self._get(key)
        if known is not None and (row := change(known)) is not known:
            self._put(key, row, now)

    def _get(self, key: tuple[str, str]) -> Device | None:
        if key not in self._rows:
            row, values = self._devices.get(*key), self._touched.pop(key, None)
            self._rows[key] = row
            if row is not None and values is not None:
                return self._put(key, touched(row, *values), values[0])
        return self._rows[key]

    def _put(self, key: tuple[str, str], row: Device, now: float) -> Device:
        """Change a row at `now`, with what became of its device by that."""
        if events := history.changes(self._rows.get(key), row, now):
            self._events += history.numbered(row, events)
            row = row._replace(events=row.events + len(events))
        self._rows[key] = self._changed[key] = row
        return row

    def _make_room(self) -> None:
        self._devices.room -= 1
        if self._devices.room < 0:
            self.write()  # and what is evicted is not known any more
            self._rows.clear()
            self._devices.make_room()
