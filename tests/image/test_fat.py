"""Files in FAT images that FatFs made, as the platforms for the ESP32 call it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.image import fat
from support.fat_images import SECTOR, fat_image

KIB = 1024
ARCHIVE = bytes(range(256)) * 77 + b"end"
FILES = {"index.html": b"x" * 9000, "a name that is long.txt": b"long", "certs.ar": ARCHIVE, "certs.old": b"old"}


@pytest.mark.parametrize("wear_levelling", [True, False])
@pytest.mark.parametrize("size", [640 * KIB, 1408 * KIB, 24 * KIB * KIB])
def test_a_file_is_found_whatever_the_size(size: int, wear_levelling: bool) -> None:
    image = fat_image(FILES, size, wear_levelling=wear_levelling)
    assert fat.read_file(image, "certs.ar") == ARCHIVE
    assert fat.read_file(image, "certs.old") == b"old"
    assert fat.read_file(image, "certs.new") is None


def test_a_file_that_was_removed_is_none() -> None:
    assert fat.read_file(fat_image(FILES, 640 * KIB, removed="certs.ar"), "certs.ar") is None
    assert fat.read_file(fat_image({}, 640 * KIB), "certs.ar") is None
    assert fat.read_file(fat_image({"certs.ar": b""}, 640 * KIB), "certs.ar") == b""


@pytest.mark.parametrize("content", [b"", b"\xff" * 65536, b"\xeb" + bytes(509) + b"\x55\xaa" + bytes(8192)])
def test_what_is_no_volume_is_said(content: bytes) -> None:
    with pytest.raises(InputError, match="no FAT"):
        fat.read_file(content, "certs.ar")


def test_a_file_that_is_cut_short_is_said() -> None:
    image = bytearray(fat_image({"certs.ar": ARCHIVE}, 640 * KIB))
    entry = image.index(b"CERTS   AR ")
    image[entry + 28 : entry + 32] = (10**6).to_bytes(4, "little")
    with pytest.raises(InputError, match=f"'certs.ar' has {-(-len(ARCHIVE) // SECTOR) * SECTOR} of 1000000 bytes"):
        fat.read_file(bytes(image), "certs.ar")


SMALL = fat_image({"certs.ar": ARCHIVE}, 640 * KIB)


@given(st.lists(st.tuples(st.integers(0, 5 * SECTOR), st.integers(0, 255)), max_size=6))
def test_changed_bytes_give_a_file_none_or_an_error(changes: list[tuple[int, int]]) -> None:
    image = bytearray(SMALL)
    for at, value in changes:
        image[at] = value
    try:
        found = fat.read_file(bytes(image), "certs.ar")
    except InputError:
        return
    assert found is None or len(found) < len(image)
