"""Whether devices that run the firmware just built have room for an update of its size, said while it is signed.

The ESP8266 puts an update between its sketch and its filesystem (F10), a Pico into its filesystem (F55), beside the
certificates and whatever else the data folder has, an ESP32 into the one of its two slots that does not run (F74).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from . import build, made_image, platforms

if TYPE_CHECKING:
    from ..image.firmware import Firmware

MAX_TABLE = 0xC00
"""Bytes of an ESP32's partition table."""
FLASH_BASE = 0x40200000
"""Where the ESP8266 maps its flash."""


def warn(env: build.Env, size: int, firmware: Firmware) -> None:
    """Say when a device that runs `firmware` has no room for a signed update of `size` bytes."""
    if platforms.of(env) is platforms.PICO:
        _warn_of_filesystem(env, size)
    elif platforms.of(env) is platforms.ESP32:
        # The library writes the image alone; what stands behind it is signed, and does not reach the slot
        _warn_of_slots(env, size if firmware.identity is None else firmware.image.sketch_size)
    else:
        _warn_of_gap(env, size, firmware)


def _warn_of_filesystem(env: build.Env, size: int) -> None:
    from ..chips.pico import staging_size

    partition = made_image.partition(env)
    needed = staging_size(size) + made_image.least_size(build.path(env, "$PROJECT_DATA_DIR"), partition)
    if needed > partition.size:
        build.warn(
            f"devices that run this firmware have no room for an update of {size} bytes: beside the files of the data "
            f"folder it needs about {needed} of a filesystem of {partition.size}; choose {platforms.PICO.room}, or "
            "make the firmware smaller"
        )


def _warn_of_slots(env: build.Env, size: int) -> None:
    from ..chips import esp32_partitions

    table = build.path(env, "$BUILD_DIR/partitions.bin")
    if not table.is_file():
        return
    slots = esp32_partitions.update_slots(esp32_partitions.parse(files.read_bounded(table, MAX_TABLE, "partitions")))
    if len(slots) < 2:
        build.warn(
            f"devices that run this firmware take no update: their partition table has {len(slots)} of the two slots "
            "that updates need; choose board_build.partitions with app0 and app1, as min_spiffs.csv has them"
        )
    elif size > (smallest := min(slots, key=lambda slot: slot.size)).size:
        build.warn(
            f"devices that run this firmware have no room for an update of {size} bytes: their slot '{smallest.label}' "
            f"has {smallest.size}; choose board_build.partitions with larger slots, or make the firmware smaller"
        )


def _warn_of_gap(env: build.Env, size: int, firmware: Firmware) -> None:
    from ..image import signing

    filesystem = _in_linker_script(env)
    if filesystem is None:
        return
    start, end = filesystem
    missing = signing.missing_space(size, firmware, start)
    if missing > 0:
        build.warn(
            f"devices that run this firmware of {len(firmware.data)} bytes have no room for an update of {size}: "
            f"the two share {start} bytes below a filesystem of {end - start}, and lack {missing}; choose a "
            "board_build.ldscript with a smaller filesystem, or make the firmware smaller"
        )


def _in_linker_script(env: build.Env) -> tuple[int, int] | None:
    """Return where the filesystem begins and ends in flash, from the linker script; None if that does not say."""
    script = Path(str(env.GetActualLDScript()))
    text = script.read_text(encoding="utf-8", errors="replace") if script.is_file() else ""
    matches = [re.search(rf"_FS_{name}\s*=\s*(0x[0-9a-fA-F]+)", text) for name in ("start", "end")]
    start, end = (int(match[1], 16) - FLASH_BASE if match else None for match in matches)
    return None if start is None or end is None else (start, end)
