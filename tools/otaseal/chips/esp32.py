"""The ESP32 and the chips after it: an application as ESP-IDF's boot loader starts it (F47).

A header of 24 bytes, segments, a checksum, and SHA-256 over all of that. The first segment begins with a description.
Whatever follows (a manifest, a signature) is the tail: without secure boot the boot loader does not look at it (F46).
Parsing works on views and copies nothing.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import InputError
from .boot_image import MAGIC, FlashMode, Part, parse_part
from .esp32_chips import CHIPS
from .limits import FIRMWARE, REBUILD, check_size

DESCRIPTION_AT, _DESCRIPTION_MAGIC = 0x20, 0xABCD5432
_HEADER_END = 24
_CHIP_AT = 12
_EXTENDED = struct.Struct("<B3sHBHH4sB")  # pins, chip, minimum revision twice, maximum revision, reserved, hash flag
_DESCRIPTION = struct.Struct("<II8x32s32s16s16s32s32s")
_WORD = struct.Struct("<I")
_HASH_SIZE = 32
_ANY_REVISION = 0xFFFF
_FLASH_SIZES = {code: (1 << code) * 1024 * 1024 for code in range(8)}
_MODES = {0: FlashMode.QIO, 1: FlashMode.QOUT, 2: FlashMode.DIO, 3: FlashMode.DOUT}


class Description(NamedTuple):
    """What the application says of itself; texts as they stand in it, up to the first zero."""

    secure_version: int
    version: str
    project: str
    idf_version: str
    elf_sha256: str


@dataclass(frozen=True)
class Esp32Image:
    """A complete application, and whatever lies behind it (`tail`).

    `minimum_revision` and `maximum_revision` of the chip are major * 100 + minor; 65535: any. `stored_hash` is the
    SHA-256 at its end, None without one.
    """

    part: Part
    chip_id: int
    minimum_revision: int
    maximum_revision: int
    description: Description
    stored_hash: bytes | None
    tail: memoryview
    data: memoryview = field(repr=False, compare=False)

    core_release = None
    filesystem = None
    flash_mode = None
    flash_size = None
    """No device goes by mode and size in an application's header: the boot loader's count (F91)."""

    @property
    def title(self) -> str:
        """The chip's name as its maker writes it."""
        return CHIPS[self.chip_id]

    @property
    def chip(self) -> str:
        """The chip's name as PlatformIO's boards have it: "esp32s3"."""
        return self.title.lower().replace("-", "")

    @property
    def sketch_size(self) -> int:
        """The bytes that the boot loader reads, hash included: also what `ESP.getSketchSize()` says."""
        return self.part.size + (0 if self.stored_hash is None else _HASH_SIZE)

    @cached_property
    def hash_ok(self) -> bool | None:
        """Whether the SHA-256 holds, None without one."""
        if self.stored_hash is None:
            return None
        return hashlib.sha256(self.data[: self.part.size]).digest() == self.stored_hash

    def faults(self) -> tuple[str, ...]:
        """Return what the boot loader would refuse this for: checksum and SHA-256."""
        faults = []
        if self.part.computed_checksum != self.part.checksum:
            faults.append("the application's checksum is wrong")
        if self.hash_ok is False:
            faults.append("the SHA-256 at the end of the application does not fit its content")
        return tuple(faults)

    def sketch_digests(self) -> tuple[str, ...]:
        """Return what `ESP.getSketchMD5()` says on the device."""
        return (hashlib.md5(self.data[: self.sketch_size], usedforsecurity=False).hexdigest(),)

    def gzip_refusal(self, *, library: bool) -> InputError | None:
        """Return why there is no compressed update: neither core nor boot loader unpacks one, with `library` or not."""
        return InputError(
            f"the {self.title} takes no gzip: neither its core nor its boot loader unpacks one",
            "sign the raw firmware.bin: leave custom_otaseal_compress and --compress out",
        )

    def update_refusal(self) -> InputError | None:
        """Return None: any complete application can be written to the other slot, if that has the room."""
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return what `otaseal inspect --json` says of it."""
        mode = _MODES.get(self.part.flash_mode)
        return {
            "chip": self.chip,
            "minimum_revision": self.minimum_revision,
            "maximum_revision": None if self.maximum_revision == _ANY_REVISION else self.maximum_revision,
            "flash_mode": None if mode is None else mode.name,
            "flash_size": _FLASH_SIZES.get(self.part.flash_config >> 4),
            "entry": self.part.entry,
            "segments": [{"address": segment.address, "size": len(segment.data)} for segment in self.part.segments],
            "checksum_ok": self.part.computed_checksum == self.part.checksum,
            "hash_ok": self.hash_ok,
            "description": self.description._asdict(),
            "sketch_size": self.sketch_size,
            "sketch_md5": self.sketch_digests()[0],
            "bytes_behind": len(self.tail),
        }

    def lines(self) -> list[str]:
        """Return the same for a person, one fact a line."""
        sums = {True: "ok", False: "WRONG", None: "none"}
        checksum = self.part.computed_checksum == self.part.checksum
        project = f"{self.description.project} {self.description.version}".strip() or "without a name"
        return [
            f"{'chip':<14}{self.title}, {self._revisions()}",
            f"{'application':<14}{project}, ESP-IDF {self.description.idf_version or 'unknown'}",
            f"{'checksums':<14}checksum {sums[checksum]}, SHA-256 {sums[self.hash_ok]}",
            f"{'sketch size':<14}{self.sketch_size} bytes",
            f"{'sketch md5':<14}{self.sketch_digests()[0]}",
        ]

    def _revisions(self) -> str:
        lowest, highest = (
            f"{number // 100}.{number % 100}" for number in (self.minimum_revision, self.maximum_revision)
        )
        return f"revision {lowest} " + ("and newer" if self.maximum_revision == _ANY_REVISION else f"to {highest}")


def has_description(data: bytes | memoryview) -> bool:
    """Tell whether a description of ESP-IDF stands where an application has it, behind a header of the boot ROM."""
    has_magic = len(data) >= DESCRIPTION_AT + _WORD.size and data[0] == MAGIC
    return has_magic and _WORD.unpack_from(data, DESCRIPTION_AT)[0] == _DESCRIPTION_MAGIC


def is_image(data: bytes | memoryview) -> bool:
    """Tell whether `data` begins as an application of a known chip, damaged further on or not."""
    return has_description(data) and int.from_bytes(data[_CHIP_AT : _CHIP_AT + 2], "little") in CHIPS


def parse(data: bytes | memoryview, subject: str = "this is") -> Esp32Image:
    """Return the application in `data`, as views into it, for which `is_image` holds.

    Raises InputError, in a sentence that begins with `subject` where that makes sense, when it is too large, has too
    many segments, or is cut short.
    """
    view = memoryview(data).toreadonly()
    check_size(len(view))
    part = parse_part(view, "application", header_size=_HEADER_END)
    if len(view) < DESCRIPTION_AT + _DESCRIPTION.size:
        raise InputError(f"{subject} an application whose description is cut short", REBUILD)
    _pin, _drive, chip, oldest, minimum, maximum, _, hashed = _EXTENDED.unpack_from(view, 8)
    if hashed not in (0, 1):
        raise InputError(f"application says {hashed} of its hash, not 0 or 1", FIRMWARE)
    end = part.size + hashed * _HASH_SIZE
    if end > len(view):
        raise InputError("application is cut short", REBUILD)
    stored = bytes(view[part.size : end]) if hashed else None
    # Older tools know the one byte only: 3 of an ESP32, which has no minor revisions there, is 3.0.
    revision = minimum or oldest * 100
    return Esp32Image(
        part=part,
        chip_id=chip,
        minimum_revision=revision,
        maximum_revision=maximum or _ANY_REVISION,
        description=_description(view),
        stored_hash=stored,
        tail=view[end:],
        data=view,
    )


def _description(view: memoryview) -> Description:
    _, secure, version, project, _time, _date, idf, elf = _DESCRIPTION.unpack_from(view, DESCRIPTION_AT)
    texts = (text.partition(b"\0")[0].decode("utf-8", "replace") for text in (version, project, idf))
    version, project, idf = ("".join(filter(str.isprintable, text)) for text in texts)
    return Description(secure, version, project, idf, elf.hex())
