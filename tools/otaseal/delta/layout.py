"""Where an image has code, and which words in it look like addresses: what making a patch knows of chips.

A device knows none of this: the patch says all that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..chips import images
from ..chips.boot_image import Part
from ..chips.esp32 import Esp32Image
from ..chips.esp8266 import APP_OFFSET, Esp8266Image
from ..chips.pico import PicoImage
from ..errors import InputError
from .header import MAX_CODE
from .relocation import BLOCK, Code

_XTENSA = frozenset(("esp8266", "esp32", "esp32s2", "esp32s3"))
_INSTRUCTIONS = range(0x4000_0000, 0x4300_0000)
_LEAST_CODE = 2048
"""Vectors and the like have few calls, and a run costs the patch some bytes."""
_PART_HEADER, _ESP32_HEADER, _SEGMENT_HEADER = 8, 24, 8
_PICO_MEMORY = (0x1000_0000, 0x1010_0000, 0x2000_0000)


class Placed(NamedTuple):
    """A segment of an image: its offset in the file, its size, and the address it is loaded to."""

    start: int
    size: int
    address: int


@dataclass(frozen=True)
class Layout:
    """Segments, those with Xtensa code among them, and the numbers of blocks of addresses that words may point into."""

    segments: tuple[Placed, ...] = ()
    code: tuple[Placed, ...] = ()
    blocks: frozenset[int] = frozenset()


def of(data: bytes) -> Layout:
    """Return the layout of an image, signed or not; of anything else one that knows nothing."""
    try:
        image = images.parse(data)
    except InputError:
        return Layout()
    if isinstance(image, PicoImage):
        return Layout(blocks=frozenset(address // BLOCK for address in _PICO_MEMORY))
    segments = tuple(_segments(image))
    code = tuple(found for found in segments if found.address in _INSTRUCTIONS and found.size >= _LEAST_CODE)
    blocks = (range(found.address // BLOCK, (found.address + found.size) // BLOCK + 1) for found in segments)
    return Layout(
        segments, code if image.chip in _XTENSA else (), frozenset(block for some in blocks for block in some)
    )


def runs_of_code(base: Layout, target: Layout) -> tuple[Code, ...]:
    """Return where the base has code, the largest runs of it, each with how the target's nearest code is placed."""
    largest = sorted(base.code if target.code else (), key=lambda found: -found.size)[:MAX_CODE]
    return tuple(_run(old, target) for old in sorted(largest))


def _run(old: Placed, target: Layout) -> Code:
    new = min(target.code, key=lambda found: abs(found.address - old.address))
    return Code(old.start, old.size, old.address, (new.address - new.start) - (old.address - old.start))


def _segments(image: Esp8266Image | Esp32Image) -> Iterator[Placed]:
    if isinstance(image, Esp32Image):
        yield from _placed(image.part, _ESP32_HEADER)
    else:
        yield from _placed(image.app, APP_OFFSET + _PART_HEADER)


def _placed(part: Part, start: int) -> Iterator[Placed]:
    for segment in part.segments:
        start += _SEGMENT_HEADER
        yield Placed(start, len(segment.data), segment.address)
        start += len(segment.data)
