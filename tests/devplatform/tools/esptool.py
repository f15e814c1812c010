"""Write a flash chip that is a file: `esptool.py --port flash.bin write_flash 0x0 firmware.bin 0x300000 littlefs.bin`.

The port's name is the file's; a chip that is not there yet is made, erased. Whole sectors are erased before they are
written, as on the chip. Unlike the real tool, this one refuses an image that could not start: whoever writes a gzip,
or something that is not an ESP8266 image, where the boot loader looks, has made a mistake that a test should see.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

FLASH_SIZE = 4 << 20
SECTOR = 4096
ERASED = b"\xff"
IMAGE_MAGIC = 0xE9
GZIP_MAGIC = b"\x1f\x8b"


class EsptoolError(Exception):
    """What the tool says and fails with."""


def open_flash(port: Path) -> bytearray:
    """Return the contents of the chip at `port`, a new one if there is none."""
    if not port.parent.is_dir():
        raise EsptoolError(f"could not open port '{port}': no such directory")
    return bytearray(port.read_bytes()) if port.exists() else bytearray(ERASED * FLASH_SIZE)


def write(flash: bytearray, address: int, image: bytes) -> None:
    """Erase the sectors that `image` touches from `address` on, and write it. Raises EsptoolError if it must not be."""
    if image.startswith(GZIP_MAGIC):
        raise EsptoolError(f"the file for {address:#010x} is a gzip: the boot loader starts no such thing")
    if address == 0 and image[:1] != bytes([IMAGE_MAGIC]):
        raise EsptoolError(f"the file for {address:#010x} is not an ESP8266 image: it begins with {image[:1].hex()!r}")
    if address % SECTOR:
        raise EsptoolError(f"address {address:#010x} is not the start of a sector")
    if address + len(image) > len(flash):
        raise EsptoolError(f"{len(image)} bytes at {address:#010x} do not fit into {len(flash)} bytes of flash")
    flash[address : address + len(image)] = image
    rest = -len(image) % SECTOR
    flash[address + len(image) : address + len(image) + rest] = ERASED * rest


def write_flash(flash: bytearray, pairs: list[str]) -> None:
    if not pairs or len(pairs) % 2:
        raise EsptoolError(f"write_flash takes pairs of address and file, not {pairs}")
    end = 0
    for address, name in sorted((int(pairs[n], 0), pairs[n + 1]) for n in range(0, len(pairs), 2)):
        image = Path(name).read_bytes()
        if address < end:
            raise EsptoolError(f"the file for {address:#010x} overlaps the one before it")
        end = address + len(image)
        write(flash, address, image)
        print(f"Wrote {len(image)} bytes at {address:#010x} in 0.0 seconds, md5 {hashlib.md5(image).hexdigest()}...")
        print("Hash of data verified.")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="write a flash chip that is a file")
    parser.add_argument("--chip", choices=["esp8266", "auto"], default="auto")
    parser.add_argument("--port", type=Path, required=True, help="the file")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("--before", default="default_reset")
    parser.add_argument("--after", default="hard_reset")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("erase_flash")
    writing = commands.add_parser("write_flash")
    for option in ("--flash_mode", "--flash_freq", "--flash_size", "-fm", "-ff", "-fs"):
        writing.add_argument(option, help="accepted, and the image's own is kept")
    writing.add_argument("--compress", "-z", action="store_true")
    writing.add_argument("pairs", nargs="+", metavar="address file")
    return parser


def main() -> int:
    args = arguments().parse_args()
    print("esptool.py v3.0 (a file in the place of a chip)")
    print(f"Serial port {args.port}")
    try:
        flash = open_flash(args.port)
        print(f"Connecting....\nChip is ESP8266EX\nAuto-detected Flash size: {len(flash) >> 20}MB")
        if args.command == "erase_flash":
            flash[:] = ERASED * len(flash)
            print("Chip erase completed successfully in 0.0s")
        else:
            write_flash(flash, args.pairs)
        args.port.write_bytes(flash)
    except (EsptoolError, OSError, ValueError) as error:
        print(f"A fatal error occurred: {error}", file=sys.stderr)
        return 2
    print("Leaving...\nHard resetting via RTS pin...")
    return 0


if __name__ == "__main__":
    sys.exit(main())
