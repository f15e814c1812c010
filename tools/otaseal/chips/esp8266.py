"""The ESP8266: its image, and the releases of its core for Arduino: all that is known of this family of chips.

An image is a boot block at 0 and an application at 0x1000 (F30b). Whatever follows the application (a manifest, a
signature) is the tail. Parsing works on views and copies nothing. Signatures and gzip are not known here.

A release is a row of one table, read in `Updater.cpp`, `eboot.c`, `elf2bin.py` and the linker scripts of each (F3, F8,
F8b, F30c, F30e). A core from git is known by where its image keeps the length and CRC words: they were brought in with
2.7, and moved for 3.0 five months after the updater had learned to take the signature off before the copy.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from functools import cached_property
from types import MappingProxyType

from ..errors import InputError
from . import file_kinds
from .boot_image import MAGIC, Part, parse_part, xor
from .file_kinds import FIRMWARE

__all__ = [
    "APP_OFFSET",
    "CORES",
    "FIRST_WITH_CRC",
    "MAGIC",
    "MAX_IMAGE_SIZE",
    "NEWEST",
    "OLDEST_SIGNED",
    "RELEASES",
    "SECTOR",
    "SHOWN_CORES",
    "Core",
    "Esp8266Image",
    "FlashMode",
    "Places",
    "SignedGzip",
    "check_size",
    "core_by_name",
    "crc32_mpeg2",
    "parse",
    "sectors",
    "signed_gzip_refusal",
]

APP_OFFSET = 0x1000
SECTOR = 4096
FLASH_MODE_OFFSET = 2
MAX_IMAGE_SIZE = 16 * 1024 * 1024  # the largest flash that a header can name

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

FLASH_FREQUENCIES: Mapping[int, int] = {0: 40, 1: 26, 2: 20, 15: 80}
"""Header code to MHz."""

_BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class FlashMode(IntEnum):
    """How the chip reads its flash: byte 2 of the header (F7)."""

    QIO = 0
    QOUT = 1
    DIO = 2
    DOUT = 3


class SignedGzip(Enum):
    """What devices with a core do with a signed gzip (F8b)."""

    REFUSED = "refused"  # neither updater nor eboot knows gzip
    BRICKS = "bricks"  # eboot reads the trailer as the size of the content
    UNKNOWN = "unknown"  # from git, between the release that bricks and the one that starts
    STARTS = "starts"


@dataclass(frozen=True)
class Places:
    """Where an image keeps its length word, the CRC behind it, and the first word of the core's commit: file offsets.

    `words` is None before 2.7, whose `elf2bin` writes none.
    """

    words: int | None
    commit: int


@dataclass(frozen=True)
class Core:
    """A release by its `name` ("3.1.2", or "3.0+git.f946290e" for one from git) and the first 32 bits of its `commit`.

    `verifies`: the updater can verify at all (since 2.5.0). `digest_info`: the signature is over the digest in its
    DigestInfo, not over the bare one (since 2.6.0, F3). What else tells them apart, the virtual device knows.
    """

    name: str
    commit: int
    places: Places
    signed_gzip: SignedGzip
    verifies: bool = True
    digest_info: bool = True


_BEFORE_2_7, _SINCE_2_7, _SINCE_3_0 = Places(None, 0x1010), Places(0x0FF8, 0x1010), Places(0x1010, 0x1018)
_2_4 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED, verifies=False)
_2_5 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED, digest_info=False)
_2_6 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED)
_2_7 = Core("", 0, _SINCE_2_7, SignedGzip.BRICKS)
_3_0 = Core("", 0, _SINCE_3_0, SignedGzip.STARTS)
_HEAD = replace(_3_0, name="head")

_SERIES: tuple[tuple[Core, Mapping[str, int]], ...] = (
    (_2_4, {"2.3.0": 0x09826C6D, "2.4.0": 0x4CEABEA9, "2.4.1": 0x614F7C32, "2.4.2": 0xBB28D4A3}),
    (_2_5, {"2.5.0": 0x951AEFFA, "2.5.1": 0xAC02AFF5, "2.5.2": 0x8B899C12}),
    (_2_6, {"2.6.0": 0x643EC203, "2.6.1": 0x482516E3, "2.6.2": 0xBC204A9B, "2.6.3": 0x3D128E5C}),
    (_2_7, {"2.7.0": 0x9C56ED1F, "2.7.1": 0xA5432625, "2.7.2": 0x39C79D9B, "2.7.3": 0x5D3AF165, "2.7.4": 0x2843A5AC}),
    (_3_0, {"3.0.0": 0xEFB0341A, "3.0.1": 0xCBF44FB3, "3.0.2": 0xCF6FF4C4}),
    (_3_0, {"3.1.0": 0x8AE300D4, "3.1.1": 0x0E5D358C, "3.1.2": 0x210897EF}),
)

RELEASES: Mapping[int, Core] = MappingProxyType(
    {commit: replace(row, name=name, commit=commit) for row, names in _SERIES for name, commit in names.items()}
)
"""By the first 32 bits of the commit."""

NEWEST = list(RELEASES.values())[-1]
CORES: Mapping[str, Core] = MappingProxyType({core.name: core for core in (*RELEASES.values(), _HEAD)})
"""By name; "head" is the core's development branch as of 2026."""
SHOWN_CORES = (*(list(names)[-1] for row, names in _SERIES if row.places.words is not None), _HEAD.name)
"""The newest release of each series since 2.7 and the development branch: what devices in the field have."""
FIRST_WITH_CRC = "2.7"
"""The series that brought the length and CRC words."""
OLDEST_SIGNED = next(core.name for core in RELEASES.values() if core.verifies and core.digest_info)
"""The first release whose devices take the signatures that are made here (F3)."""

_FROM_GIT = re.compile(r"(2\.7|3\.0)\+git\.([0-9a-f]{8})")
_GZIP_REFUSALS = {
    SignedGzip.REFUSED: "core {core} takes no gzip: compressed updates came with core 2.7.0",
    SignedGzip.BRICKS: "a signed gzip for core {core} leaves devices unable to start",
    SignedGzip.UNKNOWN: "core {core}, from git, is older than 3.0, and need not start from a signed gzip",
}


def _from_git(commit: int, places: Places) -> Core:
    """Return what is known of a core that is not a release, by the place of its words, else the strictest."""
    if places == _SINCE_3_0:
        return replace(_3_0, name=f"3.0+git.{commit:08x}", commit=commit)
    return replace(_2_7, name=f"2.7+git.{commit:08x}", commit=commit, signed_gzip=SignedGzip.UNKNOWN)


def core_by_name(name: str | None) -> Core | None:
    """Return the core of this name, as in a release's record; None for no name and for one that tells nothing."""
    found = _FROM_GIT.fullmatch(name or "")
    if found:
        return _from_git(int(found[2], 16), _SINCE_3_0 if found[1] == "3.0" else _SINCE_2_7)
    return CORES.get(name or "")


def signed_gzip_refusal(core: Core | None) -> InputError | None:
    """Return why devices with `core` need not start from a signed gzip, None where they do (F8b).

    `core` None is one that its image does not tell.
    """
    if core is not None and core.signed_gzip is SignedGzip.STARTS:
        return None
    reason = "the firmware does not say which core it was built with, and cores before 3.0 do not start from a signed"
    reason = f"{reason} gzip" if core is None else _GZIP_REFUSALS[core.signed_gzip].format(core=core.name)
    return InputError(
        reason, "build without board_build.gzip_fw and custom_otaseal_compress, or update the core to 3.0.0 or newer"
    )


@dataclass(frozen=True)
class Esp8266Image:
    """A complete image: `boot`, filler up to 0x1000, `app`, and whatever lies behind it (`tail`)."""

    boot: Part
    filler: memoryview
    app: Part
    tail: memoryview
    data: memoryview = field(repr=False, compare=False)

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
        found = {places: self._word(places.commit) for places in (_SINCE_3_0, _SINCE_2_7, _BEFORE_2_7)}
        commits = {places: commit for places, commit in found.items() if commit is not None}
        for places, commit in commits.items():
            if commit in RELEASES and RELEASES[commit].places == places:
                return RELEASES[commit]
        for places, commit in commits.items():
            if places.words is not None and self._word(places.words) == self.sketch_size:
                return _from_git(commit, places)
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

    @property
    def core_release(self) -> str | None:
        """The name of `core`: a release, or "3.0+git.<commit>" for one from git that is not older; None without one."""
        return None if self.core is None else self.core.name


def parse(data: bytes | memoryview, subject: str = "this is") -> Esp8266Image:
    """Return the image in `data`, as views into it.

    Raises InputError when `data` is not a complete image: too many segments, cut short, too large; or something else,
    which is called by its name in a sentence that begins with `subject`.
    """
    view = memoryview(data).toreadonly()
    check_size(len(view))
    try:
        if file_kinds.is_esp32_application(view):
            raise InputError("boot block is another chip's", FIRMWARE)
        boot = parse_part(view[:APP_OFFSET], "boot block")
        app = parse_part(view[APP_OFFSET:], "application")
    except InputError as error:
        kind = file_kinds.recognize(view)
        raise error if kind is None else kind.error(subject) from error
    end = APP_OFFSET + app.size
    return Esp8266Image(boot, view[boot.size : APP_OFFSET], app, view[end:], view)


def check_size(size: int, what: str = "image") -> None:
    """Raise InputError, which calls it `what`, for more bytes than any flash can hold."""
    if size > MAX_IMAGE_SIZE:
        raise InputError(f"{what} of {size} bytes is larger than {MAX_IMAGE_SIZE}", "no ESP8266 flash can hold it")


def sectors(size: int) -> int:
    """Return `size` rounded up to whole flash sectors, in which updates are staged (F10)."""
    return -(-size // SECTOR) * SECTOR


def crc32_mpeg2(*chunks: bytes | memoryview) -> int:
    """Return the CRC of all `chunks` in a row: polynomial 0x04c11db7, start 0xffffffff, not reflected (F30c).

    It is zlib's CRC seen in a mirror: every byte reversed on the way in, the result reversed on the way out.
    """
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(bytes(chunk).translate(_BIT_REVERSED), crc)
    mirrored = (crc ^ 0xFFFFFFFF).to_bytes(4, "little").translate(_BIT_REVERSED)
    return int.from_bytes(mirrored, "big")
