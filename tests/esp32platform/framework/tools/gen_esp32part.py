"""Make a partition table of its text: `gen_esp32part.py -q table.csv partitions.bin`, with its MD5 at the end."""

from __future__ import annotations

import argparse
import hashlib
import struct
from pathlib import Path

TYPES = {"app": 0, "data": 1}
SUBTYPES = {
    "factory": 0x00,
    "ota": 0x00,
    "phy": 0x01,
    "nvs": 0x02,
    "coredump": 0x03,
    "fat": 0x81,
    "spiffs": 0x82,
    "littlefs": 0x83,
    **{f"ota_{number}": 0x10 + number for number in range(16)},
}
TABLE_SIZE, FIRST = 0xC00, 0x9000


def number(text: str) -> int:
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 0)
    return int(text[:-1]) * unit if unit else int(text, 0)


def table_of(text: str) -> bytes:
    rows, end = b"", FIRST
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if line.strip().startswith("#") or len(fields) < 5:
            continue
        label, kind, subtype, offset, size = fields[:5]
        bound = 0x10000 if kind == "app" else 0x1000
        start = number(offset) if offset else -(-end // bound) * bound
        end = start + number(size)
        subtype_number = SUBTYPES[subtype] if subtype in SUBTYPES else number(subtype)
        place = start, end - start, label.encode(), 0
        rows += struct.pack("<2sBBII16sI", b"\xaa\x50", TYPES[kind], subtype_number, *place)
    return (rows + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows).digest()).ljust(TABLE_SIZE, b"\xff")


def main() -> None:
    parser = argparse.ArgumentParser(description="make a partition table of its text")
    parser.add_argument("-q", action="store_true")
    parser.add_argument("text", type=Path)
    parser.add_argument("table", type=Path)
    args = parser.parse_args()
    args.table.write_bytes(table_of(args.text.read_text("utf-8")))


if __name__ == "__main__":
    main()
