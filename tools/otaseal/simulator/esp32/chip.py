"""The chips of the family, as far as boot loader and updater tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import ConfigError

PAGE, SMALL_PAGE = 0x10000, 0x2000  # of the memory that flash is mapped to

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Chip:
    """A chip by the `number` in the header of its images; `mapped` are the addresses at which flash appears.

    `revision` is major * 100 + minor, of the chips that are sold today. `page` is the smallest that flash can be mapped
    in; which one it is was chosen when the boot loader was built, and newer applications say so.
    """

    name: str
    number: int
    mapped: Ranges
    revision: int
    page: int = PAGE


_UNIFIED: Ranges = ((0x4200_0000, 0x4300_0000),)
_WIDE: Ranges = ((0x4200_0000, 0x4400_0000),)
_LARGE: Ranges = ((0x4000_0000, 0x4400_0000),)
CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("esp32", 0, ((0x3F40_0000, 0x3F80_0000), (0x400D_0000, 0x4040_0000)), 301),
        Chip("esp32s2", 2, ((0x3F00_0000, 0x3FF8_0000), (0x4008_0000, 0x4080_0000)), 100),
        Chip("esp32c3", 5, ((0x3C00_0000, 0x3C80_0000), (0x4200_0000, 0x4280_0000)), 4),
        Chip("esp32s3", 9, ((0x3C00_0000, 0x3E00_0000), (0x4200_0000, 0x4400_0000)), 2),
        Chip("esp32c2", 12, ((0x3C00_0000, 0x3C40_0000), (0x4200_0000, 0x4240_0000)), 200, SMALL_PAGE),
        Chip("esp32c6", 13, _UNIFIED, 2, SMALL_PAGE),
        Chip("esp32h2", 16, _UNIFIED, 102, SMALL_PAGE),
        Chip("esp32p4", 18, _LARGE, 301),
        Chip("esp32c61", 20, _WIDE, 100, SMALL_PAGE),
        Chip("esp32c5", 23, _WIDE, 100),
        Chip("esp32h21", 25, _UNIFIED, 0, SMALL_PAGE),
        Chip("esp32h4", 28, _WIDE, 0, SMALL_PAGE),
        Chip("esp32e22", 31, (), 0),
        Chip("esp32s31", 32, _LARGE, 0, SMALL_PAGE),
    )
}
"""By name, as PlatformIO's boards have it. Where flash is mapped: `soc.h` and `ext_mem_defs.h` of ESP-IDF."""


def chip_of(name: str) -> Chip:
    """Return the chip of that name; raises ConfigError for one that is not known."""
    if name not in CHIPS:
        raise ConfigError(f"chip '{name}' is not known to the virtual device", f"one of {', '.join(CHIPS)}")
    return CHIPS[name]
