"""The flash: its layout, and what the core reads from it (sketch size, free space, MD5, flash mode).

Flash is the `bytes` of the whole chip, never changed in place. A layout is that of a linker script
(tools/sdk/ld/eagle.flash.*.ld): the firmware starts at 0, the filesystem has a fixed place near the end.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigError

SECTOR = 4096
APPLICATION = 0x1000  # where the application's header lies, behind the boot loader's sector
MODE_BYTE = 2  # of a header: the flash mode
ERASED = b"\xff"
MAPPED_AT = 0x4020_0000  # where flash appears in the address space of the linker scripts
MODES = ("QIO", "QOUT", "DIO", "DOUT")
UNKNOWN_MODE = 0xFF
MAX_LINKER_SCRIPT = 1 << 20  # characters
KIB, MIB = 1024, 1024 * 1024

CHIP_SIZES: Mapping[int, int] = {0: 512 * KIB, 1: 256 * KIB, 2: MIB, 3: 2 * MIB, 4: 4 * MIB, 8: 8 * MIB, 9: 16 * MIB}
"""The upper half of header byte 3, to bytes; the core takes any other code for 0."""


@dataclass(frozen=True)
class DiskFormat:
    """What a core's LittleFS mounts: disk `version` and `name_max`; `unit` is the bytes of a read or a program."""

    version: int = 0x0002_0000
    name_max: int = 32
    unit: int = 64


@dataclass(frozen=True)
class Layout:
    """How a flash of `flash_size` bytes is divided; `fs_start` and `fs_end` are offsets in it.

    `block` and `page` are the filesystem's, in bytes. Where there is none, `fs_start` is `fs_end`.
    """

    name: str
    flash_size: int
    fs_start: int
    fs_end: int
    block: int
    page: int = 256
    disk: DiskFormat = DiskFormat()

    @property
    def fs_size(self) -> int:
        """Bytes of the filesystem's partition."""
        return self.fs_end - self.fs_start


# name: flash in KiB, first and last sector of the filesystem, bytes of its block
_TABLE = {
    "512k": (512, 0x7B, 0x7B, 0),
    "512k32": (512, 0x73, 0x7B, 0x1000),
    "512k64": (512, 0x6B, 0x7B, 0x1000),
    "512k128": (512, 0x5B, 0x7B, 0x1000),
    "1m": (1024, 0xFB, 0xFB, 0),
    "1m64": (1024, 0xEB, 0xFB, 0x1000),
    "1m128": (1024, 0xDB, 0xFB, 0x1000),
    "1m144": (1024, 0xD7, 0xFB, 0x1000),
    "1m160": (1024, 0xD3, 0xFB, 0x1000),
    "1m192": (1024, 0xCB, 0xFB, 0x1000),
    "1m256": (1024, 0xBB, 0xFB, 0x1000),
    "1m512": (1024, 0x7B, 0xFB, 0x2000),
    "2m": (2048, 0x1FB, 0x1FB, 0),
    "2m64": (2048, 0x1F0, 0x1FB, 0x1000),
    "2m128": (2048, 0x1E0, 0x1FB, 0x1000),
    "2m256": (2048, 0x1C0, 0x1FB, 0x1000),
    "2m512": (2048, 0x180, 0x1FA, 0x2000),
    "2m1m": (2048, 0x100, 0x1FA, 0x2000),
    "4m": (4096, 0x3FB, 0x3FB, 0),
    "4m1m": (4096, 0x300, 0x3FA, 0x2000),
    "4m2m": (4096, 0x200, 0x3FA, 0x2000),
    "4m3m": (4096, 0x100, 0x3FA, 0x2000),
    "8m6m": (8192, 0x200, 0x7FA, 0x2000),
    "8m7m": (8192, 0x100, 0x7FA, 0x2000),
    "16m14m": (16384, 0x200, 0xFFA, 0x2000),
    "16m15m": (16384, 0x100, 0xFFA, 0x2000),
}
LAYOUTS: Mapping[str, Layout] = {
    name: Layout(name, size * KIB, start * SECTOR, end * SECTOR, block)
    for name, (size, start, end, block) in _TABLE.items()
}
"""The layouts that the core ships, the same in 2.7.4, 3.0.2, 3.1.2 and newer, by name ("4m2m")."""

_SYMBOL = re.compile(r"PROVIDE\s*\(\s*_FS_(start|end|page|block)\s*=\s*(0[xX][0-9a-fA-F]{1,8})\s*\)")
_SPLIT = re.compile(r"eagle\.flash\.(\w+)\.ld")
_SIZE = re.compile(r"(\d{1,3})([km])")


def layout(name: str) -> Layout:
    """Return a layout by its name, "4m2m" or "eagle.flash.4m2m.ld"; raises ConfigError for one the core has not."""
    match = _SPLIT.fullmatch(name)
    short = match[1] if match else name
    if short not in LAYOUTS:
        raise ConfigError(f"flash layout '{name}' is not one of the core's", "name one as in board_build.ldscript")
    return LAYOUTS[short]


def parse_layout(script: str, name: str) -> Layout:
    """Return the layout that a linker script describes; `name` begins with the flash size ("4m2m").

    Raises ConfigError for a script that does not say where the filesystem lies, or says what no chip has.
    """
    match = _SIZE.match(_SPLIT.sub(r"\1", name))
    symbols = {key: int(value, 16) for key, value in _SYMBOL.findall(script[:MAX_LINKER_SCRIPT])}
    if match is None or set(symbols) != {"start", "end", "page", "block"}:
        raise ConfigError(f"linker script '{name}' describes no flash", "give one that sets _FS_start to _FS_block")
    size = int(match[1]) * (MIB if match[2] == "m" else KIB)
    start, end = symbols["start"] - MAPPED_AT, symbols["end"] - MAPPED_AT
    if size not in CHIP_SIZES.values() or not APPLICATION <= start <= end <= size:
        raise ConfigError(f"linker script '{name}' has a filesystem outside of its flash", "check its addresses")
    return Layout(name, size, fs_start=start, fs_end=end, block=symbols["block"], page=symbols["page"])


def round_up(size: int) -> int:
    """Return `size` rounded up to whole sectors."""
    return -(-size // SECTOR) * SECTOR


def write(flash: bytes, address: int, data: bytes) -> bytes:
    """Return `flash` after the sectors that `data` touches, from a sector's start, were erased and `data` written."""
    end = address + round_up(len(data))
    return b"".join((flash[:address], data.ljust(end - address, ERASED), flash[end:]))


def sketch_size(flash: bytes) -> int:
    """Return `ESP.getSketchSize()`: the application's segments walked from 0x1000, to a line of 16 (F30b).

    Damaged headers give what the core makes of them; a walk that leaves the flash gives 0.
    """
    position = APPLICATION + 8
    for _ in range(flash[APPLICATION + 1]):
        if position + 8 > len(flash):
            return 0
        position += 8 + int(struct.unpack_from("<I", flash, position + 4)[0])
    return (position + 16) & ~15


def sketch_md5(flash: bytes) -> str:
    """Return `ESP.getSketchMD5()`: over the sketch as it lies in flash, byte 2 in the chip's flash mode (F30b)."""
    return hashlib.md5(flash[: sketch_size(flash)], usedforsecurity=False).hexdigest()


def free_space(flash: bytes, divided: Layout) -> int:
    """Return `ESP.getFreeSketchSpace()`: bytes between the sketch's last sector and the filesystem (F10)."""
    return divided.fs_start - round_up(sketch_size(flash))


def flash_mode(flash: bytes) -> int:
    """Return `ESP.getFlashChipMode()`, byte 2 of the flash: 0 to 3, or 255 for any other."""
    return flash[2] if flash[2] < len(MODES) else UNKNOWN_MODE


def configured_size(flash: bytes) -> int:
    """Return `ESP.getFlashChipSize()`: the size in the header of what runs, 0 for an unknown code."""
    return CHIP_SIZES.get(flash[3] >> 4, 0)
