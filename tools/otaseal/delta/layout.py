"""Where an image has code, and which words in it look like addresses: what making a patch knows of chips.

A device knows none of this: the patch says all that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..chips import images
from ..chips.boot_image import Part
from ..chips.esp32 import Esp32Image
from ..chips.esp8266 import APP_OFFSET, Esp8266Image
from ..chips.pico import APP_OFFSET as PICO_APP_OFFSET
from ..chips.pico import FLASH_BASE, RAM_BASE, PicoImage
from ..errors import InputError
from .header import MAX_CODE
from .instructions import RISCV, THUMB, XTENSA, Instructions
from .relocation import BLOCK, Code

SAYS_RISCV = b" patch1 riscv\0"
"""In firmware whose library decodes RISC-V (instructions.h): earlier ones have Xtensa's decoder on these chips, too."""
_XTENSA = frozenset(("esp8266", "esp32", "esp32s2", "esp32s3"))
_INSTRUCTIONS = range(0x4000_0000, 0x4300_0000)
_LEAST_CODE = 2048
"""Vectors and the like have few calls, and a run costs the patch some bytes."""
_PART_HEADER, _ESP32_HEADER, _SEGMENT_HEADER = 8, 24, 8
_THUMB = frozenset(("rp2040", "rp2350"))


class Placed(NamedTuple):
    """A segment of an image: its offset in the file, its size, and the address it is loaded to."""

    start: int
    size: int
    address: int


@dataclass(frozen=True)
class Layout:
    """Segments, those with `instructions` that are known, and the numbers of blocks that words may point into."""

    segments: tuple[Placed, ...] = ()
    code: tuple[Placed, ...] = ()
    blocks: frozenset[int] = frozenset()
    instructions: Instructions = XTENSA


def of(data: bytes) -> Layout:
    """Return the layout of an image, signed or not; of anything else one that knows nothing."""
    try:
        image = images.parse(data)
    except InputError:
        return Layout()
    if isinstance(image, PicoImage):
        return _of_pico(image)
    segments = tuple(_segments(image))
    code = tuple(found for found in segments if found.address in _INSTRUCTIONS and found.size >= _LEAST_CODE)
    blocks = (range(found.address // BLOCK, (found.address + found.size) // BLOCK + 1) for found in segments)
    known = XTENSA if image.chip in _XTENSA else RISCV
    return Layout(segments, code, frozenset(block for some in blocks for block in some), known)


def of_both(base: bytes, target: bytes) -> tuple[Layout, Layout]:
    """Return the layouts of what a device runs and of an image for it, with code only where its decoder knows that."""
    both = of(base), of(target)
    if both[0].instructions is RISCV and SAYS_RISCV not in base:
        return replace(both[0], code=()), replace(both[1], code=())
    return both


def _of_pico(image: PicoImage) -> Layout:
    """Return a Pico's application as one segment, with what is copied to RAM: its code calls within itself."""
    placed = Placed(PICO_APP_OFFSET, image.sketch_size - PICO_APP_OFFSET, FLASH_BASE + PICO_APP_OFFSET)
    flash = range(FLASH_BASE // BLOCK, (FLASH_BASE + image.sketch_size) // BLOCK + 1)
    blocks = frozenset((*flash, RAM_BASE // BLOCK))
    return Layout((placed,), (placed,), blocks, THUMB) if image.chip in _THUMB else Layout(blocks=blocks)


def runs_of_code(base: Layout, target: Layout) -> tuple[Code, ...]:
    """Return where the base has code, the largest runs of it, each with how the target's nearest code is placed."""
    alike = target.code and target.instructions is base.instructions
    largest = sorted(base.code if alike else (), key=lambda found: -found.size)[:MAX_CODE]
    return tuple(_run(old, target, base.instructions) for old in sorted(largest))


def _run(old: Placed, target: Layout, instructions: Instructions) -> Code:
    new = min(target.code, key=lambda found: abs(found.address - old.address))
    moved = (new.address - new.start) - (old.address - old.start)
    return Code(old.start, old.size, old.address, moved, instructions)


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
