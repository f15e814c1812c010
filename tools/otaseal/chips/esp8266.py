"""The ESP8266 image itself: boot block at 0, application at 0x1000, and all that can be read off them.

An image is two parts in one format (F30b): an 8-byte header, segments of 8 + length bytes, zero padding, and one
checksum byte at the end of a 16-byte line. Whatever follows the application (a manifest, a signature) is the tail.
Parsing works on views and copies nothing; a parsed image serialises to the bytes it came from. Signatures and gzip are
not known here.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from ..errors import InputError
from . import file_kinds
from .esp8266_cores import PLACES, RELEASES, Core, from_git
from .file_kinds import FIRMWARE

__all__ = [
    "APP_OFFSET",
    "MAGIC",
    "MAX_IMAGE_SIZE",
    "SECTOR",
    "Esp8266Image",
    "FlashMode",
    "Part",
    "Segment",
    "boot_block_starts",
    "crc32_mpeg2",
    "parse",
    "sectors",
    "serialise",
]

MAGIC = 0xE9
APP_OFFSET = 0x1000
SECTOR = 4096
FLASH_MODE_OFFSET = 2
MAX_IMAGE_SIZE = 16 * 1024 * 1024  # the largest flash that a header can name
MAX_SEGMENTS = 16  # what the boot ROM loads
CHECKSUM_SEED = 0xEF

_HEADER = struct.Struct("<BBBBI")  # magic, segments, flash mode, flash size and frequency, entry address
_SEGMENT = struct.Struct("<II")  # load address, length
_WORDS = struct.Struct("<II")  # image length, CRC
_WORD = struct.Struct("<I")
_LINE = 16

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


@dataclass(frozen=True)
class Segment:
    """Bytes and the address they are loaded to."""

    address: int
    data: memoryview


@dataclass(frozen=True)
class Part:
    """One header with its segments: the boot block or the application. `checksum` is as stored, not as computed."""

    flash_mode: int
    flash_config: int
    entry: int
    segments: tuple[Segment, ...]
    padding: memoryview
    checksum: int

    @property
    def size(self) -> int:
        """Bytes from the header to the checksum, both included: a multiple of 16."""
        return _HEADER.size + sum(_SEGMENT.size + len(s.data) for s in self.segments) + len(self.padding) + 1

    @cached_property
    def computed_checksum(self) -> int:
        """The XOR of all segment bytes and 0xEF."""
        value = CHECKSUM_SEED
        for segment in self.segments:
            value ^= _xor(segment.data)
        return value

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes of this part in order."""
        yield _HEADER.pack(MAGIC, len(self.segments), self.flash_mode, self.flash_config, self.entry)
        for segment in self.segments:
            yield _SEGMENT.pack(segment.address, len(segment.data))
            yield segment.data
        yield self.padding
        yield bytes([self.checksum])


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
            value ^= _xor(self.data[words : words + _WORDS.size])
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
        found = {places: self._word(places.commit) for places in PLACES}
        commits = {places: commit for places, commit in found.items() if commit is not None}
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

    @property
    def core_release(self) -> str | None:
        """The name of `core`: a release, or "3.0+git.<commit>" for one from git that is not older; None without one."""
        return None if self.core is None else self.core.name


def parse(data: bytes | memoryview, subject: str = "this is") -> Esp8266Image:
    """Return the image in `data`, as views into it.

    Raises InputError when `data` is no complete image: too many segments, cut short, too large; or something else,
    which is called by its name in a sentence that begins with `subject`.
    """
    view = memoryview(data).toreadonly()
    if len(view) > MAX_IMAGE_SIZE:
        raise InputError(f"image of {len(view)} bytes is larger than {MAX_IMAGE_SIZE}", "no ESP8266 flash can hold it")
    try:
        if file_kinds.is_esp32_application(view):
            raise InputError("boot block is another chip's", FIRMWARE)
        boot = _parse_part(view[:APP_OFFSET], "boot block")
        app = _parse_part(view[APP_OFFSET:], "application")
    except InputError as error:
        kind = file_kinds.recognize(view)
        raise error if kind is None else kind.error(subject) from error
    end = APP_OFFSET + app.size
    return Esp8266Image(boot, view[boot.size : APP_OFFSET], app, view[end:], view)


def boot_block_starts(data: bytes | memoryview) -> bool:
    """Tell whether the boot ROM starts the boot block at the beginning of `data`: it is whole, its checksum holds."""
    try:
        boot = _parse_part(memoryview(data)[:APP_OFFSET], "boot block")
    except InputError:
        return False
    return boot.computed_checksum == boot.checksum


def serialise(image: Esp8266Image) -> bytes:
    """Return the bytes of `image`, the very ones it was parsed from."""
    return b"".join([*image.boot.chunks(), image.filler, *image.app.chunks(), image.tail])


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


def _parse_part(view: memoryview, what: str) -> Part:
    if len(view) < _HEADER.size:
        raise _cut_short(what)
    magic, count, mode, config, entry = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise InputError(f"{what} begins with 0x{magic:02x}, not 0xe9", FIRMWARE)
    if count > MAX_SEGMENTS:
        raise InputError(
            f"{what} claims {count} segments, more than {MAX_SEGMENTS}", "the image is damaged: rebuild it"
        )
    position, segments = _HEADER.size, []
    for _ in range(count):
        if len(view) - position < _SEGMENT.size:
            raise _cut_short(what)
        address, length = _SEGMENT.unpack_from(view, position)
        position += _SEGMENT.size
        if length > len(view) - position:
            raise _cut_short(what)
        segments.append(Segment(address, view[position : position + length]))
        position += length
    last = (position + _LINE) // _LINE * _LINE - 1
    if last >= len(view):
        raise _cut_short(what)
    return Part(mode, config, entry, tuple(segments), view[position:last], view[last])


def _cut_short(what: str) -> InputError:
    return InputError(f"{what} is cut short", "the image is damaged: rebuild it")


def _xor(data: memoryview) -> int:
    """XOR all bytes by folding one big integer in halves: milliseconds where a loop takes tenths of a second."""
    value, size = int.from_bytes(data, "little"), len(data)
    while size > 1:
        size = (size + 1) // 2
        value = (value >> 8 * size) ^ (value & ((1 << 8 * size) - 1))
    return value
