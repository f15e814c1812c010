"""What moves in an image when code is inserted: addresses in words, and the distances in instructions.

The map says by how much addresses have moved, the runs of code where `instructions` stand. Both are the format's, and
the same for who makes and who applies.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from .instructions import XTENSA, Instructions

BLOCK = 1 << 20
"""How far an entry of the map reaches: not into another memory's addresses."""
WORD = 0xFFFF_FFFF


@dataclass(frozen=True)
class Shift:
    """From `start` on, an address is larger by `amount` in the target, until the next shift or for BLOCK bytes."""

    start: int
    amount: int


@dataclass(frozen=True)
class Code:
    """Instructions of a set in the base, `size` bytes at offset `start`, which run at `address`.

    Code that keeps its offset in the file runs at an address larger by `moved` in the target.
    """

    start: int
    size: int
    address: int
    moved: int
    instructions: Instructions = XTENSA

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + self.size


@dataclass(frozen=True)
class AddressMap:
    """Shifts by ascending start."""

    shifts: tuple[Shift, ...] = ()

    @cached_property
    def _starts(self) -> list[int]:
        return [shift.start for shift in self.shifts]

    def amount(self, address: int) -> int:
        """Return by how much `address` has moved, 0 where the map does not say."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address - self._starts[place] >= BLOCK:
            return 0
        return self.shifts[place].amount
