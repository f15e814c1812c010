"""Images of arduino-pico: what is read from them, where they end, and what they are not taken for."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.chips import file_kinds, images, pico
from otaseal.chips.pico import PicoImage
from otaseal.errors import InputError
from support import images as esp8266_images
from support import other_images
from support.pico_images import APP, CHIPS, FLASH, boot_stage, build_image


def parsed(data: bytes) -> PicoImage:
    image = images.parse(data)
    assert isinstance(image, PicoImage)
    return image


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("behind", [b"", b"trailer"])
def test_an_image_says_its_chip_its_filesystem_and_where_it_ends(chip: str, behind: bytes) -> None:
    data = build_image(chip, filesystem=(0x80000, 0x40000))
    image = parsed(data + behind)
    assert (image.chip, image.sketch_size, bytes(image.tail)) == (chip, len(data), behind)
    assert (image.filesystem.start, image.filesystem.size) == (0x80000, 0x40000)
    assert image.faults() == () == image.sketch_digests()
    assert images.damage(image) is None is image.update_refusal()
    assert (image.flash_mode, image.flash_size, image.core_release) == (None, None, None)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("size", [2001, 2002, 2003])
def test_what_is_copied_to_ram_may_end_within_a_word(chip: str, size: int) -> None:
    """As variables of a thread do; the RP2350's last block stands at the next word."""
    data = build_image(chip, data_size=size)
    assert parsed(data).sketch_size == len(data)


@pytest.mark.parametrize("chip", CHIPS)
def test_firmware_that_can_say_its_md5_says_that_of_what_the_linker_calls_the_image(chip: str) -> None:
    """Without the name of the header there is nothing that would."""
    data = build_image(chip, code=b"x-Pico-\0sketch-md5\0" + bytes(500))
    for behind in (b"", b"OtaSealM" + bytes(56)):
        assert parsed(data + behind).sketch_digests() == (hashlib.md5(data).hexdigest(),)
    assert parsed(build_image(chip, code=b"sketch-md5sum\0")).sketch_digests() == ()


@pytest.mark.parametrize("chip", CHIPS)
@given(cut=st.integers(1, 20_000))
def test_an_image_that_is_cut_is_called_so(chip: str, cut: int) -> None:
    data = build_image(chip)
    rest = data[: max(APP + 0x200, len(data) - cut)]
    with pytest.raises(InputError, match=f"{chip} image is cut short"):
        images.parse(rest)


def test_a_boot_stage_with_a_wrong_crc_is_damage() -> None:
    data = bytearray(build_image("rp2040"))
    data[10] ^= 1
    image = parsed(bytes(data))
    assert images.damage(image) is not None
    assert images.damage(image) in image.faults()
    assert "CRC" in str(images.damage(image))


@pytest.mark.parametrize("chip", CHIPS)
def test_without_a_filesystem_there_is_no_update(chip: str) -> None:
    refusal = parsed(build_image(chip, filesystem=(0x1FF000, 0))).update_refusal()
    assert refusal is not None
    assert "no filesystem" in refusal.message
    assert "board_build.filesystem_size" in refusal.hint


def test_an_image_that_reaches_into_its_filesystem_is_refused() -> None:
    image = parsed(build_image("rp2350", filesystem=(0x4000, 0x40000)))
    refusal = image.update_refusal()
    assert refusal is not None
    assert refusal.message == f"the image of {image.sketch_size} bytes reaches into its filesystem at 16384"


@pytest.mark.parametrize("chip", CHIPS)
def test_a_gzip_needs_the_library_for_its_core_to_be_new_enough(chip: str) -> None:
    image = parsed(build_image(chip))
    assert image.gzip_refusal(library=True) is None
    refusal = image.gzip_refusal(library=False)
    assert refusal is not None
    assert "5.5.0" in refusal.message


def without_stub(chip: str) -> bytes:
    """Return an image as other SDKs link it: the application where arduino-pico has its boot stub."""
    data = bytearray(build_image(chip))
    data[APP - 16 : APP] = bytes(16)
    return bytes(data)


@pytest.mark.parametrize("chip", CHIPS)
def test_an_image_of_another_sdk_is_called_so(chip: str) -> None:
    with pytest.raises(InputError) as caught:
        images.parse(without_stub(chip))
    assert caught.value.message.startswith(f"this is an {chip.upper()} image without arduino-pico's boot stub")
    kind = file_kinds.recognize(without_stub(chip))
    assert kind is not None
    assert kind.name == "pico-other"


@pytest.mark.parametrize(
    "other",
    [
        esp8266_images.build_image(code_size=20_000),
        other_images.esp32_image(),
        other_images.uf2(0xE48BFF59),
        bytes(20_000),
        b"\xff" * 20_000,
        boot_stage(),
        build_image("rp2350")[:APP],
    ],
    ids=["esp8266", "esp32", "uf2", "zeros", "erased", "boot stage", "stub"],
)
def test_nothing_else_is_taken_for_one(other: bytes) -> None:
    assert not pico.is_image(other)


def test_no_other_processor_is_taken_for_one_that_arduino_pico_builds_for() -> None:
    data = build_image("rp2350")
    for kind in (0x1020, 0x0021, 0x1221, 0x2021):  # no executable, the RP2040, a third processor, a later chip
        other = data.replace(struct.pack("<BBH", 0x42, 1, 0x1021), struct.pack("<BBH", 0x42, 1, kind))
        assert not pico.is_image(other), hex(kind)


@pytest.mark.parametrize("chip", CHIPS)
@given(data=st.data())
def test_bytes_that_change_raise_nothing_but_input_errors(chip: str, data: st.DataObject) -> None:
    changed = bytearray(build_image(chip, code=b"code" * 50, data_size=64))
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.sampled_from([*range(400), *range(APP - 32, len(changed))]))] = data.draw(
            st.sampled_from([0, 0xFF, 0x10, 0x20, 1])
        )
    try:
        image = images.parse(bytes(changed))
    except InputError:
        return
    assert 0 < image.sketch_size <= len(changed)
    assert bytes(image.data) == bytes(changed)


@pytest.mark.parametrize("size", [100_000, 300_000, 1_000_000])
def test_what_littlefs_needs_for_an_update_is_estimated_from_above(size: int) -> None:
    littlefs = pytest.importorskip("littlefs")
    blocks = pico.staging_size(size) // pico.BLOCK
    for count, fits in ((blocks, True), (-(-size // pico.BLOCK), False)):
        filesystem = littlefs.LittleFS(
            block_size=4096, block_count=count, read_size=256, prog_size=256, cache_size=256, lookahead_size=256
        )
        assert written(littlefs, filesystem, size) is fits


def written(littlefs: object, filesystem: object, size: int) -> bool:
    """Tell whether a file of `size` bytes, and the order to copy it, can be written."""
    try:
        for name, count in (("firmware.bin", size), ("otacommand.bin", 656)):
            with filesystem.open(name, "wb") as file:  # type: ignore[attr-defined]
                file.write(bytes(count))
    except littlefs.LittleFSError:  # type: ignore[attr-defined]
        return False
    return True


def test_the_flash_starts_where_the_chips_map_it() -> None:
    assert pico.FLASH_BASE == FLASH
