"""The order page: what `PicoOTA` leaves in `otacommand.bin`, and the boot stub reads there (ota/ota_command.h)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..updater import GZIP_MAGIC
from .chip import FLASH

FIRMWARE, ORDER = "firmware.bin", "otacommand.bin"
SIGN = b"Pico OTA"
WRITE = 1
MOST = 8
LENGTH_WORD = 4
_HEAD = struct.Struct("<8sI")
_ENTRY = struct.Struct("<I64sIII")
SIZE = _HEAD.size + MOST * _ENTRY.size + 4


@dataclass(frozen=True)
class Write:
    """One line of an order: `length` bytes of a `file`, unpacked where it is a gzip, go to the flash address."""

    file: bytes
    offset: int
    length: int
    address: int


def make_order(stored: bytes) -> bytes:
    """Return the page for a firmware file with this content, as `addFile` and `commit` write it.

    For a gzip the length is what stands in the file's last four bytes. What is too short for that is no line.
    """
    entries, packed = b"", stored.startswith(GZIP_MAGIC)
    if len(stored) >= (LENGTH_WORD if packed else len(GZIP_MAGIC)):
        length = int.from_bytes(stored[-LENGTH_WORD:], "little") if packed else len(stored)
        entries = _ENTRY.pack(WRITE, FIRMWARE.encode(), 0, length, FLASH)
    page = _HEAD.pack(SIGN, int(bool(entries))) + entries.ljust(MOST * _ENTRY.size, b"\0")
    return page + struct.pack("<I", zlib.crc32(page))


def read_order(page: bytes) -> Sequence[Write]:
    """Return the lines of a page; none where it is damaged, or no order at all."""
    if len(page) < SIZE or page[: len(SIGN)] != SIGN or zlib.crc32(page[: SIZE - 4]) != _last_word(page):
        return ()
    _, count = _HEAD.unpack_from(page)
    entries = (_ENTRY.unpack_from(page, _HEAD.size + at * _ENTRY.size) for at in range(min(count, MOST)))
    return tuple(Write(name.partition(b"\0")[0], *rest) for command, name, *rest in entries if command == WRITE)


def _last_word(page: bytes) -> int:
    return int.from_bytes(page[SIZE - 4 : SIZE], "little")
