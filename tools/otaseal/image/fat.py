"""One file out of a FAT image, read as FatFs of ESP-IDF reads it; a build has no other reader of its own.

Layout: Microsoft's FAT specification 1.03, FAT12 and FAT16, files in the root directory by their short names, whose
case does not count. In a partition with ESP-IDF's wear levelling the volume begins behind one sector of 4096 bytes; the
official platform's image begins there (F75). Bytes in, bytes out; any bytes give a file, None, or an InputError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import InputError

_PARAMETERS = struct.Struct("<HBHBHHBHHHII")
"""From byte 11 of the boot sector: bytes a sector, sectors a cluster, reserved sectors, tables, root entries, sectors,
media, sectors a table, three that are not needed, and the sectors of a large volume.
"""
ENTRY, DELETED, END = 32, 0xE5, 0
NO_FILE = 0x18
"""Attributes of a directory and of a volume's label; a part of a long name has the latter, too."""
WEAR_LEVELLING = 4096
MAX_FAT12, MAX_FAT16 = 4084, 65524
"""Clusters; more of them is FAT32, for which no chip has the flash."""


@dataclass(frozen=True)
class _Volume:
    content: bytes
    sector: int
    cluster: int
    """Both in bytes."""
    table_at: int
    root_at: int
    root_size: int
    data_at: int
    clusters: int

    def chain(self, first: int) -> bytes:
        """Return the clusters of a file; raises InputError where they lead nowhere, or around."""
        data, number = bytearray(), first
        for _ in range(self.clusters):
            if not 2 <= number < self.clusters + 2:
                break
            at = self.data_at + (number - 2) * self.cluster
            data += self.content[at : at + self.cluster]
            number = self._next(number)
        return bytes(data)

    def _next(self, number: int) -> int:
        if self.clusters <= MAX_FAT12:
            at = self.table_at + number * 3 // 2
            pair = int.from_bytes(self.content[at : at + 2], "little")
            return pair >> 4 if number % 2 else pair & 0xFFF
        at = self.table_at + number * 2
        return int.from_bytes(self.content[at : at + 2], "little")


def read_file(content: bytes, name: str) -> bytes | None:
    """Return the file `name`, as in "certs.ar", of the root directory of a volume, None if there is none.

    Raises InputError for what ESP-IDF would not mount, and for a file that is cut short.
    """
    volume = _mount(content if _is_volume(content) else content[WEAR_LEVELLING:])
    stem, _, ending = name.upper().partition(".")
    wanted = stem.encode().ljust(8) + ending.encode().ljust(3)
    for at in range(volume.root_at, volume.root_at + volume.root_size, ENTRY):
        entry = volume.content[at : at + ENTRY]
        if len(entry) < ENTRY or entry[0] == END:
            return None
        if entry[0] != DELETED and entry[:11] == wanted and not entry[11] & NO_FILE:
            first, size = struct.unpack("<HI", entry[26:])
            data = volume.chain(first)
            if len(data) < size:
                raise InputError(f"'{name}' has {len(data)} of {size} bytes", "make the image again")
            return data[:size]
    return None


def _is_volume(content: bytes) -> bool:
    return content[:1] in (b"\xeb", b"\xe9") and content[510:512] == b"\x55\xaa"


def _mount(content: bytes) -> _Volume:
    if not _is_volume(content):
        raise InputError("it has no FAT boot sector", "make the image again, for the same partition table")
    values = _PARAMETERS.unpack_from(content, 11)
    sector, per_cluster, reserved, tables, entries, few, _, table_size = values[:8]
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or not tables or not table_size:
        raise InputError("its boot sector describes no FAT volume", "make the image again")
    root = reserved + tables * table_size
    data = root + -(-entries * ENTRY // sector)
    clusters = ((few or values[-1]) - data) // per_cluster
    if not 0 < clusters <= MAX_FAT16:
        raise InputError(f"it is no FAT12 or FAT16 volume: {clusters} clusters", "make the partition smaller")
    return _Volume(
        content,
        sector,
        cluster=per_cluster * sector,
        table_at=reserved * sector,
        root_at=root * sector,
        root_size=entries * ENTRY,
        data_at=data * sector,
        clusters=clusters,
    )
