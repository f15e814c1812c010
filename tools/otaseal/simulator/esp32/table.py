"""The partition table at 0x8000, as boot loader and applications read it, and those that the core has for boards."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from ...errors import InputError
from ..flash import DiskFormat, Layout

TABLE_AT, TABLE_SIZE = 0x8000, 0xC00
SECTOR = 4096
APPLICATION, DATA = 0, 1
FACTORY, OTADATA = 0, 0
SLOTS = range(0x10, 0x20)
FILESYSTEMS = (0x82, 0x83)
"""Subtypes of SPIFFS, whose partition the core takes for LittleFS, too, and of LittleFS."""
FILESYSTEM_LABEL = "spiffs"
DISK = DiskFormat(version=0x0002_0001, name_max=64, unit=128)
_ROW = struct.Struct("<2sBBII16sI")
_MAGIC, _MD5_MAGIC = b"\xaa\x50", b"\xeb\xeb"
_MD5_AT = 16
_END = b"\xff\xff\xff\xff"
_REBUILD = "give the partitions.bin that the build made"


class Partition(NamedTuple):
    """A row: where it lies, in bytes of flash."""

    label: str
    kind: int
    subtype: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


@dataclass(frozen=True)
class Table:
    """The partitions of a flash of `flash_size` bytes."""

    rows: tuple[Partition, ...]
    flash_size: int

    @property
    def slots(self) -> tuple[Partition, ...]:
        """Those that updates are written to, in the order of their numbers."""
        slots = (row for row in self.rows if row.kind == APPLICATION and row.subtype in SLOTS)
        return tuple(sorted(slots, key=attrgetter("subtype")))

    @property
    def factory(self) -> Partition | None:
        """The application that was written by cable and is never updated."""
        return self._first(APPLICATION, FACTORY)

    @property
    def otadata(self) -> Partition | None:
        """The two sectors that say which slot is started."""
        return self._first(DATA, OTADATA)

    @property
    def layout(self) -> Layout:
        """The filesystem's place, of no size where there is none."""
        found = [row for row in self.rows if row.kind == DATA and row.subtype in FILESYSTEMS]
        row = next((row for row in found if row.label == FILESYSTEM_LABEL), None)
        start, end = (self.flash_size, self.flash_size) if row is None else (row.offset, row.end)
        return Layout("partition table", self.flash_size, start, end, SECTOR, disk=DISK)

    def next_slot(self, running: Partition) -> Partition | None:
        """Return where the next update goes: into the slot after the `running` one, else the first (F87).

        That is the running one itself where it is the only slot.
        """
        slots = self.slots
        if not slots:
            return None
        return slots[(slots.index(running) + 1) % len(slots)] if running in slots else slots[0]

    def _first(self, kind: int, subtype: int) -> Partition | None:
        return next((row for row in self.rows if (row.kind, row.subtype) == (kind, subtype)), None)


def parse(data: bytes, flash_size: int | None = None) -> Table:
    """Return the table in `data`, checked as the boot loader checks it; raises InputError for what it does not take.

    Without a `flash_size` the flash is the smallest one that holds it.
    """
    rows: list[Partition] = []
    for at in range(0, min(len(data), TABLE_SIZE) - _ROW.size + 1, _ROW.size):
        magic, kind, subtype, offset, size, label, _ = _ROW.unpack_from(data, at)
        if magic == _MAGIC:
            if flash_size is not None and offset + size > flash_size:
                raise InputError(f"partition {len(rows)} ends at {offset + size}, the flash at {flash_size}", _REBUILD)
            text = label.partition(b"\0")[0].decode("latin-1")
            rows.append(Partition(text, kind, subtype, offset, size))
        elif magic == _MD5_MAGIC:
            digest = hashlib.md5(data[:at], usedforsecurity=False).digest()
            if data[at + _MD5_AT : at + _ROW.size] != digest:
                raise InputError("the partition table's MD5 is wrong", _REBUILD)
        elif rows and data[at : at + len(_END)] == _END:
            return Table(tuple(rows), flash_size or 1 << (max(row.end for row in rows) - 1).bit_length())
        else:
            break
    raise InputError("there is no partition table, or it has no end", _REBUILD)


def serialise(rows: Iterable[Partition]) -> bytes:
    """Return the table in the form that is written to flash, with the MD5 that ESP-IDF's tool adds."""
    table = b"".join(
        _ROW.pack(_MAGIC, row.kind, row.subtype, row.offset, row.size, row.label.encode(), 0) for row in rows
    )
    table += _MD5_MAGIC.ljust(_MD5_AT, b"\xff") + hashlib.md5(table, usedforsecurity=False).digest()
    return table.ljust(TABLE_SIZE, b"\xff")


MIB = 1 << 20
_DEFAULT_SIZES = {4 * MIB: (0x140000, 0x160000), 8 * MIB: (0x330000, 0x180000), 16 * MIB: (0x640000, 0x360000)}
"""Bytes of the flash, to those of a slot and of the filesystem: default.csv, default_8MB.csv and default_16MB.csv."""


def default(flash_size: int) -> bytes:
    """Return the table that the core's boards with `flash_size` have: two slots, then a filesystem."""
    slot, filesystem = _DEFAULT_SIZES.get(flash_size, _DEFAULT_SIZES[4 * MIB])
    first = 0x10000
    return serialise(
        (
            Partition("nvs", DATA, 2, 0x9000, 0x5000),
            Partition("otadata", DATA, OTADATA, 0xE000, 2 * SECTOR),
            Partition("app0", APPLICATION, SLOTS[0], first, slot),
            Partition("app1", APPLICATION, SLOTS[1], first + slot, slot),
            Partition(FILESYSTEM_LABEL, DATA, FILESYSTEMS[0], first + 2 * slot, filesystem),
        )
    )
