"""Instructions with a distance in them, which changes when code moves: where they stand, and what becomes of them.

One class for each set of instructions that a patch can name, the same for who makes and who applies. Instructions are
numbers, their bytes little-endian. Sources: Xtensa ISA reference manual, CALL0/4/8/12 and L32R; ARMv6-M and ARMv8-M
architecture reference manuals, BL (T1); RISC-V instruction set manual, volume I, JAL, AUIPC and JALR.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import ClassVar

from .models import Kind

_WORD = 0xFFFF_FFFF


class Instructions(ABC):
    """A set of instructions: its `number` in a patch, and the bytes (`width`) of the longest one with a distance."""

    number: ClassVar[int]
    width: ClassVar[int]

    def at(self, data: bytes, place: int) -> int:
        """Return the instruction at an offset, behind which there are `width` bytes."""
        return int.from_bytes(data[place : place + self.width], "little")

    @abstractmethod
    def begins(self, place: int) -> bool:
        """Tell whether an instruction can begin at an offset."""

    @abstractmethod
    def size(self, instruction: int) -> int:
        """Return the bytes of the instruction that begins so."""

    @abstractmethod
    def kind(self, instruction: int) -> Kind | None:
        """Return what kind of site an instruction is, None for one without a distance that is looked at."""

    @abstractmethod
    def places(self, data: bytes, start: int, end: int, literals: Collection[int]) -> Iterator[int]:
        """Yield the offset of each that has a distance between two offsets, by length only, and around `literals`.

        The first instruction is taken to begin at `start`. Literals and constants between functions are read as code
        where they are not in `literals`; a few instructions later the lengths fall in step again.
        """

    @abstractmethod
    def target(self, instruction: int, at: int) -> int:
        """Return the address to which a call at `at` goes, or from which a load there takes its literal."""

    @abstractmethod
    def aimed(self, instruction: int, at: int, address: int) -> int:
        """Return the instruction, now at `at`, with `address` as its target; as it is where that is out of reach."""

    @abstractmethod
    def without_distance(self, instruction: int) -> int:
        """Return the instruction with zeros for its distance."""

    def are_alike(self, old: int, new: int) -> bool:
        """Tell whether an instruction with a distance may be another one after its target has moved."""
        return self.kind(old) is self.kind(new)


class Xtensa(Instructions):
    """Calls and loads of literals, by the low four bits of their first byte."""

    number = 0
    width = 3
    _CALL, _LOAD = 5, 1

    def begins(self, place: int) -> bool:
        """See Instructions."""
        return True

    def size(self, instruction: int) -> int:
        """See Instructions."""
        return 2 if 8 <= instruction & 15 <= 13 else 3

    def kind(self, instruction: int) -> Kind | None:
        """See Instructions."""
        low = instruction & 15
        return Kind.CALL if low == self._CALL else Kind.LOAD if low == self._LOAD else None

    def places(self, data: bytes, start: int, end: int, literals: Collection[int]) -> Iterator[int]:
        """See Instructions."""
        place = start
        while place + 3 <= end:
            if place in literals:
                place += 4
                continue
            first = data[place] & 15
            size = 2 if 8 <= first <= 13 else 3
            aligned = place + 3 & ~3
            if aligned < place + size and aligned in literals:
                place = aligned
                continue
            if first in (self._CALL, self._LOAD):
                yield place
            place += size

    def target(self, instruction: int, at: int) -> int:
        """See Instructions."""
        if instruction & 15 == self._CALL:
            words = (instruction >> 6 ^ 0x20000) - 0x20000  # 18 bits with a sign
            return (at & ~3) + 4 + words * 4 & _WORD
        return (at + 3 & ~3) + (instruction >> 8) * 4 - 0x40000 & _WORD

    def aimed(self, instruction: int, at: int, address: int) -> int:
        """See Instructions."""
        if instruction & 15 == self._CALL:
            words = _signed(address - (at & ~3) - 4) >> 2
            return instruction & 0x3F | (words & 0x3FFFF) << 6 if -0x20000 <= words < 0x20000 else instruction
        words = _signed(address - (at + 3 & ~3) + 0x40000) >> 2
        return instruction & 0xFF | words << 8 if 0 <= words < 0x10000 else instruction

    def without_distance(self, instruction: int) -> int:
        """See Instructions."""
        return instruction & (0x3F if instruction & 15 == self._CALL else 0xFF)

    def are_alike(self, old: int, new: int) -> bool:
        """See Instructions."""
        return (old ^ new) & (0x3F if old & 15 == self._CALL else 0x0F) == 0


class Thumb(Instructions):
    """Calls (BL) alone: what else has a distance stays within its function, which moves as a whole."""

    number = 1
    width = 4
    _LONG = 0b11101
    """The upper five bits of the first half of an instruction of four bytes, or more."""
    _CALL = 0xD000_F800, 0xD000_F000
    _REACH = 1 << 24

    def begins(self, place: int) -> bool:
        """See Instructions."""
        return place % 2 == 0

    def size(self, instruction: int) -> int:
        """See Instructions."""
        return 4 if (instruction & 0xFFFF) >> 11 >= self._LONG else 2

    def kind(self, instruction: int) -> Kind | None:
        """See Instructions."""
        mask, call = self._CALL
        return Kind.CALL if instruction & mask == call else None

    def places(self, data: bytes, start: int, end: int, literals: Collection[int]) -> Iterator[int]:
        """See Instructions."""
        place = start if start % 2 == 0 else (start | 3) + 1
        while place + 4 <= end:
            if place in literals:
                place += 4
            elif data[place + 1] >> 3 < self._LONG or place + 2 in literals:
                place += 2
            else:
                if data[place + 1] & 0xF8 == 0xF0 and data[place + 3] & 0xD0 == 0xD0:
                    yield place
                place += 4

    def target(self, instruction: int, at: int) -> int:
        """See Instructions."""
        first, second = instruction & 0xFFFF, instruction >> 16
        sign = first >> 10 & 1
        others = (second >> 12 & 2 | second >> 11 & 1) ^ (0 if sign else 3)
        distance = sign << 24 | others << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
        return at + 4 + (distance ^ self._REACH) - self._REACH & _WORD

    def aimed(self, instruction: int, at: int, address: int) -> int:
        """See Instructions."""
        distance = _signed(address - at - 4)
        if not -self._REACH <= distance < self._REACH:
            return instruction
        sign = distance >> 24 & 1
        others = (distance >> 22 & 3) ^ (0 if sign else 3)
        first = 0xF000 | sign << 10 | distance >> 12 & 0x3FF
        second = instruction >> 16 & 0xD000 | (others & 2) << 12 | (others & 1) << 11 | distance >> 1 & 0x7FF
        return second << 16 | first

    def without_distance(self, instruction: int) -> int:
        """See Instructions."""
        return instruction & self._CALL[0]


class RiscV(Instructions):
    """Calls and jumps: JAL, and AUIPC with the JALR behind it, which is as one instruction of eight bytes here."""

    number = 2
    width = 8
    _JUMP, _FAR, _FAR_JUMP = 0x6F, 0x17, 0x67
    _REACH = 1 << 20

    def at(self, data: bytes, place: int) -> int:
        """See Instructions."""
        both = int.from_bytes(data[place : place + 8], "little")
        return both & (1 << 8 * self.size(both)) - 1

    def begins(self, place: int) -> bool:
        """See Instructions."""
        return place % 2 == 0

    def size(self, instruction: int) -> int:
        """See Instructions."""
        if instruction & 3 != 3:
            return 2
        is_far = instruction & 0x7F == self._FAR and instruction >> 32 & 0x707F == self._FAR_JUMP
        return 8 if is_far and instruction >> 7 & 31 == instruction >> 47 & 31 else 4

    def kind(self, instruction: int) -> Kind | None:
        """See Instructions."""
        return Kind.CALL if self.size(instruction) == 8 or instruction & 0x7F == self._JUMP else None

    def places(self, data: bytes, start: int, end: int, literals: Collection[int]) -> Iterator[int]:
        """See Instructions."""
        place = start if start % 2 == 0 else (start | 3) + 1
        while place + 8 <= end:
            if place in literals:
                place += 4
                continue
            low = data[place] & 0x7F
            if low & 3 != 3:
                place += 2
                continue
            after = place + (self.size(int.from_bytes(data[place : place + 8], "little")) if low == self._FAR else 4)
            word = next((word for word in range(place + 3 & ~3, after, 4) if word in literals), None)
            if word is None and (low == self._JUMP or after == place + 8):
                yield place
            place = after if word is None else word

    def target(self, instruction: int, at: int) -> int:
        """See Instructions."""
        if instruction & 0x7F == self._FAR:
            return at + (instruction & 0xFFFF_F000) + (instruction >> 52 ^ 0x800) - 0x800 & _WORD
        distance = instruction >> 11 & 1 << 20 | instruction & 0xFF000 | instruction >> 9 & 0x800
        return at + ((distance | instruction >> 20 & 0x7FE) ^ self._REACH) - self._REACH & _WORD

    def aimed(self, instruction: int, at: int, address: int) -> int:
        """See Instructions."""
        distance = address - at & _WORD
        if instruction & 0x7F == self._FAR:
            high = distance + 0x800 & 0xFFFF_F000
            return self.without_distance(instruction) | high | (distance & 0xFFF) << 52
        if not -self._REACH <= _signed(distance) < self._REACH:
            return instruction
        upper = (distance >> 20 & 1) << 31 | (distance >> 1 & 0x3FF) << 21 | (distance >> 11 & 1) << 20
        return self.without_distance(instruction) | upper | distance & 0xFF000

    def without_distance(self, instruction: int) -> int:
        """See Instructions."""
        return instruction & 0x000F_FFFF_0000_0FFF

    def are_alike(self, old: int, new: int) -> bool:
        """See Instructions."""
        return self.without_distance(old) == self.without_distance(new)


XTENSA, THUMB, RISCV = Xtensa(), Thumb(), RiscV()
SETS: dict[int, Instructions] = {known.number: known for known in (XTENSA, THUMB, RISCV)}
"""By their numbers in the header of a patch."""


def _signed(word: int) -> int:
    return (word + 0x8000_0000 & _WORD) - 0x8000_0000
