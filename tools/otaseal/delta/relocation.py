"""What moves in an image when code is inserted: addresses in words, and the distances in calls and loads of literals.

The map says by how much addresses have moved, the runs of code where instructions of an Xtensa core stand, and the
arithmetic here what such an instruction becomes. It is the format's, and the same for who makes and who applies.
Source: Xtensa ISA reference manual, CALL0/4/8/12 and L32R.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

BLOCK = 1 << 20
"""How far an entry of the map reaches: not into another memory's addresses."""
WORD = 0xFFFF_FFFF
CALL, LOAD = 5, 1
"""The low four bits of the first byte of CALL0/4/8/12 and of L32R."""


@dataclass(frozen=True)
class Shift:
    """From `start` on, an address is larger by `amount` in the target, until the next shift or for BLOCK bytes."""

    start: int
    amount: int


@dataclass(frozen=True)
class Code:
    """Instructions in the base, `size` bytes at offset `start`, which run at `address`.

    Code that keeps its offset in the file runs at an address larger by `moved` in the target.
    """

    start: int
    size: int
    address: int
    moved: int

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


def instruction_size(first: int) -> int:
    """Return the bytes of the instruction with this first byte: 2 with the code density option's numbers, else 3."""
    return 2 if 8 <= first & 15 <= 13 else 3


def target(instruction: int, at: int) -> int:
    """Return the address to which a call at `at` goes, or from which a load there takes its literal."""
    if instruction & 15 == CALL:
        words = (instruction >> 6 ^ 0x20000) - 0x20000  # 18 bits with a sign
        return (at & ~3) + 4 + words * 4 & WORD
    return (at + 3 & ~3) + (instruction >> 8) * 4 - 0x40000 & WORD


def aimed(instruction: int, at: int, address: int) -> int:
    """Return the instruction, now at `at`, with `address` as its target; as it is where that is out of its reach."""
    if instruction & 15 == CALL:
        words = _signed(address - (at & ~3) - 4) >> 2
        return instruction & 0x3F | (words & 0x3FFFF) << 6 if -0x20000 <= words < 0x20000 else instruction
    words = _signed(address - (at + 3 & ~3) + 0x40000) >> 2
    return instruction & 0xFF | words << 8 if 0 <= words < 0x10000 else instruction


def _signed(word: int) -> int:
    return (word + 0x8000_0000 & WORD) - 0x8000_0000
