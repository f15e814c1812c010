"""Which bytes of the base become which of the target: bsdiff's control, by the package bsdiff4.

Compared are the images without what moves: with their addresses and distances two copies of a function have hardly
eight equal bytes in a row, and bsdiff would not find the one by the other. Nor may one thing be repeated for long:
bsdiff's time grows with the square of that, to ten seconds for 800 KB of zeros.
"""

from __future__ import annotations

import bz2
import re
import struct
from typing import NamedTuple

from .layout import Layout
from .relocation import BLOCK
from .scanning import chosen

_HEADER = struct.Struct("<8sQQQ")  # BSDIFF40: magic, sizes of control and difference, size of the target
_CONTROL = struct.Struct("<QQQ")
_SIGN = 1 << 63
_REPEATED = re.compile(rb"(.{4})\1{255,}", re.DOTALL)
_SPREAD = 0x9E37_79B1
"""Makes numbers differ in all their bytes: 2**32 by the golden ratio."""


class Copy(NamedTuple):
    """`size` bytes of the base at offset `source` become those at `place` of the target; `added` new bytes follow."""

    source: int
    place: int
    size: int
    added: int


def align(base: bytes, target: bytes, base_layout: Layout, target_layout: Layout) -> list[Copy]:
    """Return the copies that make `target`, in its order and without a gap."""
    import bsdiff4

    patch = bsdiff4.diff(without_what_moves(base, base_layout), without_what_moves(target, target_layout))
    copies, source, place = [], 0, 0
    for size, added, seek in control(patch):
        if size or added:  # bsdiff begins with an empty step where the first bytes are new
            copies.append(Copy(source, place, size, added))
        source += size + seek
        place += size + added
    return _from_the_beginning(copies)


def _from_the_beginning(copies: list[Copy]) -> list[Copy]:
    """Return the same with a first step at offset 0 of the base, where devices begin: its byte may have to be new."""
    first = copies[0]
    if first.size and first.source:
        rest = Copy(first.source + 1, 1, first.size - 1, first.added)
        return [Copy(0, 0, 0, 1), *([rest] if rest.size or rest.added else []), *copies[1:]]
    return [first._replace(source=0), *copies[1:]]


def control(patch: bytes) -> list[tuple[int, int, int]]:
    """Return the triples of a BSDIFF40 patch: bytes to copy, bytes to add, how far to go on in the base."""
    _, size, _, _ = _HEADER.unpack_from(patch)
    control = bz2.decompress(patch[_HEADER.size : _HEADER.size + size])
    return [
        (copied, added, seek if seek < _SIGN else _SIGN - seek) for copied, added, seek in _CONTROL.iter_unpack(control)
    ]


def without_what_moves(data: bytes, layout: Layout) -> bytes:
    """Return `data` with zeros for all but the highest byte of addresses, and for the distances in instructions.

    Addresses alone, without the code between them, tell bsdiff more than their absence. What is repeated for a kilobyte
    and more is numbered.
    """
    masked = bytearray(data)
    literals: set[int] = set()
    for segment in layout.segments if layout.code else ():
        words = chosen(data, segment.start, segment.start + segment.size, lambda word: word // BLOCK in layout.blocks)
        literals.update(words)
        for place in words:
            masked[place : place + 3] = bytes(3)
    for run in layout.code:
        known = layout.instructions
        for place in known.places(data, run.start, run.start + run.size, literals):
            found = known.at(data, place)
            size = known.size(found)
            masked[place : place + size] = known.without_distance(found).to_bytes(size, "little")
    return _REPEATED.sub(_numbered, bytes(masked))


def _numbered(repeated: re.Match[bytes]) -> bytes:
    """Return other words in place of equal ones: their numbers and what they are, so that equal runs stay equal."""
    (word,) = struct.unpack("<I", repeated[1])
    count = len(repeated[0]) // 4
    return struct.pack(f"<{count}I", *((word + number * _SPREAD) & 0xFFFF_FFFF for number in range(count)))
