"""What moves in an image, found by one pass over it: words that are addresses, and instructions with a distance.

This is the maker's side and works on whole images at a time. What a device does word by word is in `applying`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator

from .relocation import CALL, LOAD


def words(data: bytes, start: int, end: int) -> tuple[int, tuple[int, ...]]:
    """Return the offset of the first aligned word between `start` and `end`, and all words from there on."""
    first = start + 3 & ~3
    return first, struct.unpack_from(f"<{max(0, end - first) // 4}I", data, first) if first < end else ()


def chosen(data: bytes, start: int, end: int, is_chosen: Callable[[int], object]) -> dict[int, int]:
    """Return the aligned words between two offsets that are chosen, by offset."""
    first, found = words(data, start, end)
    return {first + 4 * place: word for place, word in enumerate(found) if is_chosen(word)}


def instructions(data: bytes, start: int, end: int, literals: Collection[int]) -> Iterator[int]:
    """Yield the offset of each call and load between two offsets, by length only, and around `literals`.

    The first instruction is taken to begin at `start`. Literals and constants between functions are read as code where
    they are not in `literals`; a few instructions later the lengths fall in step again.
    """
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
        if first in (CALL, LOAD):
            yield place
        place += size


def instruction(data: bytes, place: int) -> int:
    """Return the three bytes of the instruction at an offset."""
    return data[place] | data[place + 1] << 8 | data[place + 2] << 16
