"""The virtual device that runs an image: an ESP8266 with a layout of its flash, an ESP32, or a board with arduino-pico.

The image of a Pico says itself where its filesystem is (F58); which core release built it, and which version its sketch
says, it does not say. An ESP32's flash is divided by the partition table that the build made.
"""

from __future__ import annotations

from pathlib import Path

from ..chips import esp32, pico
from ..errors import ConfigError, InputError
from ..simulator.core import CORES
from ..simulator.device import Device
from ..simulator.esp32.chip import chip_of as esp32_chip
from ..simulator.esp32.device import Esp32Device
from ..simulator.esp32.table import Table
from ..simulator.firmware import read
from ..simulator.flash import LAYOUTS, Layout
from ..simulator.pico.chip import chip_of
from ..simulator.pico.device import PicoDevice
from ..simulator.pico.release import DEFAULT_RELEASE

DEFAULT_LAYOUTS = {512: "512k32", 1024: "1m64", 2048: "2m256", 4096: "4m2m", 8192: "8m6m", 16384: "16m14m"}
"""KiB of flash to the layout that is assumed where nothing names one: the platform's own choice for most boards."""
CORE_ASSUMED = f"the core that devices run: arduino-pico {DEFAULT_RELEASE} was assumed; name it with --core"

TABLE_ASSUMED = "the partition table: the core's own for {} MiB of flash was assumed; name the build's partitions.bin"
ESP32_SIZES = range(1, 8)
"""Codes of 2 MiB of flash to 128 in the header of an ESP32's image, as its build was told (F47)."""


def board(
    firmware: bytes,
    filesystem: Path | None,
    layout: Layout | Table | None,
    core: str | None = None,
    flash_mode: int | None = None,
) -> tuple[Device, list[str]]:
    """Return a device that runs `firmware`, and what was assumed for it.

    Raises ConfigError and InputError for what does not go together.
    """
    if pico.is_image(firmware):
        image = pico.parse(firmware)
        if flash_mode is not None or layout is not None:
            option = "--layout" if flash_mode is None else "--flash-mode"
            raise ConfigError(f"{option} is given for an image of the {image.chip}", "leave it: the image says it all")
        device = PicoDevice.provision_board(firmware, chip_of(image.chip), core=core or DEFAULT_RELEASE)
        return device, [] if core else [CORE_ASSUMED]
    if esp32.is_image(firmware):
        return _esp32(firmware, layout, core, flash_mode)
    if isinstance(layout, Table):
        raise ConfigError("a partition table is given for an image of the ESP8266", "name its layout, as in 4m2m")
    if core is not None and core in CORES and not CORES[core].verifies:
        oldest = next(name for name, known in CORES.items() if known.verifies)
        raise ConfigError(f"core {core} verifies nothing", f"name one from {oldest} on: nothing older can be rehearsed")
    divided, assumed = _flash_layout(firmware, filesystem, layout)
    return Device.provision(firmware, divided, core=core, flash_mode=flash_mode), assumed


def _esp32(
    firmware: bytes, layout: Layout | Table | None, core: str | None, flash_mode: int | None
) -> tuple[Device, list[str]]:
    """Return an ESP32 and what was assumed for it: with the table that was given, else with the core's own."""
    if core is not None or flash_mode is not None:
        option = "--core" if flash_mode is None else "--flash-mode"
        raise ConfigError(f"{option} is given for an image of the ESP32", "leave it: no device goes by it")
    if isinstance(layout, Layout):
        raise ConfigError(f"flash layout '{layout.name}' is given for an image of the ESP32", "name its partitions.bin")
    chip = esp32_chip(esp32.parse(firmware).chip)
    if layout is not None:
        return Esp32Device.provision_board(firmware, chip, layout), []
    code = firmware[3] >> 4
    size = 1 << code if code in ESP32_SIZES else 4
    device = Esp32Device.provision_board(firmware, chip, flash_size=max(size, 4) << 20)
    return device, [TABLE_ASSUMED.format(max(size, 4))]


def _flash_layout(firmware: bytes, filesystem: Path | None, named: Layout | None) -> tuple[Layout, list[str]]:
    """Return the flash layout of a device with this firmware, and what was assumed for it.

    It is the one that was `named`, else the one with a filesystem of the image's size.
    """
    if named is not None:
        return named, []
    flash_size = read(firmware).flash_size
    if filesystem is not None:
        if not filesystem.is_file():
            raise InputError(f"filesystem image '{filesystem}' is not a file", "pio run -t buildfs makes it")
        size = filesystem.stat().st_size
        for layout in LAYOUTS.values():
            if layout.flash_size == flash_size and layout.fs_size == size:
                return layout, []
    name = DEFAULT_LAYOUTS.get(flash_size // 1024)
    if name is None:
        raise ConfigError(f"no flash layout fits a chip of {flash_size} bytes", "name it with --layout, as in 4m2m")
    return LAYOUTS[name], [f"the flash layout: '{name}' was assumed; name it with --layout"]
