"""Make a LittleFS image of a directory: `mklittlefs.py -c data -p 256 -b 8192 -s 1024000 littlefs.bin`.

The disk version is 2.0, the only one that the ESP8266's core mounts (F15b), unless another is asked for, and the block
count fills the partition exactly.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from littlefs import LittleFS, LittleFSError

NO_SPACE = 28


def build(directory: Path, page: int, block: int, size: int, version: str) -> bytes:
    """Return an image of `size` bytes with all of `directory`; every file's name is printed as it goes in."""
    if size <= 0 or size % block:
        raise ValueError(f"image size {size} is not a multiple of the block size {block}")
    major, minor = version.split(".")
    filesystem = LittleFS(
        block_size=block,
        block_count=size // block,
        read_size=page,
        prog_size=page,
        cache_size=page,
        lookahead_size=page,
        name_max=32,
        disk_version=int(major) << 16 | int(minor),
    )
    for path in sorted(directory.rglob("*")):
        name = "/" + path.relative_to(directory).as_posix()
        if path.is_dir():
            filesystem.mkdir(name)
            continue
        print(name)
        with filesystem.open(name, "wb") as file:
            file.write(path.read_bytes())
    return bytes(filesystem.context.buffer)


def main() -> int:
    parser = argparse.ArgumentParser(description="make a LittleFS image of a directory")
    parser.add_argument("-c", dest="directory", type=Path, required=True, help="directory to pack")
    parser.add_argument("-p", dest="page", type=int, default=256, help="page size in bytes")
    parser.add_argument("-b", dest="block", type=int, default=4096, help="block size in bytes")
    parser.add_argument("-s", dest="size", type=int, default=65536, help="image size in bytes")
    parser.add_argument("--disk-version", default="2.0")
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    if not args.directory.is_dir():
        print(f"error: can't read source directory '{args.directory}'", file=sys.stderr)
        return 1
    try:
        image = build(args.directory, args.page, args.block, args.size, args.disk_version)
        args.image.write_bytes(image)
    except LittleFSError as error:
        reason = "the image is full" if error.code == -NO_SPACE else os.strerror(-error.code)
        print(f"error adding file: {reason}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
