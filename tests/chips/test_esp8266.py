from __future__ import annotations

import hashlib
import struct
import zlib

import pytest

from otaseal.chips import crc, esp8266, esp8266_cores, limits
from otaseal.chips.boot_image import FlashMode
from otaseal.chips.esp8266_cores import SignedGzip
from otaseal.errors import InputError
from support import images
from support.images import build_image


@pytest.mark.parametrize("core", images.CORES)
@pytest.mark.parametrize("mode", images.MODES)
@pytest.mark.parametrize("size", images.SIZES)
def test_all_that_an_image_says(core: str, mode: str, size: str) -> None:
    raw = build_image(core=core, mode=mode, size=size)
    image = esp8266.parse(raw)
    assert image.core_release == core
    assert image.flash_mode is not None
    assert image.flash_mode.name.lower() == mode
    unit = {"K": 1024, "M": 1024 * 1024}[size[-1]]
    assert image.flash_size == int(size[:-1]) * unit
    assert image.flash_frequency == 40
    assert (image.boot_checksum_ok, image.app_checksum_ok, image.crc_ok) == (True, True, True)
    assert image.sketch_size == len(raw)
    assert image.boot.size + len(image.filler) + image.app.size == len(raw)


@pytest.mark.parametrize("code_size", range(64, 84))
def test_sketch_size_is_the_devices_own_sum(code_size: int) -> None:
    """Walk the segments as the device does; `code_size` makes the application end at every place in a line."""
    raw = build_image(code_size=code_size)
    position = 0x1000 + 8
    for _ in range(raw[0x1001]):
        position += 8 + struct.unpack_from("<I", raw, position + 4)[0]
    image = esp8266.parse(raw + b"behind")
    assert image.sketch_size == (position + 16) & ~15 == len(raw)
    assert bytes(image.tail) == b"behind"


@pytest.mark.parametrize("built_for", images.MODES)
def test_sketch_md5_is_that_of_the_flash(built_for: str) -> None:
    raw = build_image(mode=built_for)
    image = esp8266.parse(raw + b"a manifest, a signature")
    for name, value in images.MODES.items():
        flash = raw[:2] + bytes([value]) + raw[3:]
        assert image.sketch_md5(FlashMode[name.upper()]) == hashlib.md5(flash).hexdigest()
    assert len(set(image.sketch_md5s().values())) == 4
    assert image.sketch_md5(FlashMode[built_for.upper()]) == hashlib.md5(raw).hexdigest()


@pytest.mark.parametrize("data", [b"", b"\0", b"123456789", bytes(range(256)) * 3])
def test_crc_is_the_one_computed_bit_by_bit(data: bytes) -> None:
    assert crc.crc32_mpeg2(data) == images.crc(data)
    assert crc.crc32_mpeg2(data[:5], data[5:]) == images.crc(data)
    assert not data or crc.crc32_mpeg2(data) != zlib.crc32(data)


@pytest.mark.parametrize("core", images.CORES)
def test_damage_shows_in_crc_and_checksum(core: str) -> None:
    raw = bytearray(build_image(core=core))
    raw[0x1040] ^= 0x10
    image = esp8266.parse(bytes(raw))
    assert (image.boot_checksum_ok, image.app_checksum_ok, image.crc_ok) == (True, False, False)
    raw[0x1040] ^= 0x10
    raw[0x20] ^= 0x10
    image = esp8266.parse(bytes(raw))
    assert (image.boot_checksum_ok, image.app_checksum_ok, image.crc_ok) == (False, True, False)


def test_an_unknown_core_is_shown_by_its_commit() -> None:
    raw = bytearray(build_image())
    struct.pack_into("<I", raw, 0x1018, 0x0BADCAFE)
    assert esp8266.parse(bytes(raw)).core_release == "3.0+git.0badcafe"
    struct.pack_into("<I", raw, 0x1010, 0)
    image = esp8266.parse(bytes(raw))
    assert (image.core_release, image.crc_ok) == (None, None)
    assert esp8266.parse(build_image(core="2.7+git.3969889e")).core_release == "2.7+git.3969889e"


@pytest.mark.parametrize("core", [*images.CORES, *images.OTHER_CORES])
def test_every_core_is_known_by_its_commit_or_by_the_place_of_its_words(core: str) -> None:
    raw = build_image(core=core)
    image = esp8266.parse(raw)
    assert image.core is not None
    assert (image.core_release, image.core) == (core, esp8266_cores.core_by_name(core))
    assert image.crc_ok is (None if core < "2.7" else True)
    assert (image.boot_checksum_ok, image.app_checksum_ok) == (True, True)


def test_a_core_from_git_is_taken_for_the_strictest_that_it_can_be() -> None:
    newer, older = esp8266_cores.core_by_name("3.0+git.0badcafe"), esp8266_cores.core_by_name("2.7+git.0badcafe")
    assert newer is not None
    assert older is not None
    assert newer.signed_gzip is SignedGzip.STARTS
    assert older.signed_gzip is SignedGzip.UNKNOWN
    assert [
        esp8266_cores.core_by_name(name) for name in (None, "", "0x0badcafe", "3.0+git.xyz", "2.6+git.0badcafe")
    ] == [None] * 5


def test_unknown_flash_codes_have_no_name() -> None:
    raw = bytearray(build_image())
    raw[2], raw[3] = 9, 0x73
    image = esp8266.parse(bytes(raw))
    assert (image.flash_mode, image.flash_size, image.flash_frequency) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 0x1F}, "boot block begins with 0x1f"),
        ({0x1000: 0xFF}, "application begins with 0xff"),
        ({1: 17}, "17 segments"),
        ({0x1001: 200}, "200 segments"),
        ({14: 0x10}, "boot block is cut short"),
        ({0x100E: 0x01}, "application is cut short"),
    ],
)
def test_what_is_no_image_is_refused_by_name(change: dict[int, int], message: str) -> None:
    raw = bytearray(build_image())
    for offset, value in change.items():
        raw[offset] = value
    with pytest.raises(InputError, match=message):
        esp8266.parse(bytes(raw))


def test_an_image_cut_anywhere_is_refused() -> None:
    raw = build_image()
    for end in range(len(raw)):
        with pytest.raises(InputError):
            esp8266.parse(raw[:end])
    with pytest.raises(InputError, match="larger than"):
        esp8266.parse(raw + bytes(limits.MAX_IMAGE_SIZE))


def test_parsing_copies_nothing() -> None:
    raw = bytearray(build_image())
    image = esp8266.parse(memoryview(raw))
    segment = image.app.segments[0].data
    before = segment[40]
    raw[0x1010 + 40] ^= 0xFF
    assert segment[40] == before ^ 0xFF
    assert segment.readonly
