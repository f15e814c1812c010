"""Releases of the RP2040 and the RP2350: their records, what is admitted after what, and what is not published yet."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, signed_image
from otaseal.release import records
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
    data = records.serialise(release)
    assert json.loads(data)["format"] == 3
    assert records.parse(data) == release


def test_the_record_of_an_esp8266_is_written_as_it_was_before_there_were_others() -> None:
    data = signed_image.sign(images.build_image(), Signer(make_rsa(2048)))
    record = json.loads(records.serialise(admit(data)))
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
    values = json.loads(records.serialise(admit(signed())))
    values[field] = value
    with pytest.raises(InputError):
        records.parse((json.dumps(values, indent=2, sort_keys=True) + "\n").encode())


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


def test_the_esp32_is_not_published_yet() -> None:
    data = signed_image.sign(other_images.esp32_image(), Signer(make_rsa(2048)))
    with pytest.raises(InputError, match="firmware of the chip 'esp32' is not published yet"):
        admit(data)
