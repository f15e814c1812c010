"""Whether the flash of an ESP32 has a place for an update, a second slot, as far as platformio.ini says it.

Arduino's builders look for a partition table among the core's, then in the project. Of the core's own those with one
slot are known here by name, for before the first build the core may not be installed.
"""

from __future__ import annotations

import re
from pathlib import Path

from .. import files
from . import boards
from .boards import Get

OPTIONS = ("board_build.partitions", "board_build.arduino.partitions")
"""What names a table, in the builders' order."""
TWO_SLOTS = "min_spiffs.csv"
"""The core's table for 4 MiB of flash with the largest two slots and a filesystem."""
NO_ROOM = "'{}' has one slot for firmware, and an update goes into a second one"
ADVICE = f"set {OPTIONS[0]} to a table with two, as {TWO_SLOTS}, and write it by cable"
MAX_SIZE = 64 * 1024
_ONE_SLOT = re.compile(r"huge_app|max_app|no_?o?ta|1ota|bare_minimum|\Aminimal\.|insights|zigbee.*_2MB")
"""Finds the tables of arduino-esp32 1.0 to 3.3 with one slot."""
_ONE_SLOT_BOARDS = frozenset(
    ("adafruit_camera_esp32s3", "esp32cam", "labplus_mpython", "nina_w10", "oroca_edubot", "watchy")
)
"""Boards of both platforms whose own choice is such a table."""


def one_slot(get: Get, folder: Path) -> str:
    """Return the partition table, or the board, by which the project in `folder` has one slot and no room for updates.

    Empty where there are two, where nothing tells, and for another chip. Raises InputError for a table that cannot be
    read.
    """
    if boards.family(get) is not boards.ESP32:
        return ""
    table = next(filter(None, map(get, OPTIONS)), "")
    if not table:
        board = get("board") or ""
        return board if board in _ONE_SLOT_BOARDS else ""
    path = files.resolve_path(table, folder)
    return table if (len(_slots(path)) < 2 if path.is_file() else _ONE_SLOT.search(table)) else ""


def _slots(path: Path) -> set[str]:
    """Return the kinds of slots for updates in a table: lines of name, type, subtype, offset, size (ESP-IDF)."""
    lines = files.read_bounded(path, MAX_SIZE, "partition table").decode(errors="replace").splitlines()
    rows = [[cell.strip().lower() for cell in line.split(",")] for line in lines if not line.strip().startswith("#")]
    applications = (row[2] for row in rows if len(row) > 4 and row[1] in ("app", "0"))
    return {subtype for subtype in applications if re.fullmatch(r"ota_\d+|0x1[0-9a-f]", subtype)}
