"""Words that are addresses, found in an image by one pass over it.

This is the maker's side and works on whole images at a time. What a device does word by word is in `applying`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable


def words(data: bytes, start: int, end: int) -> tuple[int, tuple[int, ...]]:
    """Return the offset of the first aligned word between `start` and `end`, and all words from there on."""
    first = start + 3 & ~3
    return first, struct.unpack_from(f"<{max(0, end - first) // 4}I", data, first) if first < end else ()


def chosen(data: bytes, start: int, end: int, is_chosen: Callable[[int], object]) -> dict[int, int]:
    """Return the aligned words between two offsets that are chosen, by offset."""
    first, found = words(data, start, end)
    return {first + 4 * place: word for place, word in enumerate(found) if is_chosen(word)}
