"""What a file is that is not firmware to be signed, by its first bytes: a table, most telling row first.

So that a wrong file is called by its name, and not "damaged". Nothing is judged here: an image that one of the chips'
modules takes is in no row, unless Arduino's boot loader would not start it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError, counted
from . import esp32_files, pico
from .boot_image import segment_addresses, whole_part
from .esp32_files import PARTITION_MAGIC
from .limits import FIRMWARE

SECTOR = 4096
IMAGE_MAGIC = 0xE9
_WORD = struct.Struct("<I")

_HEADER_SIZE = 8
"""Of an image that an ESP8266's boot ROM loads."""

SPIFFS_PAGE = 256
SPIFFS_BLOCKS = (4096, 8192)
_SPIFFS_MAGIC = 0x20140529

EBOOT_FILLER, EBOOT_FILLER_AT = 0xAA, 0x0FF7
"""What elf2bin fills the boot loader's sector up with, and the last place of it that no core writes over."""

UF2_MAGIC, UF2_HAS_FAMILY = b"UF2\n", 0x2000
UF2_FAMILIES = {
    0xE48BFF56: "RP2040",
    0xE48BFF59: "RP2350",
    0xE48BFF5A: "RP2350, RISC-V",
    0xBFDD4EEE: "ESP32-S2",
    0xC47E5767: "ESP32-S3",
}
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,60})-----")
_TEXT_SIZE = 512

OTHER_CHIP = "the file is not damaged: give the firmware.bin that the build made beside it"
FILESYSTEM = "filesystems are not updated over the air: pio run -t uploadfs writes one by cable"
MERGED = "give firmware.bin alone, as the build made it: a device would write what follows the application, too"


@dataclass(frozen=True)
class FileKind:
    """A kind of file: its `name` for programs, what it is in words ("an ELF file"), and what to do instead."""

    name: str
    title: str
    hint: str

    def error(self, subject: str = "this is") -> InputError:
        """Return the error for such a file where firmware is wanted; `subject` begins the sentence."""
        return InputError(f"{subject} {self.title}, not firmware for an update", self.hint)


def recognize(data: bytes | memoryview) -> FileKind | None:
    """Return what `data` is, None for what is in no row, an ESP8266 image among others."""
    view = memoryview(data)
    for name, detect, hint in _ROWS:
        title = detect(view)
        if title:
            return FileKind(name, title, hint)
    return None


def behind(tail: bytes | memoryview, offset: int) -> FileKind:
    """Return what an image is that has `tail` behind its application, which ends at `offset`; `tail` is not empty."""
    view = memoryview(tail)
    first = -offset % SECTOR
    for start in range(first, len(view), SECTOR):
        found = _littlefs(view[start:]) or _spiffs(view[start:])
        if found:
            return FileKind("merged", f"a merged image: firmware, and {found} at 0x{offset + start:x}", MERGED)
    filling = {bytes(view[:1])} & {b"\xff", b"\0"}
    if filling and not bytes(view).strip(*filling):
        filler = f"{counted(len(view), 'byte')} of 0x{filling.pop().hex()}"
        title = f"firmware that was filled up: {filler} behind the application"
        return FileKind("padded", title, MERGED)
    return FileKind("surplus", f"firmware with {counted(len(view), 'byte')} too many, behind 0x{offset:x}", MERGED)


def _empty(view: memoryview) -> str:
    return "" if len(view) else "an empty file"


def _starts(magic: bytes, title: str, offset: int = 0) -> Callable[[memoryview], str]:
    return lambda view: title if view[offset : offset + len(magic)] == magic else ""


def _pico(view: memoryview) -> str:
    chip = pico.is_other_image(view)
    return "" if chip is None else f"an {chip.upper()} image without arduino-pico's boot stub, which copies updates"


def _other_esp8266(view: memoryview) -> str:
    """Recognize an image with one part only, which the boot ROM loads by itself, and no application at 0x1000."""
    if len(view) <= SECTOR:
        part = whole_part(view)
        return "an ESP8266 boot loader" if part is not None and part.segments and part.size == len(view) else ""
    if view[0] != IMAGE_MAGIC or not 0 < view[1] <= 16:
        return ""
    if view[SECTOR] == IMAGE_MAGIC or view[EBOOT_FILLER_AT] == EBOOT_FILLER:
        return ""
    addresses = list(segment_addresses(view, _HEADER_SIZE, view[1]))
    whole = len(addresses) == view[1] and all(0x3FFE8000 <= address < 0x40140000 for address in addresses)
    return "an ESP8266 image without the Arduino core, such as NodeMCU, MicroPython or Espressif's SDK" if whole else ""


def _littlefs(view: memoryview) -> str:
    return "a LittleFS filesystem" if bytes(view[8:16]) == b"littlefs" else ""


def _spiffs(view: memoryview) -> str:
    """Recognize SPIFFS by the magic in the lookup pages of its first two blocks.

    Of the page's size; on the ESP32 of the number of blocks from this one on, too.
    """
    for block in SPIFFS_BLOCKS:
        first, second = (_spiffs_blocks_left(view, block * index) for index in (0, 1))
        if first == second == 0 or (first > 1 and first * block <= len(view) and second == first - 1):
            return "a SPIFFS filesystem"
    return ""


def _spiffs_blocks_left(view: memoryview, start: int) -> int:
    """Return the number in the magic of the block at `start`: the last word but one of its lookup page; -1: none."""
    word = view[start + SPIFFS_PAGE - 4 : start + SPIFFS_PAGE - 2]
    return int.from_bytes(word, "little") ^ (_SPIFFS_MAGIC & 0xFFFF) ^ SPIFFS_PAGE if len(word) == 2 else -1


def _erased(view: memoryview) -> str:
    first = bytes(view[:1])
    return f"nothing but bytes of 0x{first.hex()}" if first in (b"\xff", b"\0") and not bytes(view).strip(first) else ""


def _uf2(view: memoryview) -> str:
    if view[:4] != UF2_MAGIC or len(view) < 32:
        return ""
    flags, family = _WORD.unpack_from(view, 8)[0], _WORD.unpack_from(view, 28)[0]
    chip = UF2_FAMILIES.get(family) if flags & UF2_HAS_FAMILY else None
    return f"a UF2 file ({chip})" if chip else "a UF2 file"


def _pem(view: memoryview) -> str:
    found = _PEM.search(bytes(view[:_TEXT_SIZE]))
    return f"PEM text ({found[1].decode().lower()})" if found else ""


def _text(view: memoryview) -> str:
    start = bytes(view[:_TEXT_SIZE])
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS to a file"
    if re.match(rb":[0-9A-Fa-f]{10,}\r?\n", start):
        return "an Intel HEX file"
    return "text" if start and not re.search(rb"[^\t\n\f\r -~\x80-\xff]", start) and _is_utf8(start) else ""


def _is_utf8(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return len(start) == _TEXT_SIZE and error.start > _TEXT_SIZE - 4  # a character that was cut in two
    return True


_ROWS: tuple[tuple[str, Callable[[memoryview], str], str], ...] = (
    ("empty", _empty, "build it again, or copy it again: there is nothing in it"),
    (
        "elf",
        _starts(b"\x7fELF", "an ELF file"),
        "give the firmware.bin beside it: the ELF is for linkers and debuggers",
    ),
    ("uf2", _uf2, OTHER_CHIP),
    ("esp32-factory", esp32_files.factory_image, OTHER_CHIP),
    ("esp32-unknown", esp32_files.unknown_chip, "use a later otaseal, which may know that chip"),
    ("esp32-boot", esp32_files.boot_loader, OTHER_CHIP),
    ("esp32", esp32_files.other_application, "build it with arduino-esp32 2.0 or newer: earlier ones describe none"),
    (
        "pico-other",
        _pico,
        "build it with arduino-pico, 4.1.0 or newer for the RP2350: MicroPython and plain SDKs have none",
    ),
    ("esp32-partitions", _starts(PARTITION_MAGIC, "an ESP32 partition table"), OTHER_CHIP),
    ("littlefs", _littlefs, FILESYSTEM),
    ("spiffs", _spiffs, FILESYSTEM),
    ("esp8266-sdk", _starts(b"\xea\x04", "an application for the boot loader of Espressif's ESP8266 SDK"), FIRMWARE),
    ("esp8266-other", _other_esp8266, "otaseal signs firmware of the Arduino core, which eboot starts"),
    ("zip", _starts(b"PK\3\4", "a ZIP archive"), "unpack it, and give the firmware.bin in it"),
    ("archive", _starts(b"!<arch>\n", "an ar archive, such as certs.ar"), "otaseal certs check looks at certs.ar"),
    ("archive", _starts(b"ustar", "a tar archive", 257), "unpack it, and give the firmware.bin in it"),
    ("archive", _starts(b"7z\xbc\xaf\x27\x1c", "a 7z archive"), "unpack it, and give the firmware.bin in it"),
    ("archive", _starts(b"\xfd7zXZ\0", "an xz archive"), "unpack it: devices unpack gzip only"),
    ("program", _starts(b"MZ", "a program for Windows"), FIRMWARE),
    ("pem", _pem, FIRMWARE),
    ("der", _starts(b"\x30\x82", "a certificate or key in DER"), FIRMWARE),
    ("erased", _erased, "read or build it again: it is what erased flash or an empty buffer looks like"),
    ("text", _text, "build it again, or download the file itself: this is not firmware"),
)
