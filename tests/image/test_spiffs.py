"""Files out of SPIFFS images, which the development platform's mkspiffs makes; the real one reads those, too."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.image import spiffs
from support.pio import PLATFORM

PAGE, BLOCK, SIZE = 256, 4096, 65536
FIRST, OTHER, ROOM = 105, 124, 251  # data pages in the first and in the other pages of an index, bytes in each


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mkspiffs", PLATFORM / "tools" / "mkspiffs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MKSPIFFS = load_tool()


def content(size: int) -> bytes:
    return bytes(n * 31 % 253 for n in range(size))


def make(folder: Path, files: dict[str, bytes]) -> bytes:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    image: bytes = MKSPIFFS.build(folder, PAGE, BLOCK, SIZE)
    return image


@pytest.mark.parametrize(
    "size",
    [0, 1, ROOM, ROOM + 1, FIRST * ROOM, FIRST * ROOM + 1, (FIRST + OTHER // 2) * ROOM],
)
def test_every_size_is_read(tmp_path: Path, size: int) -> None:
    image = make(tmp_path, {"a": b"before", "certs.ar": content(size), "z": b"after"})
    assert spiffs.read_file(image, "/certs.ar", PAGE, BLOCK) == content(size)
    assert spiffs.read_file(image, "/z", PAGE, BLOCK) == b"after"
    assert spiffs.read_file(image, "certs.ar", PAGE, BLOCK) is None


def test_a_deleted_file_is_not_there(tmp_path: Path) -> None:
    image = bytearray(make(tmp_path, {"certs.ar": content(10)}))
    header = 2 * PAGE  # the lookup page, the data page, then the index with the name
    assert image[header + 13 :].startswith(b"/certs.ar\0")
    image[header + 4] &= 0x7F
    assert spiffs.read_file(bytes(image), "/certs.ar", PAGE, BLOCK) is None


def test_a_page_of_another_file_is_not_read(tmp_path: Path) -> None:
    image = bytearray(make(tmp_path, {"certs.ar": content(10)}))
    image[PAGE] ^= 1
    with pytest.raises(InputError, match="its SPIFFS is damaged"):
        spiffs.read_file(bytes(image), "/certs.ar", PAGE, BLOCK)


@pytest.mark.parametrize("image", [b"", b"\xff" * SIZE, bytes(SIZE)])
def test_what_is_no_spiffs_is_refused(image: bytes) -> None:
    with pytest.raises(InputError, match="there is no SPIFFS"):
        spiffs.read_file(image, "/certs.ar", PAGE, BLOCK)


def test_one_block_may_be_unformatted_and_not_two(tmp_path: Path) -> None:
    image = make(tmp_path, {"certs.ar": b"there"})
    assert spiffs.read_file(image[:-BLOCK] + b"\xff" * BLOCK, "/certs.ar", PAGE, BLOCK) == b"there"
    with pytest.raises(InputError, match="there is no SPIFFS"):
        spiffs.read_file(image[: -2 * BLOCK] + b"\xff" * 2 * BLOCK, "/certs.ar", PAGE, BLOCK)


@given(st.integers(0, 8 * PAGE), st.binary(min_size=1, max_size=8), st.integers(0, SIZE))
@settings(max_examples=200, deadline=None)
def test_any_damage_gives_a_file_none_or_our_error(place: int, damage: bytes, end: int) -> None:
    image = MKSPIFFS.Image(PAGE, BLOCK, SIZE)
    image.add(1, b"/certs.ar", content(600))
    changed = bytearray(image.content)
    changed[place : place + len(damage)] = damage
    for cut in (bytes(changed), bytes(changed[:end])):
        try:
            found = spiffs.read_file(cut, "/certs.ar", PAGE, BLOCK)
        except InputError:
            continue
        assert found is None or len(found) <= SIZE
