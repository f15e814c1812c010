"""The audit log as operators read it: the latest first; what somebody did to many devices is one row.

Which devices were seen first stands there, too, as one row for each day, where the last of them came. It is counted in
the table of devices: devices write nothing into the log, so that a flood of invented ones cannot fill it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ...errors import ConfigError
from ...names import NAME
from ...store.device_table import FirstSeen
from ...store.documents import Documents

MAX_SCANNED = 20_000
"""Lines that one answer looks at: who looks for what is rare asks on from there."""
MAX_NAMED = 10
"""Devices that a row names; the others are counted."""
SEEN, BY = "seen", "server"
"""The event of rows that count devices which were seen first, and who says so."""
_OWN = ("at", "event", "product", "channel", "version", "by", "device")
_PLACE = re.compile(rf"([0-9]{{0,18}})(?:\.([0-9]{{1,15}})\.({NAME.pattern}))?", re.ASCII)


class Wanted(NamedTuple):
    """Which lines: "" for any. `since` is a time as the log has it: ISO 8601, UTC."""

    product: str = ""
    version: str = ""
    by: str = ""
    event: str = ""
    since: str = ""

    def takes(self, line: dict[str, Any]) -> bool:
        """Tell whether a line is one of them."""
        return all(wanted in ("", line.get(name)) for name, wanted in zip(self._fields[:4], self, strict=False))


class Place(NamedTuple):
    """Where a page ended: `line` in the log, and the last row of devices that were `seen` first, as `_order` has it."""

    line: int | None = None
    seen: tuple[int, str] | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place of a text; raises ConfigError."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ConfigError(f"after '{text[:32]}' is no place in the log", "give the `next` of the page before")
        line, time, product = found.groups()
        return cls(int(line) if line else None, (int(time), product) if time else None)

    def __str__(self) -> str:
        line = "" if self.line is None else str(self.line)
        return line if self.seen is None else f"{line}.{self.seen[0]}.{self.seen[1]}"


class Page(NamedTuple):
    """Rows, and where the next page goes on; None where nothing is left."""

    rows: list[dict[str, Any]]
    next: str | None


Sightings = Callable[[str], Sequence[FirstSeen]]
"""Takes a product, "" for all."""


def read(documents: Documents, sightings: Sightings, wanted: Wanted, after: Place, limit: int) -> Page:
    """Return at most `limit` rows behind a place; raises SystemFaultError, CorruptStoreError."""
    place, seen = after, _seen(sightings, wanted, after)
    rows: list[dict[str, Any]] = []
    lines = documents.audit_back(after.line) if wanted.event != SEEN else ()
    for scanned, (at, line) in enumerate(lines):
        if line is not None and wanted.since and str(line.get("at")) < wanted.since:
            break
        if scanned >= MAX_SCANNED:
            return Page(rows, str(place))
        while seen and line is not None and _moment(seen[0].last) > str(line.get("at")):
            if len(rows) == limit:
                return Page(rows, str(place))
            place = place._replace(seen=_add_seen(rows, seen.popleft()))
        if line is not None and wanted.takes(line) and not (rows and _add(rows[-1], line)):
            if len(rows) == limit:
                return Page(rows, str(place))
            rows.append(_row(line))
        place = place._replace(line=at)
    while seen and len(rows) < limit:
        place = place._replace(seen=_add_seen(rows, seen.popleft()))
    return Page(rows, str(place._replace(line=0)) if seen else None)


def _seen(sightings: Sightings, wanted: Wanted, after: Place) -> deque[FirstSeen]:
    """Return the rows that belong behind a place, the latest first; none where other lines are wanted."""
    if wanted.version or wanted.by not in ("", BY) or wanted.event not in ("", SEEN):
        return deque()
    found = (one for one in sightings(wanted.product) if after.seen is None or _order(one) < after.seen)
    wanted_ones = (one for one in found if _moment(one.last) >= wanted.since)
    return deque(sorted(wanted_ones, key=_order, reverse=True))


def _order(seen: FirstSeen) -> tuple[int, str]:
    """Return when the last of a day's devices came, in milliseconds since 1970, and their product."""
    return round(1000 * seen.last), seen.product


def _add_seen(rows: list[dict[str, Any]], seen: FirstSeen) -> tuple[int, str]:
    """Add a day's row, and return its order."""
    rows.append(
        {
            "at": _moment(seen.last),
            "first": _moment(seen.first),
            **dict.fromkeys(_OWN[1:-1], ""),
            "event": SEEN,
            "product": seen.product,
            "by": BY,
            "count": seen.devices,
            "devices": [],
            "details": {},
        }
    )
    return _order(seen)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def _row(line: dict[str, Any]) -> dict[str, Any]:
    texts = {name: _text(line.get(name)) for name in _OWN[1:-1]}
    return {
        "at": _text(line.get("at")),
        "first": _text(line.get("at")),
        **texts,
        "count": 1,
        "devices": [_text(line["device"])] if line.get("device") else [],
        "details": {name: value for name, value in line.items() if name not in _OWN},
    }


def _add(row: dict[str, Any], line: dict[str, Any]) -> bool:
    """Add a line to a row of the same person's, to another device; return False where it is something else.

    The row keeps the details that hold for all its devices.
    """
    same = all(row[name] == _text(line.get(name)) for name in _OWN[1:-1])
    if not (same and row["devices"] and line.get("device")):
        return False
    row["count"] += 1
    row["details"] = {name: value for name, value in row["details"].items() if name in line and line[name] == value}
    row["first"] = _text(line.get("at"))
    if len(row["devices"]) < MAX_NAMED:
        row["devices"].append(_text(line["device"]))
    return True


def _text(value: object) -> str:
    return "" if value is None else str(value)
