"""What became of a device, by the row before a change and the row after it: the newest MAX_EVENTS of each device.

Nothing has to note an event: whoever changes a row makes it (`device_batch`). A row counts its device's events, and
each takes the place of the one MAX_EVENTS before it, so that nothing has to be cleared away. Telemetry, as devices are:
what becomes of them while they are kept in memory is not in the file later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .device_rows import Device
from .sql import upsert

MAX_EVENTS = 50
TABLES = (
    """CREATE TABLE IF NOT EXISTS history (product, device, slot, number, at, event, version, detail,
    PRIMARY KEY (product, device, slot)) WITHOUT ROWID""",
    """CREATE TRIGGER IF NOT EXISTS forget_history AFTER DELETE ON devices BEGIN
    DELETE FROM history WHERE product = old.product AND device = old.device; END""",
)
EVENTS = ("first", "runs", "offered", "took", "back", "failed", "error", "answered", "channel")


class Event(NamedTuple):
    """What became of a device, and when (seconds since 1970).

    `first` and `runs`: it was seen for the first time, or says other firmware; `version` is what it says, `detail` the
    sketch MD5. Of the release `version` it was `offered` that, `took` it, came `back` with it, or `failed`, with the
    number of its error as `detail`, "" where it says none. `error`: it says the number `detail` outside of that.
    `answered`: its polls are answered otherwise now, for the reason `detail`. `channel`: it asks for that one now.
    """

    at: float
    event: str
    version: str = ""
    detail: str = ""


HISTORY_COLUMNS = ("product", "device", "slot", "number", *Event._fields)
PUT = upsert("history", HISTORY_COLUMNS[:3], HISTORY_COLUMNS[3:])
SELECT = f"SELECT {', '.join(Event._fields)} FROM history WHERE product = ? AND device = ? ORDER BY number DESC"  # noqa: S608


def numbered(row: Device, events: list[Event]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of new events of a device, for PUT; `row` has not counted them yet."""
    for number, event in enumerate(events, row.events):
        yield (row.product, row.device, number % MAX_EVENTS, number, *event)


def changes(before: Device | None, after: Device, now: float) -> list[Event]:
    """Return what became of a device between two of its rows, in the order in which it can have happened."""
    if before is None:
        return [Event(now, "first", after.version, after.md5), *_answered("", after, now)]
    return list(_changes(before, after, now))


def _changes(before: Device, after: Device, now: float) -> Iterator[Event]:
    release = after.offered or ""
    if after.channel != before.channel:
        yield Event(now, "channel", detail=after.channel)
    if after.md5 != before.md5 or (after.version != before.version and not after.md5):
        yield Event(now, "runs", after.version, after.md5)
    offered = (after.offered, after.expected_md5) != (before.offered, before.expected_md5)
    if offered:
        yield Event(now, "offered", release)
    if after.delivered_at is not None and after.delivered_at != before.delivered_at:
        yield Event(now, "took", release)
    if after.confirmed_at is not None and before.confirmed_at is None:
        yield Event(now, "back", release)
    number = str(after.error) if after.error else ""
    if after.failed_at is not None and before.failed_at is None:
        yield Event(now, "failed", release, number)
    elif number and after.error != before.error:
        yield Event(now, "error", detail=number)
    if not offered:
        yield from _answered(before.answered, after, now)


def _answered(before: str, after: Device, now: float) -> Iterator[Event]:
    if after.answered != before:
        yield Event(now, "answered", detail=after.answered)
