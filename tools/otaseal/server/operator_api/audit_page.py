"""The audit log as operators read it: the latest first; what somebody did to many devices is one row."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...store.documents import Documents

MAX_SCANNED = 20_000
"""Lines that one answer looks at: who looks for what is rare asks on from there."""
MAX_NAMED = 10
"""Devices that a row names; the others are counted."""
_OWN = ("at", "event", "product", "channel", "version", "by", "device")


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


class Page(NamedTuple):
    """Rows, and the place in the log where the next page goes on; None where nothing is left."""

    rows: list[dict[str, Any]]
    next: int | None


def read(documents: Documents, wanted: Wanted, before: int | None, limit: int) -> Page:
    """Return at most `limit` rows, from the place `before`; raises SystemFaultError, CorruptStoreError."""
    rows: list[dict[str, Any]] = []
    place = before
    for scanned, (at, line) in enumerate(documents.audit_back(before)):
        if line is not None and wanted.since and str(line.get("at")) < wanted.since:
            return Page(rows, None)
        if scanned >= MAX_SCANNED:
            return Page(rows, place)
        if line is not None and wanted.takes(line) and not (rows and _add(rows[-1], line)):
            if len(rows) == limit:
                return Page(rows, place)
            rows.append(_row(line))
        place = at
    return Page(rows, None)


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
