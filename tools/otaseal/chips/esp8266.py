"""The ESP8266's image: a boot block at 0 and an application at 0x1000 (F30b).

Whatever follows the application (a manifest, a signature) is the tail. Parsing works on views and copies nothing.
Signatures and gzip are not known here.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import InputError
from . import esp32, file_kinds
from .boot_image import FlashMode, Part, parse_part, xor
from .crc import crc32_mpeg2
from .esp8266_cores import FIRST_WITH_CRC, PLACES, RELEASES, Core, from_git, signed_gzip_refusal
from .limits import FIRMWARE, check_size

APP_OFFSET = 0x1000
SECTOR = 4096
FLASH_MODE_OFFSET = 2

_WORDS = struct.Struct("<II")  # image length, CRC
_WORD = struct.Struct("<I")

FLASH_SIZES: Mapping[int, int] = {
    0: 512 * 1024,
    1: 256 * 1024,
    2: 1024 * 1024,
    3: 2 * 1024 * 1024,
    4: 4 * 1024 * 1024,
    8: 8 * 1024 * 1024,
    9: 16 * 1024 * 1024,
}
"""Header code to bytes; the core takes any other code for 0."""

_SUMS = {True: "ok", False: "WRONG", None: f"none (cores before {FIRST_WITH_CRC} write none)"}

FLASH_FREQUENCIES: Mapping[int, int] = {0: 40, 1: 26, 2: 20, 15: 80}
"""Header code to MHz."""


@dataclass(frozen=True)
class Esp8266Image:
    """A complete image: `boot`, filler up to 0x1000, `app`, and whatever lies behind it (`tail`)."""

    boot: Part
    filler: memoryview
    app: Part
    tail: memoryview
    data: memoryview = field(repr=False, compare=False)

    chip = "esp8266"
    filesystem = None

    @property
    def flash_mode(self) -> FlashMode | None:
        """The flash mode that the image was built for, None if the header names none."""
        return FlashMode(self.boot.flash_mode) if self.boot.flash_mode in set(FlashMode) else None

    @property
    def flash_size(self) -> int | None:
        """Flash size in bytes, None if the header's code is unknown."""
        return FLASH_SIZES.get(self.boot.flash_config >> 4)

    @property
    def flash_frequency(self) -> int | None:
        """Flash frequency in MHz, None if the header's code is unknown."""
        return FLASH_FREQUENCIES.get(self.boot.flash_config & 0x0F)

    @property
    def sketch_size(self) -> int:
        """What `ESP.getSketchSize()` says on the device, in bytes (F30b)."""
        return APP_OFFSET + self.app.size

    @property
    def boot_checksum_ok(self) -> bool:
        """Whether the boot block's checksum holds: the boot ROM starts nothing else."""
        return self.boot.computed_checksum == self.boot.checksum

    @property
    def app_checksum_ok(self) -> bool:
        """Whether the application's checksum holds, which eboot never asks.

        On core 3.x the length and CRC words lie inside the first segment and are filled in after the checksum was made
        over zeros: they count as zero here.
        """
        value, words = self.app.computed_checksum, self._words
        if words is not None and words >= APP_OFFSET:
            value ^= xor(self.data[words : words + _WORDS.size])
        return value == self.app.checksum

    def sketch_md5(self, mode: FlashMode) -> str:
        """Return what `ESP.getSketchMD5()` says on a chip that runs in flash mode `mode`: 32 hex digits (F30b)."""
        digest = hashlib.md5(self.data[:FLASH_MODE_OFFSET], usedforsecurity=False)
        digest.update(bytes([mode]))
        digest.update(self.data[FLASH_MODE_OFFSET + 1 : self.sketch_size])
        return digest.hexdigest()

    def sketch_md5s(self) -> dict[FlashMode, str]:
        """Return the sketch MD5 for each of the four flash modes."""
        return {mode: self.sketch_md5(mode) for mode in FlashMode}

    @cached_property
    def core(self) -> Core | None:
        """The core that built this, None where nothing tells (F30c).

        A release is known by its commit; any other core by where a length word names this image's size.
        """
        words = {places: self._word(places.commit) for places in PLACES}
        commits = {places: commit for places, commit in words.items() if commit is not None}
        for places, commit in commits.items():
            if commit in RELEASES and RELEASES[commit].places == places:
                return RELEASES[commit]
        for places, commit in commits.items():
            if places.words is not None and self._word(places.words) == self.sketch_size:
                return from_git(commit, places)
        return None

    @property
    def _words(self) -> int | None:
        """Where the length and CRC words are, None for a core that writes none."""
        return None if self.core is None else self.core.places.words

    def _word(self, offset: int) -> int | None:
        fits = offset + _WORD.size <= self.sketch_size
        return _WORD.unpack_from(self.data, offset)[0] if fits else None

    @cached_property
    def crc_ok(self) -> bool | None:
        """Whether the length and CRC words that the core's own `ESP.checkFlashCRC()` reads hold (F30c).

        None where there are none: cores before 2.7 write no such words.
        """
        offset = self._words
        if offset is None:
            return None
        if offset + _WORDS.size > self.sketch_size:
            return False
        length, crc = _WORDS.unpack_from(self.data, offset)
        if length != self.sketch_size:
            return False
        after = self.data[offset + _WORDS.size : length]
        return bool(crc == crc32_mpeg2(self.data[:offset], bytes(_WORDS.size), after))

    def faults(self) -> tuple[str, ...]:
        """Return each checksum that does not hold; eboot asks for none of the application's."""
        checks = (
            (self.crc_ok, "the image's own CRC does not fit its content"),
            (self.boot_checksum_ok, "the boot block's checksum is wrong: the boot ROM starts nothing else"),
            (self.app_checksum_ok, "the application's checksum is wrong"),
        )
        return tuple(fault for good, fault in checks if good is False)

    def sketch_digests(self) -> tuple[str, ...]:
        """Return the sketch MD5 for each of the four flash modes, in order."""
        return tuple(self.sketch_md5s().values())

    def gzip_refusal(self, *, library: bool) -> InputError | None:
        """Return why devices with its core need not start from a signed gzip (F8b); `library` says nothing of that."""
        return signed_gzip_refusal(self.core)

    def update_refusal(self) -> InputError | None:
        """Return why no device can be updated to this: nobody can tell whose flash it fits."""
        if self.flash_mode is None or self.flash_size is None:
            return InputError("the image's header names no flash mode or size", "build it for a board that has them")
        return None

    @property
    def core_release(self) -> str | None:
        """The name of `core`: a release, or "3.0+git.<commit>" for one from git that is not older; None without one."""
        return None if self.core is None else self.core.name

    def as_dict(self) -> dict[str, Any]:
        """Return what `otaseal inspect --json` says of it."""
        mode = self.flash_mode
        return {
            "chip": self.chip,
            "core_release": self.core_release,
            "flash_mode": None if mode is None else mode.name,
            "flash_size": self.flash_size,
            "flash_frequency_mhz": self.flash_frequency,
            "entry": self.app.entry,
            "segments": [{"address": segment.address, "size": len(segment.data)} for segment in self.app.segments],
            "boot_checksum_ok": self.boot_checksum_ok,
            "app_checksum_ok": self.app_checksum_ok,
            "crc_ok": self.crc_ok,
            "sketch_size": self.sketch_size,
            "sketch_md5": {mode.name: digest for mode, digest in self.sketch_md5s().items()},
            "bytes_behind": len(self.tail),
        }

    def lines(self) -> list[str]:
        """Return the same for a person, one fact a line."""
        mode = "unknown" if self.flash_mode is None else self.flash_mode.name
        size = "unknown size" if self.flash_size is None else f"{self.flash_size // 1024} KiB"
        frequency = "unknown frequency" if self.flash_frequency is None else f"{self.flash_frequency} MHz"
        sums = [("boot", self.boot_checksum_ok), ("application", self.app_checksum_ok), ("CRC", self.crc_ok)]
        release = self.core_release or "unknown"
        git = self.core is not None and self.core.commit not in RELEASES
        return [
            f"{'core release':<14}{release}{', from git: no release has this commit' if git else ''}",
            f"{'flash':<14}{mode}, {size}, {frequency}",
            f"{'checksums':<14}" + ", ".join(f"{name} {_SUMS[good]}" for name, good in sums),
            f"{'sketch size':<14}{self.sketch_size} bytes",
            *(f"{'sketch md5':<14}{digest} ({mode.name})" for mode, digest in self.sketch_md5s().items()),
        ]


def parse(data: bytes | memoryview, subject: str = "this is") -> Esp8266Image:
    """Return the image in `data`, as views into it.

    Raises InputError when `data` is not a complete image: too many segments, cut short, too large; or something else,
    which is called by its name in a sentence that begins with `subject`.
    """
    view = memoryview(data).toreadonly()
    check_size(len(view))
    try:
        if esp32.has_description(view):
            raise InputError("boot block is another chip's", FIRMWARE)
        boot = parse_part(view[:APP_OFFSET], "boot block")
        app = parse_part(view[APP_OFFSET:], "application")
    except InputError as error:
        kind = file_kinds.recognize(view)
        raise error if kind is None else kind.error(subject) from error
    end = APP_OFFSET + app.size
    return Esp8266Image(boot, view[boot.size : APP_OFFSET], app, view[end:], view)


def sectors(size: int) -> int:
    """Return `size` rounded up to whole flash sectors, in which updates are staged (F10)."""
    return -(-size // SECTOR) * SECTOR
