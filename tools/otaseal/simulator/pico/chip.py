"""Chips and their flash: where an image says that its filesystem lies, and what the boot ROM and the stub start.

An image is what goes to the start of the flash: boot stub (12 KiB), four words that divide the flash, application. On
an RP2040 256 bytes of boot stage 2 come first, with a checksum of their own; on an RP2350 the boot ROM looks for a
block that says for which chip and which CPU the image is (F56).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...errors import InputError
from ..flash import DiskFormat, Layout

FLASH = 0x1000_0000
"""Where the flash appears in the address space."""
RAM = 0x2000_0000
PAGE = 4096
APPLICATION = 0x3000
DIVISION = APPLICATION - 16
BOOT2, STUB_RP2040 = 252, 0x100
MAX_FLASH = 16 * 1024 * 1024
DISK = DiskFormat(0x0002_0001, 255, 256)
"""arduino-pico's LittleFS (libraries/LittleFS/src/LittleFS.h, littlefs 2.11)."""

BLOCK_BEGIN, BLOCK_END = 0xFFFFDED3, 0xAB123579
IMAGE_TYPE, LAST_ITEM, BIG_ITEM = 0x0142, 0xFF, 0x80
EXECUTABLE, RP2350 = 1, 1
MOST_BLOCKS = 16
RISCV_ENTRY = APPLICATION + 0x22
NOTHING = (0x0000, 0xFFFF)  # illegal instructions of RISC-V: there is no code


@dataclass(frozen=True)
class Chip:
    """A chip: `ram` is its bytes of SRAM from 0x20000000 on, `blocks` whether its boot ROM wants one (the RP2350's)."""

    name: str
    ram: int
    blocks: bool


CHIPS: Mapping[str, Chip] = MappingProxyType(
    {"rp2040": Chip("rp2040", 264 * 1024, False), "rp2350": Chip("rp2350", 520 * 1024, True)}
)
"""By name."""


def chip_of(name: str) -> Chip:
    """Return the chip by the name of an image's, in which the CPU can stand, too ("rp2350-riscv")."""
    return CHIPS[name.partition("-")[0]]


@dataclass(frozen=True)
class Start:
    """What a reset comes to: `cpu` is "arm", "riscv" or "" where nothing starts, for `reason`.

    `stub` tells that the boot stub runs at least, which can copy an update.
    """

    cpu: str = ""
    reason: str = ""
    stub: bool = False


def layout_in(image: bytes, flash_size: int | None = None) -> Layout:
    """Return how `image` divides a flash of that size, by default of the size that it was built for.

    Raises InputError for an image that does not say so.
    """
    if len(image) < APPLICATION:
        raise InputError(f"an image of {len(image)} bytes is none of arduino-pico's", "give firmware.bin of a Pico")
    begin, end, _, _ = struct.unpack_from("<4I", image, DIVISION)
    size = end - FLASH + PAGE if flash_size is None else flash_size  # the last page is the core's EEPROM
    if not FLASH + APPLICATION <= begin <= end <= FLASH + min(size, MAX_FLASH) or (begin | end) % PAGE:
        raise InputError(
            f"the image puts its filesystem at 0x{begin:08x} to 0x{end:08x}, in a flash of {max(size, 0)} bytes",
            "give firmware.bin of arduino-pico, built for this board",
        )
    name = f"filesystem of {(end - begin) // 1024} KiB"
    return Layout(name, size, begin - FLASH, end - FLASH, PAGE, disk=DISK)


def start(flash: bytes, chip: Chip) -> Start:
    """Return what starts after a reset: the boot ROM's look, the stub's vectors, the application's."""
    cpu, reason = _boot_rom(flash, chip)
    if not cpu:
        return Start("", reason)
    if cpu == "riscv":
        if int.from_bytes(flash[RISCV_ENTRY : RISCV_ENTRY + 2], "little") in NOTHING:
            return Start("", "there is no application behind the boot stub", True)
        return Start(cpu, "", True)
    for at, what in ((0 if chip.blocks else STUB_RP2040, "boot stub"), (APPLICATION, "application")):
        reason = _vectors(flash, at, chip)
        if reason:
            return Start("", f"the {what} does not start: {reason}", what == "application")
    return Start(cpu, "", True)


def _boot_rom(flash: bytes, chip: Chip) -> tuple[str, str]:
    """Return the CPU of what the boot ROM starts, or why it waits for a cable."""
    if chip.blocks:
        kinds = [kind for kind in _image_types(flash) if kind & 0xF == EXECUTABLE]
        if not kinds:
            return "", "no block in its first 4 KiB says what it is: the boot ROM of the RP2350 starts nothing"
        if kinds[-1] >> 12 & 7 != RP2350:
            return "", "its block is for another chip: the boot ROM of the RP2350 starts nothing"
        return ("riscv" if kinds[-1] >> 8 & 7 else "arm"), ""
    if _checksum(flash[:BOOT2]) != int.from_bytes(flash[BOOT2 : BOOT2 + 4], "little"):
        return "", "boot stage 2 has no valid checksum: the boot ROM of the RP2040 starts nothing"
    return "arm", ""


def _image_types(flash: bytes) -> list[int]:
    """Return the image type of each block of the loop that begins in the first page; none of a loop that is broken."""
    marker = BLOCK_BEGIN.to_bytes(4, "little")
    places = (at for at in range(0, PAGE, 4) if flash[at : at + 4] == marker)
    first = next((at for at in places if _block(flash, at) is not None), None)
    image_types: list[int] = []
    at = first
    for _ in range(MOST_BLOCKS):
        block = None if at is None or at < 0 else _block(flash, at)
        if at is None or block is None:
            return []
        kind, link = block
        image_types += [] if kind is None else [kind]
        at += link
        if at == first:
            return image_types
    return []


def _block(flash: bytes, at: int) -> tuple[int | None, int] | None:
    """Return the image type in the block at `at` (None: it has none) and its link in bytes; None for no block."""
    words = struct.unpack("<129I", flash[at : at + 516].ljust(516, b"\xff"))
    if words[0] != BLOCK_BEGIN:
        return None
    item = 1
    while item + 2 < len(words):
        tag = words[item] & 0xFF
        size = words[item] >> 8 & (0xFFFF if tag & BIG_ITEM else 0xFF)
        if tag == LAST_ITEM:
            whole = size == item - 1 and words[item + 2] == BLOCK_END
            kind = words[1] >> 16 if words[1] & 0xFFFF == IMAGE_TYPE else None
            link = words[item + 1]
            return (kind, link - (link >> 31 << 32)) if whole else None
        if not size:
            return None
        item += size
    return None


def _vectors(flash: bytes, at: int, chip: Chip) -> str:
    """Return what is wrong with a vector table of ARM: stack in RAM, reset handler in Thumb code of the flash."""
    stack, reset = struct.unpack_from("<2I", flash, at)
    if not RAM < stack <= RAM + chip.ram or stack % 4:
        return f"its stack would be at 0x{stack:08x}"
    if not FLASH + at < reset < FLASH + MAX_FLASH or not reset & 1:
        return f"its reset handler would be at 0x{reset:08x}"
    return ""


def _checksum(data: bytes) -> int:
    """Return the CRC-32 of boot stage 2: polynomial 0x04c11db7, most significant bit first, from 0xffffffff."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
