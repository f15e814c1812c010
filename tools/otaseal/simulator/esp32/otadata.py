"""Which slot is started: two sectors with a sequence number, its CRC and a state; the higher valid one counts (F85)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from .nor import SECTOR, Flash
from .table import Partition, Table

UNSET = 0xFFFF_FFFF
_ENTRY = struct.Struct("<I20sII")


class State(IntEnum):
    """What is known of the application in the slot (esp_ota_img_states_t)."""

    NEW = 0
    PENDING = 1
    VALID = 2
    INVALID = 3
    ABORTED = 4
    UNDEFINED = UNSET


@dataclass(frozen=True)
class Entry:
    """What a sector holds; `state` is a number, for a device reads any."""

    sequence: int
    state: int
    crc: int

    @property
    def unusable(self) -> bool:
        """Whether the boot loader takes it for no choice at all, whatever its CRC."""
        return self.sequence == UNSET or self.state in (State.INVALID, State.ABORTED)

    @property
    def intact(self) -> bool:
        """Whether the CRC is that of the number, which is not the erased one."""
        return self.sequence != UNSET and self.crc == _crc(self.sequence)


def _crc(sequence: int) -> int:
    return zlib.crc32(struct.pack("<I", sequence), 0xFFFF_FFFF)


def read(flash: Flash, table: Table) -> tuple[Entry, Entry] | None:
    """Return both entries, None where the table has no place for them."""
    place = table.otadata
    if place is None:
        return None
    first, second = (_ENTRY.unpack(flash.read(place.offset + at, _ENTRY.size)) for at in (0, SECTOR))
    return Entry(first[0], *first[2:]), Entry(second[0], *second[2:])


def active(entries: tuple[Entry, Entry]) -> int | None:
    """Return the number of the entry that counts, None where none does."""
    valid = [number for number, entry in enumerate(entries) if entry.intact and not entry.unusable]
    return max(valid, key=lambda number: (entries[number].sequence, -number), default=None)


def entry_of(flash: Flash, table: Table, slot: Partition) -> int | None:
    """Return the number of the entry that leads to `slot`, None where none does."""
    entries = read(flash, table)
    if entries is None or slot not in table.slots:
        return None
    index, count = table.slots.index(slot), len(table.slots)
    mine = [number for number, one in enumerate(entries) if one.intact and (one.sequence - 1) % count == index]
    return mine[0] if mine else None


def write(flash: Flash, table: Table, number: int, sequence: int, state: State) -> None:
    """Write an entry: its sector is erased first."""
    place = table.otadata
    assert place is not None
    at = place.offset + number * SECTOR
    flash.erase(at)
    flash.program(at, _ENTRY.pack(sequence, b"\xff" * 20, state, _crc(sequence)))


def choose(flash: Flash, table: Table, slot: Partition) -> None:
    """Have `slot` started from now on (esp_rewrite_ota_data): the other entry gets the next number that leads to it."""
    entries = read(flash, table)
    assert entries is not None
    now, index, count = active(entries), table.slots.index(slot), len(table.slots)
    if now is None:
        write(flash, table, 0, index + 1, State.NEW)
        return
    sequence = entries[now].sequence
    target = (index + 1) % count
    target += max(0, -(-(sequence - target) // count)) * count
    write(flash, table, now if (sequence - 1) % count == index else 1 - now, target, State.NEW)
