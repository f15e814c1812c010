"""The filesystem of the virtual device, with images that littlefs-python makes in every wrong way."""

from __future__ import annotations

import pytest

from otaseal.simulator.filesystem import mount, read_file, write_file
from otaseal.simulator.flash import LAYOUTS
from support.chips import chip, make_filesystem
from support.images import build_image

PLACE = LAYOUTS["4m1m"]
NAME = "/certs.ar"
CONTENT = bytes(range(256)) * 12


def make(**options: int) -> bytes:
    return make_filesystem(PLACE, {NAME: CONTENT}, **options)


def with_filesystem(image: bytes) -> bytes:
    flash = chip(build_image())
    return flash[: PLACE.fs_start] + image.ljust(PLACE.fs_size, b"\xff")[: PLACE.fs_size] + flash[PLACE.fs_end :]


def test_a_filesystem_as_the_build_makes_it_mounts_and_is_read() -> None:
    flash = with_filesystem(make())
    found = mount(flash, PLACE)
    assert (found.mounted, found.formatted, found.flash) == (True, False, flash)
    assert read_file(flash, PLACE, NAME) == CONTENT
    assert read_file(flash, PLACE, "/other") is None


@pytest.mark.parametrize(
    ("image", "fact", "word"),
    [
        (make(disk_version=0x20001), "F15b", "2.1"),
        (make(block_count=PLACE.fs_size // PLACE.block - 5), "F15b", "120 blocks"),
        (make(name_max=255), "F15b", "255"),
        (make(block_size=4096, block_count=PLACE.fs_size // 4096), "F15", "block size"),
        (b"\x5a" * PLACE.fs_size, "F15", "SPIFFS"),
        (b"", "F15", "never written"),
    ],
    ids=["2.1", "block count", "long names", "block size", "garbage", "erased"],
)
def test_f15_what_does_not_mount_is_formatted_and_the_certificates_are_gone(image: bytes, fact: str, word: str) -> None:
    flash = with_filesystem(image)
    kept = mount(flash, PLACE, auto_format=False)
    assert (kept.mounted, kept.formatted, kept.fact, kept.flash) == (False, False, fact, flash)
    assert word in kept.reason
    lost = mount(flash, PLACE)
    assert (lost.mounted, lost.formatted) == (True, True)
    assert read_file(lost.flash, PLACE, NAME) is None
    assert lost.flash[: PLACE.fs_start] == flash[: PLACE.fs_start]
    again = mount(lost.flash, PLACE)
    assert (again.mounted, again.formatted) == (True, False)


def test_a_file_is_written_and_stays() -> None:
    flash = write_file(with_filesystem(make()), PLACE, "/other", b"new")
    assert flash is not None
    assert (read_file(flash, PLACE, "/other"), read_file(flash, PLACE, NAME)) == (b"new", CONTENT)
    assert write_file(flash, PLACE, "/large", bytes(PLACE.fs_size)) is None
    assert write_file(with_filesystem(b""), PLACE, "/other", b"new") is None
    assert not mount(flash, LAYOUTS["4m"]).mounted
