"""Make a SPIFFS image of a directory: `mkspiffs.py -c data -p 256 -b 8192 -s 1024000 spiffs.bin`.

In the configuration of the ESP8266's Arduino core: ids, spans and pages of 16 bits, names of 32 bytes, no metadata, the
magic number without the length; with `--esp32` in that of the ESP32's: four bytes of metadata, and the magic has the
number of blocks in it. The real mkspiffs (its build for the ESP8266) lists and unpacks what is made here; it leaves
pages behind that were written and deleted again, which there are none of here.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

MAGIC = 0x0529
HEADER = 5
DATA, LAST_INDEX = 0xFC, 0xF8  # flags: a bit that is 0 is true
NAME_SIZE = 32


class FullError(Exception):
    """There are more files than the image has room for."""


class Image:
    """An erased SPIFFS whose pages are given out one after the other."""

    def __init__(self, page: int, block: int, size: int, *, esp32: bool = False) -> None:
        self.page, self.block = page, block
        self.behind_name = bytes(4) if esp32 else b"\xff"
        self.content = bytearray(b"\xff" * size)
        self.lookups = max(1, block // page * 2 // page)
        for start in range(0, size, block):
            left = (size - start) // block if esp32 else 0
            struct.pack_into("<2H", self.content, start + self.lookups * page - 4, MAGIC ^ page ^ left, 0)
        per_block = block // page
        # Two blocks stay free, because the device collects garbage into them.
        blocks = range(size // block - 2)
        self.free = [block * per_block + n for block in blocks for n in range(self.lookups, per_block)]

    def put(self, object_id: int, span: int, flags: int, body: bytes) -> int:
        """Write the next free page; return its number."""
        if not self.free:
            raise FullError
        number = self.free.pop(0)
        block, place = divmod(number, self.block // self.page)
        struct.pack_into("<H", self.content, block * self.block + 2 * (place - self.lookups), object_id)
        page = struct.pack("<HHB", object_id, span, flags) + body
        self.content[number * self.page : number * self.page + len(page)] = page
        return number

    def add(self, object_id: int, name: bytes, data: bytes) -> None:
        """Write a file: its data pages, then the pages of its index."""
        room = self.page - HEADER
        pieces = [data[start : start + room] for start in range(0, len(data), room)]
        pages = [self.put(object_id, span, DATA, piece) for span, piece in enumerate(pieces)]
        size = len(data) or 0xFFFFFFFF
        head = struct.pack("<3xIB", size, 1) + name.ljust(NAME_SIZE, b"\0") + self.behind_name
        first, other = (self.page - HEADER - len(head)) // 2, (self.page - 8) // 2
        tables = [pages[:first], *(pages[start : start + other] for start in range(first, len(pages), other))]
        for span, table in enumerate(tables):
            start = head if span == 0 else bytes(3)
            self.put(object_id | 0x8000, span, LAST_INDEX, start + struct.pack(f"<{len(table)}H", *table))


def build(directory: Path, page: int, block: int, size: int, *, esp32: bool = False) -> bytes:
    """Return an image of `size` bytes with all files below `directory`; every name is printed as it goes in."""
    image = Image(page, block, size, esp32=esp32)
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    for number, path in enumerate(files, 1):
        name = "/" + path.relative_to(directory).as_posix()
        print(name)
        if len(name.encode()) >= NAME_SIZE:
            raise ValueError(f"'{name}' has more than {NAME_SIZE - 1} bytes")
        image.add(number, name.encode(), path.read_bytes())
    return bytes(image.content)


def main() -> int:
    parser = argparse.ArgumentParser(description="make a SPIFFS image of a directory")
    parser.add_argument("-c", dest="directory", type=Path, required=True, help="directory to pack")
    parser.add_argument("-p", dest="page", type=int, default=256, help="page size in bytes")
    parser.add_argument("-b", dest="block", type=int, default=4096, help="block size in bytes")
    parser.add_argument("-s", dest="size", type=int, default=65536, help="image size in bytes")
    parser.add_argument("--esp32", action="store_true", help="as the ESP32's core has it configured")
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    if not args.directory.is_dir():
        print(f"error: can't read source directory '{args.directory}'", file=sys.stderr)
        return 1
    try:
        args.image.write_bytes(build(args.directory, args.page, args.block, args.size, esp32=args.esp32))
    except FullError:
        print("error adding file: the image is full", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
