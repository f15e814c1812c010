"""Applications for the ESP32 and the chips after it, held against what esptool reads and makes."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.chips import esp32, families, file_kinds, images
from otaseal.chips.esp32 import Esp32Image
from otaseal.errors import InputError
from support import other_images, peers


def parsed(data: bytes) -> Esp32Image:
    image = images.parse(data)
    assert isinstance(image, Esp32Image)
    return image


@pytest.mark.parametrize("chip", esp32.CHIPS)
@pytest.mark.parametrize("behind", [b"", b"trailer"])
def test_an_application_says_its_chip_and_where_it_ends(chip: int, behind: bytes) -> None:
    data = other_images.esp32_image(chip)
    image = parsed(data + behind)
    assert (image.title, image.sketch_size, bytes(image.tail)) == (esp32.CHIPS[chip], len(data), behind)
    assert families.FAMILY_OF[image.chip].name == "esp32"
    assert image.faults() == ()
    assert image.sketch_digests() == (hashlib.md5(data, usedforsecurity=False).hexdigest(),)
    assert image.description.project == "blink"
    assert image.description.version == "1.0"


def test_the_revisions_that_it_is_for() -> None:
    data = bytearray(other_images.esp32_image())
    data[14], data[15:17], data[17:19] = 3, (301).to_bytes(2, "little"), (399).to_bytes(2, "little")
    image = parsed(bytes(data))
    assert (image.minimum_revision, image.maximum_revision) == (301, 399)
    assert "revision 3.1 to 3.99" in image.lines()[0]
    data[15:17] = bytes(2)  # what tools before revisions had two parts write
    assert parsed(bytes(data)).minimum_revision == 300


def test_each_sum_that_does_not_hold_is_damage() -> None:
    data = bytearray(other_images.esp32_image())
    data[-40] ^= 1
    image = parsed(bytes(data))
    assert image.faults() == ("the SHA-256 at the end of the application does not fit its content",)
    data[0x200] ^= 1
    image = parsed(bytes(data))
    assert images.damage(image) == "the application's checksum is wrong"
    assert image.as_dict()["hash_ok"] is False


@given(cut=st.integers(1, 30_000))
def test_an_application_that_is_cut_is_called_so(cut: int) -> None:
    data = other_images.esp32_image()
    with pytest.raises(InputError, match="cut short"):
        images.parse(data[: max(0x24, len(data) - cut)])


def test_a_chip_that_is_not_known_is_called_by_its_number() -> None:
    with pytest.raises(InputError, match="a chip of Espressif's, id 99, that"):
        images.parse(other_images.esp32_image(99))


@given(st.binary(min_size=24, max_size=24), st.integers(0, 400))
def test_bytes_that_change_raise_nothing_but_input_errors(head: bytes, at: int) -> None:
    data = bytearray(other_images.esp32_image())
    data[1:12], data[13:24] = head[1:12], head[13:24]
    data[at + 24] ^= 0xFF
    try:
        image = images.parse(bytes(data))
    except InputError:
        return
    assert 0 < image.sketch_size <= len(data)


def esptool(*arguments: str | Path) -> str:
    command = [peers.tool("esptool", "esptool of PyPI"), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("chip", "name"), [(0, "esp32"), (9, "esp32s3"), (13, "esp32c6")])
def test_esptool_reads_the_same(chip: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / "firmware.bin"
    path.write_bytes(other_images.esp32_image(chip))
    said = esptool("--chip", name, "image-info", path)
    image = parsed(path.read_bytes())
    assert f"Project name: {image.description.project}" in said
    assert f"App version: {image.description.version}" in said
    assert re.search(r"Checksum: 0x[0-9a-f]+ \(valid\)", said)
    assert re.search(rf"Validation hash: {(image.stored_hash or b'').hex()} \(valid\)", said)
    rows = re.findall(r"^ +\d+  0x([0-9a-f]+)  0x([0-9a-f]+)  0x", said, re.M)
    assert rows == [(f"{len(part.data):05x}", f"{part.address:08x}") for part in image.part.segments]


@pytest.mark.parametrize("boot_at", [0, 0x1000, 0x2000])
@pytest.mark.parametrize("table_at", [0x8000, 0x9000, 0xD000])
def test_a_factory_image_is_one_wherever_its_table_is_and_if_it_begins_with_the_boot_loader(
    boot_at: int, table_at: int
) -> None:
    whole = other_images.esp32_factory_image(boot_at, table_at)
    name = "an ESP32 factory image: boot loader, partition table and application in one"
    for data in (whole, whole[boot_at:]):
        with pytest.raises(InputError, match=name):
            images.parse(data)
    with pytest.raises(InputError, match="boot loader, partition table in one"):
        images.parse(whole[:0x10000])


@pytest.mark.parametrize("chip", esp32.CHIPS)
def test_a_segment_of_padding_is_not_loaded_and_no_damage(chip: int) -> None:
    data = other_images.esp32_image(chip, padding=0xFFE8)
    assert images.damage(parsed(data)) is None
    assert parsed(data).sketch_size == len(data)
    name = f"an {esp32.CHIPS[chip]} application without a description"
    with pytest.raises(InputError, match=name):
        images.parse(other_images.esp32_image(chip, described=False, padding=0xFFE8))


@pytest.mark.parametrize("chip", [4, 6, 77])
def test_an_image_for_a_chip_to_come_is_called_so(chip: int) -> None:
    data = bytearray(other_images.esp32_image(application=False))
    data[12] = chip
    with pytest.raises(InputError, match=f"an image for a chip of Espressif's, id {chip}, that"):
        images.parse(bytes(data))
    data[0x200] ^= 1
    with pytest.raises(InputError, match=r"is cut short|claims"):
        images.parse(bytes(data))


def test_the_first_bytes_of_a_partition_table_in_an_application_are_no_factory_image() -> None:
    table = other_images.partition_table()
    for at in (0x8000, 0x9000):
        fill = bytes(at - 0x20 - 256 - 256 * 40)
        for behind in (table[:32], table[:2]):
            data = other_images.esp32_image(constants=fill + behind)
            assert data[at : at + 2] == table[:2]
            assert parsed(data).faults() == ()
            assert file_kinds.recognize(data) is None


def test_what_esptool_merges_is_no_application(tmp_path: Path) -> None:
    path, merged = tmp_path / "firmware.bin", tmp_path / "merged.bin"
    path.write_bytes(other_images.esp32_image())
    (tmp_path / "boot.bin").write_bytes(other_images.esp32_image(application=False))
    (tmp_path / "parts.bin").write_bytes(other_images.partition_table())
    parts = ("0x1000", tmp_path / "boot.bin", "0x8000", tmp_path / "parts.bin", "0x10000", path)
    esptool("--chip", "esp32", "merge-bin", "--output", merged, *parts)
    with pytest.raises(InputError, match="an ESP32 factory image"):
        images.parse(merged.read_bytes())
