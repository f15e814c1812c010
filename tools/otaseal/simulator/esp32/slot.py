"""The slot as the OtaSeal library writes it, and goes on with it after a restart (slot_update.cpp; F88, F126)."""

from __future__ import annotations

from dataclasses import dataclass

from ..report import Fault
from .nor import SECTOR, Flash
from .table import Partition
from .updater import BLOCK, WITHHELD, RefusedError, UpdateError

HELD = 1024
"""Bytes that the library writes at once, and holds back at least."""
NOTED = 16 * 1024
"""How far it has come is noted in NVS each time so many bytes are in flash."""


@dataclass
class Slot:
    """A `place` in flash on its way to an image that has `room`: so much is `written`, but for its `first` bytes."""

    flash: Flash
    place: Partition
    room: int
    first: bytes = b""
    written: int = 0

    def __post_init__(self) -> None:
        self._erased = self.written

    def write(self, data: bytes) -> None:
        """Write the next bytes, in pieces that lie in one sector; raises RefusedError where they do not fit."""
        for at in range(0, len(data), HELD):
            piece = data[at : at + HELD]
            if self.written + len(piece) > self.place.size:
                reason = f"more than {self.place.size} bytes for the slot '{self.place.label}'"
                raise RefusedError("space", Fault(UpdateError.SPACE, reason, "F87"))
            self._write_piece(piece)

    def _write_piece(self, piece: bytes) -> None:
        skipped = 0
        if self.written == self._erased:
            self._erase()
        if self.written == 0:
            skipped, self.first = WITHHELD, piece[:WITHHELD]
        self.flash.program(self.place.offset + self.written + skipped, piece[skipped:])
        self.written += len(piece)

    def _erase(self) -> None:
        """Erase the next block where all of it is the image's, else the next sector."""
        whole = self._erased % BLOCK == 0 and self._erased + BLOCK <= self.room
        size = BLOCK if whole else SECTOR
        self.flash.erase(self.place.offset + self._erased, size)
        self._erased += size

    def read(self) -> bytes:
        """Return what was written, as it stands in flash."""
        at = self.place.offset + WITHHELD
        return self.first + self.flash.read(at, self.written - WITHHELD) if self.written else b""


def noted_before(place: Partition, at: int) -> int:
    """Return how far the library had come, by its note, when an operation at this address of flash was interrupted."""
    return (at - place.offset) // NOTED * NOTED
