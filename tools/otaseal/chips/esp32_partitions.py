"""The partition table of the ESP32 and the chips after it, as the builder makes it for the flash at 0x8000 (F74)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..errors import InputError

_ROW = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_APPLICATION = 0
_SLOTS = range(0x10, 0x20)
"""Subtypes of the partitions that updates are written to, in turns."""


class Partition(NamedTuple):
    """A row of the table; `offset` and `size` in bytes of flash."""

    label: str
    kind: int
    subtype: int
    offset: int
    size: int


def parse(table: bytes) -> tuple[Partition, ...]:
    """Return the rows of `table`, up to the first that is none; raises InputError where there is none at all."""
    rows = []
    for start in range(0, len(table) - _ROW.size + 1, _ROW.size):
        magic, kind, subtype, offset, size, label, _flags = _ROW.unpack_from(table, start)
        if magic != _MAGIC:
            break
        rows.append(Partition(label.partition(b"\0")[0].decode("utf-8", "replace"), kind, subtype, offset, size))
    if not rows:
        raise InputError("there is no partition table in it", "give the partitions.bin that the build made")
    return tuple(rows)


def update_slots(table: tuple[Partition, ...]) -> tuple[Partition, ...]:
    """Return the partitions of `table` that updates are written to: with fewer than two, no update can be."""
    return tuple(row for row in table if row.kind == _APPLICATION and row.subtype in _SLOTS)
