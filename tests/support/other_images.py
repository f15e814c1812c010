"""Files that people take for firmware of the ESP8266 and that are none, made as their formats say."""

from __future__ import annotations

import hashlib
import struct
from functools import reduce

ESP32, ESP32_C3, ESP32_S3 = 0, 5, 9
_IRAM = 0x40080000
_MAPPED = {ESP32: (0x3F400020, 0x400D0020), 2: (0x3F000020, 0x40080020), 13: (0x42800020, 0x42000020)}
_LATER_MAPPED = (0x3C000020, 0x42000020)
_LATER, _LATER_RAM = (2, 18, 32), (0x4FF40000, 0x4FF50000)  # chips that have flash where others have RAM
"""Where flash is mapped to, data and code: of the ESP32, the -S2, the -C6, and those like the -C3 and the -S3."""


def esp32_image(
    chip: int = ESP32,
    *,
    application: bool = True,
    described: bool = True,
    at: tuple[int, int] | None = None,
    constants: bytes = b"",
    program: bytes = b"",
    flash: tuple[int, int] = (2, 0x20),
    padding: int = 0,
) -> bytes:
    """Return an image in the format of ESP-IDF: header of 24 bytes, segments, checksum, SHA-256.

    `described` puts the description of an application in front, as every application since ESP-IDF 3.3 has it; `at` are
    the addresses of what is loaded to RAM, `constants` what the code reads, `program` what runs in flash, and `flash`
    the header's mode and its size and speed. `padding` are the bytes of a segment that is not loaded, before what has
    to begin a page of flash.
    """
    description = struct.pack("<IIII32s32s", 0xABCD5432, 0, 0, 0, b"1.0", b"blink").ljust(256, b"\0")
    code = bytes(range(256)) * 40
    segments = [(address, code) for address in at or (_LATER_RAM if chip in _LATER else (_IRAM, 0x40078000))]
    if application:
        data, text = _MAPPED.get(chip, _LATER_MAPPED)
        read_only = (description if described else b"") + code + constants + bytes(-len(constants) % 4)
        moved = [(0, bytes(padding))] if padding else []
        mapped = [(data, read_only), *moved] if described else [*moved, (data, read_only)]
        segments = [*mapped, (text, program or code), *segments]
    out = struct.pack("<BBBBI", 0xE9, len(segments), *flash, _IRAM)
    out += struct.pack("<B3sHBHH4sB", 0xEE, b"", chip, 0, 0, 0xFFFF, b"", 1)
    checksum = 0xEF
    for address, data in segments:
        begins = len(out) + 8  # where flash is mapped to, it appears at the same place of a page
        place = address & ~0xFFFF | begins & 0xFFFF if address in (*_MAPPED.get(chip, ()), *_LATER_MAPPED) else address
        out += struct.pack("<II", place, len(data)) + data
        checksum = reduce(lambda value, byte: value ^ byte, data, checksum)
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return out + hashlib.sha256(out).digest()


def partition_table() -> bytes:
    """Return a table of three partitions, as ESP-IDF writes it at 0x8000."""
    rows = ((1, 2, 0x9000, 0x5000, b"nvs"), (1, 0, 0xE000, 0x2000, b"otadata"), (0, 0x10, 0x10000, 0x140000, b"app0"))
    return b"".join(struct.pack("<2sBBII16sI", b"\xaa\x50", *row, 0) for row in rows).ljust(0xC00, b"\xff")


def esp32_factory_image(boot_at: int = 0x1000, table_at: int = 0x8000) -> bytes:
    """Return boot loader, partition table and application as `merge-bin` lays them out."""
    out = (b"\xff" * boot_at + esp32_image(application=False)).ljust(table_at, b"\xff")
    return (out + partition_table()).ljust(0x10000, b"\xff") + esp32_image()


def spiffs(blocks: int = 16, *, block: int = 8192, counted: bool = False) -> bytes:
    """Return an empty SPIFFS with pages of 256 bytes; `counted`: its magic has the number of blocks in it (ESP32)."""
    made = b""
    for index in range(blocks):
        magic = (0x20140529 ^ 256 ^ (blocks - index if counted else 0)) & 0xFFFF
        made += b"\xff" * 252 + struct.pack("<H", magic) + b"\0\0" + b"\xff" * (block - 256)
    return made


def sdk_image() -> bytes:
    """Return an image that the boot ROM loads by itself, such as NodeMCU's: one part, code at 0x1000."""
    out = struct.pack("<BBBBI", 0xE9, 1, 0, 0, 0x40100000) + struct.pack("<II", 0x40100000, 0x6000)
    out += bytes(index * 7 % 251 for index in range(0x6000))
    return out + bytes(15 - len(out) % 16) + b"\xef"


def uf2(family: int | None = None) -> bytes:
    """Return one block of a UF2 file."""
    head = struct.pack("<IIIIIIII", 0x0A324655, 0x9E5D5157, 0x2000 if family else 0, 0x10000000, 256, 0, 1, family or 0)
    return (head + bytes(range(256))).ljust(508, b"\0") + struct.pack("<I", 0x0AB16F30)
