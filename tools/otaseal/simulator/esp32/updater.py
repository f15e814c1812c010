"""`Update` of the core: sectors into the next slot, its first 16 bytes at the very end, then otadata (F87)."""

from __future__ import annotations

import hashlib
from enum import IntEnum

from ..report import Fault
from . import otadata
from .chip import Chip
from .image import MAGIC, check
from .nor import ERASED, SECTOR, Flash
from .table import Partition, Table

BLOCK = 0x10000
WITHHELD = 16


class UpdateError(IntEnum):
    """The updater's numbers (libraries/Update/src/Update.h), which are not the ESP8266's."""

    OK = 0
    WRITE = 1
    ERASE = 2
    READ = 3
    SPACE = 4
    SIZE = 5
    STREAM = 6
    MD5 = 7
    MAGIC_BYTE = 8
    ACTIVATE = 9
    NO_PARTITION = 10
    BAD_ARGUMENT = 11
    ABORT = 12


class RefusedError(Exception):
    """The updater gives up, for a `fault`, at a step of that name; `crashed`: the device resets instead."""

    def __init__(self, step: str, fault: Fault, *, crashed: bool = False) -> None:
        super().__init__(fault.reason)
        self.step, self.fault, self.crashed = step, fault, crashed


class Updater:
    """One update on a device that runs what is in the slot `running`."""

    def __init__(self, flash: Flash, table: Table, running: Partition) -> None:
        self._flash, self._table, self._running = flash, table, running
        self._place = running
        self._size = self._done = 0
        self._buffer = self._first = b""
        self._md5 = hashlib.md5(usedforsecurity=False)

    def begin(self, size: int) -> None:
        """Make ready for `size` bytes; raises RefusedError."""
        place = self._table.next_slot(self._running)
        if size == 0:
            raise RefusedError("space", Fault(UpdateError.SIZE, "the update is empty", "F87"))
        if place is None:
            reason = "the partition table has no slot for updates"
            raise RefusedError("space", Fault(UpdateError.NO_PARTITION, reason, "F87"))
        if size > place.size:
            reason = f"{size} bytes, and the slot '{place.label}' has {place.size}"
            raise RefusedError("space", Fault(UpdateError.SIZE, reason, "F87"))
        if place == self._running:
            reason = f"'{place.label}' is the only slot, and runs: the first write to it is stopped by a reset"
            raise RefusedError("space", Fault(UpdateError.ERASE, reason, "F87"), crashed=True)
        self._place, self._size = place, size

    def write(self, data: bytes) -> None:
        """Take the next bytes; whole sectors are written, and the rest when it is the last."""
        self._buffer += data
        while len(self._buffer) > SECTOR:
            self._write_sector(SECTOR)
        if self._done + len(self._buffer) == self._size:
            self._write_sector(len(self._buffer))

    def _write_sector(self, size: int) -> None:
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        self._md5.update(piece)
        place, done = self._place, self._done
        at = place.offset + done
        skipped = 0 if done else min(WITHHELD, size)
        if not done:
            if piece[:1] != bytes([MAGIC]):
                reason = f"the first byte is 0x{piece[0]:02x}, not 0xe9"
                raise RefusedError("first-byte", Fault(UpdateError.MAGIC_BYTE, reason, "F87"))
            self._first = piece[:skipped]
        whole = self._size - done >= BLOCK and at % BLOCK == 0
        head = place.offset % BLOCK and at < (place.offset // BLOCK + 1) * BLOCK
        tail = at >= (place.offset + self._size) // BLOCK * BLOCK
        if whole or head or tail:
            self._flash.erase(at, BLOCK if whole else SECTOR)
        if piece[skipped:].strip(bytes([ERASED])):
            self._flash.program(at + skipped, piece[skipped:])
        self._done += size

    def end(self, chip: Chip, md5: str | None = None) -> None:
        """Make the slot whole, have it checked, and started from now on; raises RefusedError."""
        if self._done < self._size:
            reason = f"the body ends after {self._done} of {self._size} bytes"
            raise RefusedError("write", Fault(UpdateError.ABORT, reason, "F87"))
        if md5 and self._md5.hexdigest() != md5.lower():
            raise RefusedError("write", Fault(UpdateError.MD5, "x-MD5 is not that of the bytes sent", "F29", "md5"))
        activate(self._flash, self._table, self._place, self._first, chip)

    @property
    def address(self) -> int:
        """Where in flash it is written."""
        return self._place.offset


def activate(flash: Flash, table: Table, place: Partition, first: bytes, chip: Chip) -> None:
    """Write the `first` bytes of what is in `place`, have it checked, and started from now on; raises RefusedError."""
    flash.program(place.offset, first)
    found = check(flash.read(place.offset, place.size), chip)
    if found.reason:
        raise RefusedError("activation", Fault(UpdateError.ACTIVATE, found.reason, "F86"))
    if otadata.read(flash, table) is None:
        raise RefusedError("activation", Fault(UpdateError.ACTIVATE, "there is no otadata partition", "F85"))
    otadata.choose(flash, table, place)
