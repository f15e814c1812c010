"""Make a Pico's image of a program linked for the host: `picoimage.py -O binary firmware.elf firmware.bin`.

The image is laid out as arduino-pico's linker scripts do it. Its code is the host program's sections, so that what was
compiled in (a public key, a version) is in the image. The same program gives the same image.
"""

from __future__ import annotations

import argparse
import runpy
import struct
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
_elf2bin = runpy.run_path(str(TESTS / "devplatform" / "tools" / "elf2bin.py"))
elf_sections, padded = _elf2bin["elf_sections"], _elf2bin["padded"]
_pico = runpy.run_path(str(TESTS / "support" / "pico_images.py"))
build_image, FLASH = _pico["build_image"], _pico["FLASH"]

NOT_OF_THE_CHIP = (".interp", ".eh_frame", ".note", ".gcc_except", ".chip.", ".partition")


def chip_of(elf: bytes) -> str:
    """Return which chip a program is for, as its linker script says it with a section of its own."""
    names = (section.name for section in elf_sections(elf))
    found = next((name for name in names if name.startswith(".chip.")), None)
    if found is None:
        raise ValueError("not linked with one of the platform's scripts")
    return str(found).removeprefix(".chip.")


def image_of(elf: bytes) -> bytes:
    """Return the image of a program."""
    sections = list(elf_sections(elf))
    places = next(section.data for section in sections if section.name == ".partition")
    start, end = struct.unpack_from("<2I", places)
    code = b"".join(padded(section.data) for section in sections if not section.name.startswith(NOT_OF_THE_CHIP))
    image: bytes = build_image(chip_of(elf), filesystem=(start - FLASH, end - start), code=code)
    return image


def main() -> int:
    parser = argparse.ArgumentParser(description="make a Pico's image of a program linked for the host")
    parser.add_argument("-O", dest="form", choices=["binary"], required=True)
    parser.add_argument("program", type=Path)
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    try:
        args.image.write_bytes(image_of(args.program.read_bytes()))
    except (OSError, ValueError, IndexError, struct.error) as error:
        print(f"picoimage: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
