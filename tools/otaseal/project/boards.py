"""Which family of chips an environment is for, and what its filesystem is called there: told without a build.

With certainty only a build knows, where PlatformIO has the board's file: its hooks ask that. Here the platform's name
decides, and where it comes from a place of another name, the board's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..chips.families import FAMILIES, Family
from .config import entries

FILESYSTEM, FILESYSTEM_SIZE = "board_build.filesystem", "board_build.filesystem_size"
DEFAULT_FILESYSTEM = "spiffs"
"""Of the platforms for the ESP8266 and the ESP32, in which no certificates of ours lie (F15)."""
PICO_SIZE = "1m"
"""Half of the smallest flash, so that an update fits beside the certificates (F55); by default there is none."""
ESP8266, ESP32, PICO = FAMILIES["esp8266"], FAMILIES["esp32"], FAMILIES["pico"]
_FAMILY_OF_PLATFORM = {"espressif8266": ESP8266, "espressif32": ESP32, "raspberrypi": PICO}
_NAMES = "|".join(_FAMILY_OF_PLATFORM)
_PLATFORM = re.compile(rf"(?:platform-|\A(?:[\w-]+/)?)({_NAMES})")
_FOLDER = re.compile(rf"({_NAMES})[^/\\]*\Z")
_REGISTRY = re.compile(r"[\w-]+(?:\s*@.*)?")
"""A platform of PlatformIO's registry, and not one from a folder, an archive or a repository."""
_BOARDS = ((re.compile(r"rpipico|.*rp2(040|350)"), PICO), (re.compile(r".*esp(-wrover|32)"), ESP32))
_NOTHING = re.compile(r"0*(\.0*)?[kmb]*", re.I)

Get = Callable[[str], "str | None"]
"""Returns an option of the environment, None where it is unset."""


def family(get: Get) -> Family | None:
    """Return the family of chips that an environment is for, None for another one."""
    platform = (get("platform") or "").lower().partition("#")[0]
    named = _PLATFORM.findall(platform) or _FOLDER.findall(platform)
    if named:
        return _FAMILY_OF_PLATFORM[named[-1]]
    board = (get("board_build.mcu") or get("board") or "").lower()
    by_board = (row for pattern, row in _BOARDS if pattern.match(board))
    return next(by_board, None if _REGISTRY.fullmatch(platform) else ESP8266)


def obstacle(get: Get) -> str:
    """Return why nothing of otaseal works in an environment, empty where it does."""
    framework = get("framework")
    if family(get) is None:
        return f"its platform is '{get('platform')}', and otaseal works on the ESP8266, the ESP32 and the Pico"
    if framework and "arduino" not in entries(framework.replace(",", "\n")):
        return f"its framework is '{framework}', and otaseal works with arduino"
    return ""


def filesystem(get: Get) -> str:
    """Return what the build makes of the data folder: "littlefs", "spiffs", or nothing where nothing can be made."""
    if family(get) is PICO:
        return "" if _NOTHING.fullmatch(get(FILESYSTEM_SIZE) or "0") else "littlefs"
    return get(FILESYSTEM) or default_filesystem(get)


def default_filesystem(get: Get) -> str:
    """Return what an environment for the ESP8266 or the ESP32 has where it names none (F75)."""
    return "littlefs" if "pioarduino" in (get("platform") or "").lower() else DEFAULT_FILESYSTEM


def filesystem_options(get: Get) -> Mapping[str, str]:
    """Return the option that gives an environment a filesystem for certificates."""
    return {FILESYSTEM_SIZE: PICO_SIZE} if family(get) is PICO else {FILESYSTEM: "littlefs"}
