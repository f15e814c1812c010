"""The partition table that the last build made for an ESP32: where updates go, and where the certificates lie."""

from __future__ import annotations

from collections.abc import Iterator

from .. import files
from ..chips import esp32_partitions
from ..chips.esp32_partitions import Partition
from ..project import partitions
from .report import CheckResult, Subject, ok, problem, skipped

NAME = "partitions.bin"
MAX_SIZE = 64 * 1024
DATA, OTADATA = 1, 0
FILESYSTEMS = (0x81, 0x82, 0x83)
"""Subtypes of FAT, of SPIFFS, which LittleFS lies in, too, and of LittleFS."""


def built(subject: Subject) -> Iterator[CheckResult]:
    """Look for two slots with room for the firmware, for otadata, and for a filesystem (F85, F87)."""
    project = subject.project
    if project.family is None or not project.family.slots:
        return
    path = project.firmware.with_name(NAME)
    if not path.is_file():
        yield skipped(f"there is no '{NAME}' of a build yet")
        return
    rows = esp32_partitions.parse(files.read_bounded(path, MAX_SIZE, "partition table"))
    slots, found = esp32_partitions.update_slots(rows), list(_lacking(rows))
    size = project.firmware.stat().st_size if project.firmware.is_file() else 0
    smallest = min((slot.size for slot in slots), default=0)
    if len(slots) < 2:
        yield problem(partitions.NO_ROOM.format(NAME), partitions.ADVICE)
    elif size > smallest:
        yield problem(
            f"the firmware has {size} bytes, a slot {smallest}", "choose board_build.partitions with larger ones"
        )
    elif not found:
        yield ok(f"{len(slots)} slots of {smallest} bytes, otadata, and a filesystem")
    yield from found


def _lacking(rows: tuple[Partition, ...]) -> Iterator[CheckResult]:
    """Return a problem for each part of the flash that an update or the certificates need, and is not there."""
    data = {row.subtype for row in rows if row.kind == DATA}
    if OTADATA not in data:
        yield problem("there is no otadata in the partition table: nothing says which slot to start", partitions.ADVICE)
    if data.isdisjoint(FILESYSTEMS):
        yield problem(
            "there is no filesystem in the partition table, and certificates have no place",
            "choose board_build.partitions with one",
        )
