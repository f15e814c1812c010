"""PlatformIO's platforms that the hooks work on: a table, one row a family of chips, chosen by the chip of the board.

A row has what one builder calls otherwise than the other one, or does otherwise (F70 to F76).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..chips.families import FAMILIES
from ..errors import ConfigError


@dataclass(frozen=True)
class Platform:
    """A family of `chips`, called `name` in messages, and the platform that builds for it."""

    name: str
    chips: tuple[str, ...]
    """What boards of it say in build.mcu."""
    core: str
    """What they say in build.core."""
    release: str
    """The first release with the nodes and variables that hooks look for."""
    image_name: str
    """The variable with the name of the filesystem image."""
    filesystem: str
    """The only kind of filesystem that it makes; empty where a project chooses."""
    room: str
    """What gives a project a larger filesystem."""
    protocol: str
    """The upload protocol whose program `uploadall` runs."""
    instead: str
    """What to do about `uploadall` where a project has set another protocol."""
    cable: re.Pattern[str]
    """Finds in a command line the programs that write a chip by cable."""
    uploadall: tuple[str, ...]
    """The commands that write both; sources: the firmware as a boot ROM starts it, the filesystem, the ELF."""
    verifier: str
    """The library with the core's verifier; empty where the OtaSeal library verifies, and no core."""
    updater: tuple[str, ...] = ()
    """Patterns of the sources that include the key's header, where they are libraries with a header of that name."""
    signs: bool = False
    """Whether the builder signs by itself."""


def _programs(names: str) -> re.Pattern[str]:
    """Return the pattern of a program in a command line, by its name or its path."""
    return re.compile(rf"""(?:^|[\s"'/\\])(?:{names})(?:\.py|\.exe)?(?=["'\s]|$)""")


_ESPTOOL = "use upload_protocol = esptool, with a serial port: pio run -t uploadall --upload-port <port>"
ESP8266 = Platform(
    name="ESP8266",
    chips=FAMILIES["esp8266"].chips,
    core="esp8266",
    release="espressif8266 2.6.0",
    image_name="ESP8266_FS_IMAGE_NAME",
    filesystem="",
    room="a board_build.ldscript with a larger filesystem",
    protocol="esptool",
    instead=_ESPTOOL,
    cable=_programs("esptool"),
    uploadall=('"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS 0x0 ${SOURCES[0]} $FS_START ${SOURCES[1]}',),
    verifier="ESP8266WiFi",
)
PICO = Platform(
    name="Raspberry Pi Pico",
    chips=FAMILIES["pico"].chips,
    core="earlephilhower",
    release="raspberrypi (maxgerhardt) of October 2024",
    image_name="PICO_FS_IMAGE_NAME",
    filesystem="littlefs",
    room="a larger board_build.filesystem_size, as 1m",
    protocol="picotool",
    instead="use upload_protocol = picotool, or with a debug probe: pio run -t uploadfs, then pio run -t upload",
    cable=_programs("picotool|openocd|JLink(?:Exe)?|arm-none-eabi-gdb"),
    uploadall=(
        '"$UPLOADER" load --verify ${SOURCES[2]}',
        '"$UPLOADER" load --verify ${SOURCES[1]} --offset ${hex(FS_START)}',
        '"$UPLOADER" reboot',
    ),
    verifier="WiFi",
    updater=("*/Updater.cpp", "*/BearSSLHelpers.cpp"),
    signs=True,
)
ESP32 = Platform(
    name="ESP32",
    chips=FAMILIES["esp32"].chips,
    core="esp32",
    release="espressif32 6.0, or pioarduino's 53.03",
    image_name="ESP32_FS_IMAGE_NAME",
    filesystem="",
    room="board_build.partitions with a larger filesystem",
    protocol="esptool",
    instead=_ESPTOOL,
    cable=_programs("esptool|openocd|dfu-util"),
    # Boot loader, partition table and boot_app0 are in the flags, the place of the firmware comes before $SOURCE.
    uploadall=("$UPLOADCMD $FS_START ${SOURCES[1]}",),
    verifier="",
)
_ROWS = (ESP8266, PICO, ESP32)


def of(env: Any) -> Platform:
    """Return the row of this build's board; raises ConfigError for a chip or a core that nothing is made for."""
    if "BOARD" not in env:
        return ESP8266  # a build for the host, which has no firmware
    board = env.BoardConfig()
    mcu, core = str(board.get("build.mcu", "")), str(board.get("build.core", ""))
    for row in _ROWS:
        if mcu in row.chips:
            if row.signs and core != row.core:
                raise ConfigError(
                    f"board '{board.id}' is built with the core '{core}', which cannot update itself",
                    f"set board_build.core = {row.core}, with the platform {row.release}",
                )
            return row
    known = ", ".join(mcu for row in _ROWS for mcu in row.chips)
    raise ConfigError(
        f"board '{board.id}' has the chip '{mcu}', for which otaseal makes nothing",
        f"attach otaseal's scripts in environments for these only: {known}",
    )
