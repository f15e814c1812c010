"""Make an ESP8266 image of a program linked for the host: `elf2bin.py --app firmware.elf --out firmware.bin`.

The format is the chip's own: a boot block up to 0x1000, and there the application: header, segments, checksum. The
contents of the segments are the host program's sections, so that what was compiled in (a public key, a version) is in
the image. The same program gives the same image. Standard library only.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAGIC = 0xE9
CHECKSUM_SEED = 0xEF
APP_START = 0x1000
BOOT_PADDING = b"\xaa"
FLASH_MODES = {"qio": 0, "qout": 1, "dio": 2, "dout": 3}
FLASH_FREQUENCIES = {"40": 0, "26": 1, "20": 2, "80": 15}
FLASH_SIZES = {"512K": 0, "256K": 1, "1M": 2, "2M": 3, "4M": 4, "8M": 8, "16M": 9}

BOOT_ENTRY = 0x4010F000
IROM_ADDRESS = 0x40201010  # flash 0x1010: where the first segment's data lies
IRAM_ADDRESS = 0x40100000
DRAM_ADDRESS = 0x3FFE8000


class Core(NamedTuple):
    """Where a core release keeps length and CRC, and the first 32 bits of its commit."""

    crc_in_app: bool
    commit: int


CORES = {
    "2.7.4": Core(False, 0x2843A5AC),
    "3.0.2": Core(True, 0xCF6FF4C4),
    "3.1.2": Core(True, 0x210897EF),
}


class Section(NamedTuple):
    name: str
    data: bytes
    writable: bool
    executable: bool


class Segment(NamedTuple):
    address: int
    data: bytes


def elf_sections(elf: bytes) -> Iterator[Section]:
    """Yield the sections of a little-endian 64- or 32-bit ELF file that hold bytes of the running program."""
    if elf[:4] != b"\x7fELF" or elf[5] != 1:
        raise ValueError("not a little-endian ELF file")
    wide = elf[4] == 2
    table = struct.unpack_from("<Q" if wide else "<I", elf, 0x28 if wide else 0x20)[0]
    step, count, names_index = struct.unpack_from("<3H", elf, 0x3A if wide else 0x2E)
    layout = struct.Struct("<IIQQQQ" if wide else "<IIIIII")  # name, type, flags, address, offset, size
    headers = [layout.unpack_from(elf, table + index * step) for index in range(count)]
    names = headers[names_index][4]
    for name, kind, flags, _, offset, size in headers:
        if kind != 1 or not flags & 2:  # SHT_PROGBITS, SHF_ALLOC
            continue
        text = elf[names + name : elf.index(b"\0", names + name)].decode()
        yield Section(text, elf[offset : offset + size], bool(flags & 1), bool(flags & 4))


def segments_of(elf: bytes, core: Core) -> list[Segment]:
    """Return the five segments of a core's application: program and constants in flash, IRAM code, data, constants."""
    parts: dict[str, list[bytes]] = {"irom": [], "iram": [], "data": [], "rodata": []}
    for section in elf_sections(elf):
        if section.name.startswith((".interp", ".eh_frame", ".note", ".gcc_except")):
            continue  # the host's loader and debugger want them, the device has no such thing
        if section.name.startswith((".irom", ".progmem", ".text")):
            parts["irom"].append(padded(section.data))
        elif section.executable:
            parts["iram"].append(padded(section.data))
        else:
            parts["data" if section.writable else "rodata"].append(padded(section.data))
    words = [0, 0, core.commit] if core.crc_in_app else [core.commit]
    irom = struct.pack(f"<{len(words)}I", *words) + b"".join(parts["irom"])
    iram, data, rodata = (b"".join(parts[name]) for name in ("iram", "data", "rodata"))
    return [
        Segment(IROM_ADDRESS, irom),
        Segment(IRAM_ADDRESS, iram),
        Segment(IRAM_ADDRESS + len(iram), b""),  # .text1, empty as nearly always
        Segment(DRAM_ADDRESS, data),
        Segment(DRAM_ADDRESS + len(data), rodata),
    ]


def padded(data: bytes, alignment: int = 4) -> bytes:
    return data + bytes(-len(data) % alignment)


def boot_segments() -> list[Segment]:
    return [
        Segment(BOOT_ENTRY, padded(b"development platform for tests: no boot loader here\0")),
        Segment(DRAM_ADDRESS, padded(b"boots nothing\0")),
    ]


def image_of(segments: list[Segment], entry: int, flash: bytes) -> bytes:
    """Return header, segments, and the checksum as the last byte of a multiple of 16; `flash` is bytes 2 and 3."""
    image = bytearray(struct.pack("<BB2sI", MAGIC, len(segments), flash, entry))
    checksum = CHECKSUM_SEED
    for segment in segments:
        image += struct.pack("<II", segment.address, len(segment.data)) + segment.data
        for byte in segment.data:
            checksum ^= byte
    image += bytes(15 - len(image) % 16)
    image.append(checksum)
    return bytes(image)


def crc_of(data: bytes) -> int:
    """Return the CRC with polynomial 0x04c11db7 and start 0xffffffff, not reflected and not inverted (F30c).

    zlib's CRC is the reflected one of the same polynomial: bits reversed in every byte and in the result make it ours.
    """
    reversed_bytes = data.translate(bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256)))
    return int(f"{zlib.crc32(reversed_bytes) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def firmware_of(elf: bytes, core: Core, flash: bytes) -> bytes:
    boot = image_of(boot_segments(), BOOT_ENTRY, flash)
    entry = struct.unpack_from("<I", elf, 0x18)[0]
    whole = bytearray(boot.ljust(APP_START, BOOT_PADDING) + image_of(segments_of(elf, core), entry, flash))
    # Filled in last, and the checksum of zeros in their place stays, as in a real image: eboot asks for the CRC only.
    place = APP_START + 0x10 if core.crc_in_app else APP_START - 8
    struct.pack_into("<II", whole, place, 0, 0)
    struct.pack_into("<II", whole, place, len(whole), crc_of(bytes(whole)))
    return bytes(whole)


def compress(out: Path) -> None:
    """Put the gzip in the image's place and the image itself beside it as `.orig` (F9).

    The gzip's header names the file, as that of the core's own tool does; its time is zero, so that bytes repeat.
    """
    print(f"GZipping firmware {out}")
    original = out.with_name(out.name + ".orig")
    out.replace(original)
    plain = original.read_bytes()
    with out.open("wb") as file, gzip.GzipFile(out.name, "wb", fileobj=file, mtime=0) as packed:
        packed.write(plain)
    print(f"New FW size {out.stat().st_size} bytes vs old {len(plain)} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description="make an ESP8266 image of a program linked for the host")
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--flash_mode", choices=FLASH_MODES, required=True)
    parser.add_argument("--flash_freq", choices=FLASH_FREQUENCIES, required=True)
    parser.add_argument("--flash_size", choices=FLASH_SIZES, required=True)
    parser.add_argument("--core", choices=CORES, default="3.1.2", help="lay the image out as this release does")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gzip", choices=["PIO"])
    args = parser.parse_args()
    size_and_speed = FLASH_FREQUENCIES[args.flash_freq] | FLASH_SIZES[args.flash_size] << 4
    flash = bytes([FLASH_MODES[args.flash_mode], size_and_speed])
    print(f'Creating BIN file "{args.out}" using "{args.app}"')
    try:
        args.out.write_bytes(firmware_of(args.app.read_bytes(), CORES[args.core], flash))
    except (OSError, ValueError, IndexError, struct.error) as error:
        print(f"elf2bin: {error}", file=sys.stderr)
        return 1
    if args.gzip:
        compress(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
