"""An application in a slot, as the boot loader checks it before a start, and `Update` before it is activated (F86)."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from .chip import Chip

MAGIC, SEED = 0xE9, 0xEF
MOST_SEGMENTS, LONGEST_SEGMENT = 16, 1 << 24
HASH_SIZE, LINE = 32, 16
PAGE_AT, MOST_PAGE_BITS = 0x20 + 180, 17  # in the description: the logarithm of the page
HEADER = struct.Struct("<BB10xHxHH4xB")  # magic, segments, chip, minimum and maximum revision, whether a hash follows
_SEGMENT = struct.Struct("<II")
_UNSET = (0, 0xFFFF)


@dataclass(frozen=True)
class Application:
    """What lies in a slot: `length` bytes up to its hash, 0 and a `reason` where it is not started."""

    length: int
    reason: str = ""


def check(slot: bytes | memoryview, chip: Chip) -> Application:
    """Return what the boot loader of `chip` makes of a `slot`, all of it."""
    view = memoryview(slot)
    if len(view) < HEADER.size:
        return Application(0, "it ends within its header")
    magic, count, number, minimum, maximum, hashed = HEADER.unpack_from(view)
    if magic != MAGIC:
        return Application(0, f"its first byte is 0x{magic:02x}, not 0xe9")
    if number != chip.number:
        return Application(0, f"it is for the chip with the id {number}, this one has {chip.number}")
    own = _revision(chip.revision)
    if chip.revision < minimum:
        return Application(0, f"it needs revision {_revision(minimum)} of the chip, this one is {own}")
    if maximum not in _UNSET and chip.revision > maximum:
        return Application(0, f"it is for revisions up to {_revision(maximum)}, the chip is {own}")
    if count > MOST_SEGMENTS:
        return Application(0, f"it has {count} segments, more than {MOST_SEGMENTS}")
    return _sums(view, count, bool(hashed), chip)


def _sums(view: memoryview, count: int, hashed: bool, chip: Chip) -> Application:
    """Walk through the segments, then look at checksum and hash."""
    at, checksum, page = HEADER.size, SEED, _page(view, chip)
    for index in range(count):
        if at + _SEGMENT.size > len(view):
            return Application(0, "it does not fit in its slot, or is cut short")
        address, length = _SEGMENT.unpack_from(view, at)
        at += _SEGMENT.size
        if length % 4 or length >= LONGEST_SEGMENT:
            return Application(0, f"segment {index} has an impossible length of {length}")
        if any(low <= address < high for low, high in chip.mapped) and at % page != address % page:
            return Application(0, f"segment {index} for 0x{address:08x} is not where it can be mapped to that address")
        if at + length > len(view):
            return Application(0, "it does not fit in its slot, or is cut short")
        checksum ^= _xor(view[at : at + length])
        at += length
    end = at // LINE * LINE + LINE
    if end + HASH_SIZE * hashed > len(view):
        return Application(0, "it does not fit in its slot, or is cut short")
    if view[end - 1] != checksum:
        return Application(0, f"its checksum is 0x{view[end - 1]:02x}, its content has 0x{checksum:02x}")
    if hashed and hashlib.sha256(view[:end]).digest() != view[end : end + HASH_SIZE]:
        return Application(0, "the SHA-256 at its end is not that of its content")
    return Application(end + HASH_SIZE * hashed)


def _page(view: memoryview, chip: Chip) -> int:
    """Return the size of the pages that the application is mapped in: as its description says, else the least."""
    said = 1 << view[PAGE_AT] if len(view) > PAGE_AT and view[PAGE_AT] < MOST_PAGE_BITS else 0
    return max(said, chip.page)


def _xor(data: memoryview) -> int:
    """Return the XOR of all bytes, by words of a power of two that are folded."""
    value, bits = int.from_bytes(data, "little"), 8
    while 1 << bits <= value:
        bits *= 2
    while bits > 8:
        bits //= 2
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
    return value


def _revision(number: int) -> str:
    return f"{number // 100}.{number % 100}"
