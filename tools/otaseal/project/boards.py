"""Which family of chips an environment is for, and what its filesystem is called there: told without a build.

With certainty only a build knows, where PlatformIO has the board's file: its hooks ask that. Here the platform's name
decides, and where it comes from a place of another name, the board's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

FILESYSTEM, FILESYSTEM_SIZE = "board_build.filesystem", "board_build.filesystem_size"
DEFAULT_FILESYSTEM = "spiffs"
"""Of the platform for the ESP8266, in which no certificates of ours lie (F15)."""
PICO_SIZE = "1m"
"""Half of the smallest flash, so that an update fits beside the certificates (F55); by default there is none."""
_PICO_BOARD = re.compile(r"rpipico|.*rp2(040|350)")
_NOTHING = re.compile(r"0*(\.0*)?[kmb]*", re.I)

Get = Callable[[str], "str | None"]
"""Returns an option of the environment, None where it is unset."""


def is_pico(get: Get) -> bool:
    """Tell whether an environment is for the RP2040 or the RP2350."""
    platform = re.split(r"[/\\]", (get("platform") or "").lower())[-1]
    if re.search(r"raspberrypi|espressif", platform):
        return "raspberrypi" in platform
    return _PICO_BOARD.match((get("board_build.mcu") or get("board") or "").lower()) is not None


def filesystem(get: Get) -> str:
    """Return what the build makes of the data folder: "littlefs", "spiffs", or nothing where nothing can be made."""
    if is_pico(get):
        return "" if _NOTHING.fullmatch(get(FILESYSTEM_SIZE) or "0") else "littlefs"
    return get(FILESYSTEM) or DEFAULT_FILESYSTEM


def filesystem_options(get: Get) -> Mapping[str, str]:
    """Return the option that gives an environment a filesystem for certificates."""
    return {FILESYSTEM_SIZE: PICO_SIZE} if is_pico(get) else {FILESYSTEM: "littlefs"}
