"""The format that boot ROMs of Espressif load: a header, segments, padding, and a checksum byte that ends a line of 16.

An ESP8266 image is two such parts (F30b), an ESP32's application one with a longer header (F47). Parsing works on views
and copies nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from ..errors import InputError
from .limits import FIRMWARE, REBUILD

MAGIC = 0xE9
MAX_SEGMENTS = 16  # what the boot ROM loads
CHECKSUM_SEED = 0xEF

_HEADER = struct.Struct("<BBBBI")  # magic, segments, flash mode, flash size and frequency, entry address
_SEGMENT = struct.Struct("<II")  # load address, length
_LINE = 16


class FlashMode(IntEnum):
    """How the chip reads its flash: byte 2 of the header (F7)."""

    QIO = 0
    QOUT = 1
    DIO = 2
    DOUT = 3


@dataclass(frozen=True)
class Segment:
    """Bytes and the address they are loaded to."""

    address: int
    data: memoryview


@dataclass(frozen=True)
class Part:
    """One header with its segments: the boot block or the application.

    `size` are the bytes from the header to the checksum, both included; `checksum` is as stored, not as computed.
    """

    flash_mode: int
    flash_config: int
    entry: int
    segments: tuple[Segment, ...]
    size: int
    checksum: int

    @cached_property
    def computed_checksum(self) -> int:
        """The XOR of all segment bytes and 0xEF: what the boot ROM wants to find."""
        value = CHECKSUM_SEED
        for segment in self.segments:
            value ^= xor(segment.data)
        return value


def parse_part(view: memoryview, what: str, header_size: int = _HEADER.size) -> Part:
    """Return the part at the beginning of `view`; raises InputError, which calls it `what`.

    `header_size` are the bytes before the first segment.
    """
    if len(view) < header_size:
        raise _cut_short(what)
    magic, count, mode, config, entry = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise InputError(f"{what} begins with 0x{magic:02x}, not 0xe9", FIRMWARE)
    if count > MAX_SEGMENTS:
        raise InputError(f"{what} claims {count} segments, more than {MAX_SEGMENTS}", REBUILD)
    position, segments = header_size, []
    for _ in range(count):
        if len(view) - position < _SEGMENT.size:
            raise _cut_short(what)
        address, length = _SEGMENT.unpack_from(view, position)
        position += _SEGMENT.size
        if length > len(view) - position:
            raise _cut_short(what)
        segments.append(Segment(address, view[position : position + length]))
        position += length
    last = (position + _LINE) // _LINE * _LINE - 1
    if last >= len(view):
        raise _cut_short(what)
    return Part(mode, config, entry, tuple(segments), last + 1, view[last])


def whole_part(view: memoryview, header_size: int = _HEADER.size) -> Part | None:
    """Return the part at the beginning of `view` if it is complete and its checksum holds, else None."""
    try:
        part = parse_part(view, "image", header_size)
    except InputError:
        return None
    return part if part.computed_checksum == part.checksum else None


def segment_addresses(view: memoryview, first: int, count: int) -> Iterator[int]:
    """Yield the addresses of up to `count` segments, of which the first header is at `first`, while they are whole."""
    position = first
    for _ in range(count):
        if position + _SEGMENT.size > len(view):
            return
        address, length = _SEGMENT.unpack_from(view, position)
        position += _SEGMENT.size + length
        if position > len(view):
            return
        yield address


def _cut_short(what: str) -> InputError:
    return InputError(f"{what} is cut short", REBUILD)


def xor(data: memoryview) -> int:
    """XOR all bytes by folding one big integer in halves: milliseconds where a loop takes tenths of a second."""
    value, size = int.from_bytes(data, "little"), len(data)
    while size > 1:
        size = (size + 1) // 2
        value = (value >> 8 * size) ^ (value & ((1 << 8 * size) - 1))
    return value
