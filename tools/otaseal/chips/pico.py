"""The RP2040 and the RP2350 as arduino-pico builds for them: an image, its boot stub, and the place of its filesystem.

An image is a stub at 0 that carries out updates, four words at 0x2ff0 that tell it where the filesystem is, and the
application at 0x3000 (F58). Nothing names its size: the start-up code's table of what it copies to RAM ends where the
image does, and on the RP2350 one more block of the boot ROM's chain follows. Parsing works on views, copies nothing.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .crc import crc32_mpeg2
from .limits import REBUILD, check_size

APP_OFFSET = 0x3000
FLASH_BASE, FLASH_END = 0x1000_0000, 0x1100_0000
LAYOUT_AT = APP_OFFSET - 16
BLOCK = 4096
"""Bytes of a flash sector, and of a block of LittleFS."""
BOOT_STAGE_SIZE = 256
"""Bytes of the RP2040's second boot stage, the last four of them its CRC."""
RAM_BASE, RAM_END = 0x2000_0000, {"rp2040": 0x2004_2000, "rp2350": 0x2008_2000, "rp2350-riscv": 0x2008_2000}

SAYS_MD5 = b"sketch-md5\0"
"""The end of the header's name, in firmware that says the MD5 of its sketch: the core's own updater says none."""

BLOCK_MAGIC, BLOCK_END = b"\xd3\xde\xff\xff", b"\x79\x35\x12\xab"
_BLOCK_SEARCHED = 4096
"""The boot ROM of the RP2350 looks for the first block in so many bytes of an image."""
_IMAGE_TYPE, _LAST_ITEM = 0x42, 0xFF
_CPU_SHIFT, _CHIP_SHIFT, _EXECUTABLE = 8, 12, 1
_RP2350_CHIPS = {0: "rp2350", 1: "rp2350-riscv"}
_MAX_ITEMS = 16

_WORD, _PAIR, _TRIPLE, _LAYOUT = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<III"), struct.Struct("<4I")
_COPY_TABLE_SEARCHED = 0x400
"""The table stands behind vectors and reset handler, in all images seen within so many bytes of the application."""


@dataclass(frozen=True)
class Filesystem:
    """Where LittleFS lies in flash: offset of its first byte, and its size, both in bytes."""

    start: int
    size: int


@dataclass(frozen=True)
class PicoImage:
    """A complete image of `chip` ("rp2040", "rp2350", "rp2350-riscv") and whatever lies behind it (`tail`).

    `filesystem` is what the image itself tells its boot stub; an update is staged there, so size 0 takes none (F55).
    """

    chip: str
    filesystem: Filesystem
    sketch_size: int
    tail: memoryview
    data: memoryview = field(repr=False, compare=False)

    flash_mode = None
    flash_size = None
    core_release = None

    def faults(self) -> tuple[str, ...]:
        """Return what is wrong with the checksum that the boot ROM looks at: the RP2350's ARM and RISC-V have none."""
        if self.chip == "rp2040" and not _boot_stage_ok(self.data):
            return ("the second boot stage's CRC is wrong: the boot ROM starts nothing else",)
        return ()

    def sketch_digests(self) -> tuple[str, ...]:
        """Return the MD5 that a device says of the sketch it runs; none where it cannot say one (F57, F130)."""
        sketch = self.data[: self.sketch_size]
        return (hashlib.md5(sketch, usedforsecurity=False).hexdigest(),) if SAYS_MD5 in bytes(sketch) else ()

    def gzip_refusal(self, *, library: bool) -> InputError | None:
        """Return why devices need not start from a signed gzip; with the OtaSeal `library` the core is new enough."""
        if library:
            return None
        return InputError(
            "the firmware does not say which core it was built with, and arduino-pico before 5.5.0 does not start from "
            "a signed gzip",
            "build without custom_otaseal_compress, or with the OtaSeal library, which asks for 5.5.0",
        )

    def update_refusal(self) -> InputError | None:
        """Return why no update can be staged or copied by this firmware, None where one can (F55)."""
        if not self.filesystem.size:
            return InputError(
                "the firmware has no filesystem, and arduino-pico keeps an update there until it is copied",
                "set board_build.filesystem_size, as in 1m, and build again",
            )
        if self.sketch_size > self.filesystem.start:
            return InputError(
                f"the image of {self.sketch_size} bytes reaches into its filesystem at {self.filesystem.start}",
                "make the firmware smaller, or board_build.filesystem_size",
            )
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return what `otaseal inspect --json` says of it."""
        return {
            "chip": self.chip,
            "filesystem": {"start": self.filesystem.start, "size": self.filesystem.size},
            "boot_stage_ok": _boot_stage_ok(self.data) if self.chip == "rp2040" else None,
            "sketch_size": self.sketch_size,
            "bytes_behind": len(self.tail),
        }

    def lines(self) -> list[str]:
        """Return the same for a person, one fact a line."""
        place = f"{self.filesystem.size // 1024} KiB at 0x{self.filesystem.start:x}"
        return [
            f"{'chip':<14}{self.chip}, arduino-pico",
            f"{'filesystem':<14}{place if self.filesystem.size else 'none: takes no updates over the air'}",
            f"{'sketch size':<14}{self.sketch_size} bytes",
        ]


def is_image(data: bytes | memoryview) -> bool:
    """Tell whether `data` begins as an image of arduino-pico with its boot stub, damaged further on or not."""
    view = memoryview(data)
    chip = _chip(view)
    return chip is not None and _layout(view) is not None and _starts_at(view, APP_OFFSET, chip)


def is_other_image(data: bytes | memoryview) -> str | None:
    """Return the chip of an RP2040 or RP2350 image that has no boot stub of arduino-pico, None for anything else."""
    view = memoryview(data)
    return None if is_image(view) else _chip(view)


def parse(data: bytes | memoryview, subject: str = "this is") -> PicoImage:
    """Return the image in `data`, as views into it, for which `is_image` holds.

    Raises InputError when it is larger than any flash, cut short, or its start-up code is not what the core links.
    """
    view = memoryview(data).toreadonly()
    check_size(len(view))
    chip, layout = _chip(view), _layout(view)
    assert chip is not None
    assert layout is not None
    end = _end_of_copies(view, chip)
    if end is None:
        raise InputError(f"{subject} an image of the {chip} without a table of what is copied to RAM", REBUILD)
    if chip != "rp2040":
        end = _end_of_blocks(view, end)
    if end > len(view):
        raise InputError(f"{chip} image is cut short", REBUILD)
    return PicoImage(chip, layout, end, view[end:], view)


def staging_size(size: int) -> int:
    """Return the bytes of a LittleFS, empty but for it, in which a file of `size` bytes and the order to copy it fit.

    A block holds the file's bytes and, on average, two words that lead to those before it. The root directory has two
    blocks, and the order one (F55).
    """
    return BLOCK * (math.ceil(size / (BLOCK - 8)) + 3)


def _chip(view: memoryview) -> str | None:
    """Return the chip that the first bytes are for, by what its boot ROM looks at; None for none of these."""
    if len(view) < APP_OFFSET:
        return None
    if _boot_stage_ok(view) or (_layout(view) and _has_vectors(view, BOOT_STAGE_SIZE, "rp2040")):
        return "rp2040"
    block = bytes(view[:_BLOCK_SEARCHED]).find(BLOCK_MAGIC)
    if block < 0:
        return None
    kind = _image_type(view, block)
    is_rp2350 = kind is not None and kind & 0xF == _EXECUTABLE and kind >> _CHIP_SHIFT & 7 == 1
    return _RP2350_CHIPS.get(kind >> _CPU_SHIFT & 7) if kind is not None and is_rp2350 else None


def _boot_stage_ok(view: memoryview) -> bool:
    stored = _WORD.unpack_from(view, BOOT_STAGE_SIZE - _WORD.size)[0]
    return any(view[:BOOT_STAGE_SIZE]) and bool(stored == crc32_mpeg2(view[: BOOT_STAGE_SIZE - _WORD.size]))


def _image_type(view: memoryview, block: int) -> int | None:
    """Return the flags of the image type in the block at this offset: two bytes (datasheet of the RP2350, 5.9.3)."""
    position = block + len(BLOCK_MAGIC)
    for _ in range(_MAX_ITEMS):
        if position + _WORD.size > len(view):
            return None
        item: int = _WORD.unpack_from(view, position)[0]
        kind = item & 0xFF
        if kind == _IMAGE_TYPE:
            return item >> 16
        size = item >> 8 & (0xFFFF if kind & 0x80 else 0xFF)
        if kind == _LAST_ITEM or not size:
            return None
        position += size * _WORD.size
    return None


def _layout(view: memoryview) -> Filesystem | None:
    """Return the place of the filesystem from the four words before the application, None where they can't be that."""
    if len(view) < APP_OFFSET:
        return None
    start, end, _eeprom, length = _LAYOUT.unpack_from(view, LAYOUT_AT)
    if not FLASH_BASE < start <= end <= FLASH_END or not 0 < length <= start - FLASH_BASE:
        return None
    return Filesystem(start - FLASH_BASE, end - start)


def _starts_at(view: memoryview, offset: int, chip: str) -> bool:
    if chip == "rp2350-riscv":
        return bytes(view[offset : offset + len(BLOCK_MAGIC)]) == BLOCK_MAGIC
    return _has_vectors(view, offset, chip)


def _has_vectors(view: memoryview, offset: int, chip: str) -> bool:
    """Tell whether a stack pointer into RAM and a reset handler in flash, in Thumb code, stand at `offset`."""
    if offset + _PAIR.size > len(view):
        return False
    stack, reset = _PAIR.unpack_from(view, offset)
    return RAM_BASE < stack <= RAM_END[chip] and FLASH_BASE + offset < reset < FLASH_END and bool(reset & 1)


def _end_of_copies(view: memoryview, chip: str) -> int | None:
    """Return where the last bytes end that start-up code copies to RAM: offset in the image; None without its table."""
    for offset in range(APP_OFFSET, APP_OFFSET + _COPY_TABLE_SEARCHED, _WORD.size):
        end, position = 0, offset
        while position + _TRIPLE.size <= len(view):
            source, start, stop = _TRIPLE.unpack_from(view, position)
            if source == 0:
                break
            if not (FLASH_BASE + APP_OFFSET <= source < FLASH_END and RAM_BASE <= start <= stop <= RAM_END[chip]):
                end = 0
                break
            end = max(end, source - FLASH_BASE + stop - start)
            position += _TRIPLE.size
        if end:
            return end
    return None


def _end_of_blocks(view: memoryview, end: int) -> int:
    """Return where the block ends that the RP2350's linker script puts last of all, at the first word behind `end`."""
    begin = -(-end // _WORD.size) * _WORD.size
    last = bytes(view[begin : begin + _BLOCK_SEARCHED])
    if last.startswith(BLOCK_MAGIC) and BLOCK_END in last:
        return begin + last.index(BLOCK_END) + len(BLOCK_END)
    return max(end, len(view)) + 1  # cut off
