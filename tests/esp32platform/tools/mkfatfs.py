"""Make a FAT image of a directory: `mkfatfs.py -c data -s 1437696 fatfs.bin`, as pioarduino with `--wear-levelling`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.fat_images import fat_image


def main() -> int:
    parser = argparse.ArgumentParser(description="make a FAT image of a directory")
    parser.add_argument("-c", dest="directory", type=Path, required=True, help="directory to pack")
    parser.add_argument("-s", dest="size", type=int, required=True, help="image size in bytes")
    parser.add_argument("-p", "-b", help="page and block size, which FAT has not")
    parser.add_argument("--wear-levelling", action="store_true")
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    files = {path.name: path.read_bytes() for path in sorted(args.directory.iterdir()) if path.is_file()}
    args.image.write_bytes(fat_image(files, args.size, wear_levelling=args.wear_levelling))
    return 0


if __name__ == "__main__":
    sys.exit(main())
