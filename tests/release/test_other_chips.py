"""Releases of other chips than the ESP8266: their records, and what is admitted after what."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

import pytest

from otaseal.chips.esp32 import CHIPS as CHIPS_OF_ESP32
from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.image.manifest import Claim
from otaseal.release import record_json
from otaseal.release.admission import Policy
from otaseal.release.records import Origin, Release
from support import by_bytes, images, other_images
from support.images import Signer
from support.pico_images import CHIPS, FILESYSTEM, build_image
from support.rsa_keys import make_rsa

ORIGIN = Origin("blink", "1.2.3", "2026-02-01T12:00:00Z", "rpipicow")


@cache
def signed(chip: str = "rp2040", **options: Any) -> bytes:
    return signed_image.sign(build_image(chip, **options), Signer(make_rsa(2048)))


def admit(*files: bytes, current: Release | None = None, **changes: Any) -> Release:
    policy = Policy("blink", [make_rsa(2048).public_key()], **changes)
    return by_bytes.admit(list(files), ORIGIN, policy, current)


def current(chip: str = "rp2040", **options: Any) -> Release:
    origin = Origin("blink", "1.2.2", "2026-01-31T12:00:00Z", "rpipicow")
    return by_bytes.describe([signed(chip, **options)], origin, [make_rsa(2048).public_key()])


@pytest.mark.parametrize("chip", CHIPS)
def test_a_record_has_chip_and_filesystem_and_survives_json(chip: str) -> None:
    release = admit(signed(chip), current=current(chip))
    assert (release.chip, release.filesystem, release.sketch_md5) == (chip, FILESYSTEM, ())
    assert (release.flash_mode, release.flash_size, release.core_release) == (None, None, None)
    data = record_json.serialise(release)
    assert json.loads(data)["format"] == 3
    assert record_json.parse(data) == release


def test_the_record_of_an_esp8266_is_written_as_it_was_before_there_were_others() -> None:
    data = signed_image.sign(images.build_image(), Signer(make_rsa(2048)))
    record = json.loads(record_json.serialise(admit(data)))
    assert record["format"] == 2
    assert not {"chip", "filesystem"} & set(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chip", "esp8266"),
        ("chip", "rp2041"),
        ("filesystem", [1, 2, 3]),
        ("filesystem", [-1, 4096]),
        ("filesystem", "4096"),
        ("format", 2),
        ("format", 4),
    ],
)
def test_a_changed_record_is_refused(field: str, value: object) -> None:
    values = json.loads(record_json.serialise(admit(signed())))
    values[field] = value
    with pytest.raises(InputError):
        record_json.parse((json.dumps(values, indent=2, sort_keys=True) + "\n").encode())


def test_both_forms_are_one_release() -> None:
    raw = build_image("rp2350")
    packed = signed_image.sign(gzip_payload.compress(raw), Signer(make_rsa(2048)))
    assert [form.kind for form in admit(signed("rp2350"), packed).forms] == ["raw", "gzip"]
    with pytest.raises(InputError, match="not the raw and the gzip form of one build"):
        admit(signed("rp2350", code=b"other"), packed)


def test_a_release_for_another_chip_or_filesystem_does_not_follow() -> None:
    with pytest.raises(InputError, match=r"for chip 'rp2350', release 1\.2\.2 is for 'rp2040'"):
        admit(signed("rp2350"), current=current())
    with pytest.raises(InputError, match="for chip 'rp2350-riscv'"):
        admit(signed("rp2350-riscv"), current=current("rp2350"))
    with pytest.raises(InputError, match="for filesystem '524288 bytes at 524288'"):
        admit(signed(filesystem=(0x80000, 0x80000)), current=current())
    assert admit(signed(code=b"new"), current=current())


def test_an_update_that_no_filesystem_of_its_size_can_hold_is_refused() -> None:
    small = {"filesystem": (0x100000, 0x8000)}
    with pytest.raises(VerificationError, match="do not fit a filesystem of 32768"):
        admit(signed(**small))
    assert admit(signed(code=b"short", data_size=64, **small))


def test_firmware_that_no_update_could_follow_is_refused() -> None:
    with pytest.raises(InputError, match="no filesystem"):
        admit(signed(filesystem=(0x1FF000, 0)))


@cache
def esp32(chip: int = other_images.ESP32, *, version: str = "1.2.3", counter: int = 0, **options: Any) -> bytes:
    """Return signed firmware with the OtaSeal library for a chip of the ESP32 family."""
    claim = Claim("blink", "rpipicow", version, counter)
    own = manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    raw = other_images.esp32_image(chip, constants=own, **options)
    return signed_image.sign(raw + manifest.serialise(manifest.make(claim)), Signer(make_rsa(2048)))


def current_esp32(chip: int = other_images.ESP32, **options: Any) -> Release:
    origin = Origin("blink", "1.2.2", "2026-01-31T12:00:00Z", "rpipicow")
    return by_bytes.describe([esp32(chip, version="1.2.2", **options)], origin, [make_rsa(2048).public_key()])


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3", "esp32p4"])
def test_the_record_of_an_esp32_has_the_one_digest_that_its_core_says(chip: str) -> None:
    number = {name.lower().replace("-", ""): number for number, name in CHIPS_OF_ESP32.items()}[chip]
    data = esp32(number)
    release = admit(data, current=current_esp32(number))
    running = data[: -4 - 256 - manifest.SIZE]
    assert (release.chip, release.sketch_size) == (chip, len(running))
    assert release.sketch_md5 == (hashlib.md5(running, usedforsecurity=False).hexdigest(),)
    assert (release.flash_mode, release.flash_size, release.core_release, release.filesystem) == (None,) * 4
    written = record_json.serialise(release)
    assert json.loads(written)["format"] == 3
    assert record_json.parse(written) == release


def test_an_esp32_without_the_library_is_refused_for_its_core_verifies_nothing() -> None:
    data = signed_image.sign(other_images.esp32_image(), Signer(make_rsa(2048)))
    with pytest.raises(InputError, match="for the chip 'esp32' has no OtaSeal library, and its core verifies no") as no:
        admit(data)
    assert "use the library in the sketch" in str(no.value.hint)


def test_an_esp32_takes_no_gzip() -> None:
    packed = gzip_payload.compress(other_images.esp32_image(other_images.ESP32_C3))
    with pytest.raises(InputError, match="the ESP32-C3 takes no gzip"):
        admit(signed_image.sign(packed, Signer(make_rsa(2048))))


def test_flash_mode_and_flash_size_play_no_part_on_an_esp32() -> None:
    assert admit(esp32(flash=(0, 0x4F)), current=current_esp32())


def test_a_release_for_another_chip_of_the_family_does_not_follow() -> None:
    with pytest.raises(InputError, match=r"for chip 'esp32s3', release 1\.2\.2 is for 'esp32'"):
        admit(esp32(other_images.ESP32_S3), current=current_esp32())
    with pytest.raises(InputError, match="security counter 1 is below 2"):
        admit(esp32(counter=1), current=current_esp32(counter=2))


def test_a_changed_esp32_image_is_refused_though_its_signature_holds() -> None:
    raw = bytearray(other_images.esp32_image())
    for place, what in ((0x300, "checksum is wrong"), (-1, "SHA-256 at the end")):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(InputError, match=what):
            admit(signed_image.sign(bytes(changed), Signer(make_rsa(2048))))
