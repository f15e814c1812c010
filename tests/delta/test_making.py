"""A patch makes its target from its base, byte for byte, and what has only moved costs next to nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.chips import images as chips
from otaseal.chips.boot_image import FlashMode
from otaseal.delta import alignment, applying, bases, fitting, header, layout
from otaseal.delta.instructions import RISCV, THUMB, XTENSA, Instructions
from otaseal.delta.making import Stream, make
from otaseal.delta.relocation import AddressMap, Code, Shift
from otaseal.errors import InputError
from support import other_images, patches, pico_images
from support.firmware import LIBRARY
from support.images import build_image

FUNCTIONS = patches.program(400)
OLD = patches.image(FUNCTIONS)
NEW = patches.image([*FUNCTIONS[:150], *patches.program(3, seed=2), *FUNCTIONS[150:]])


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=400), st.data())
def test_any_bytes_come_out_of_any_others(base: bytes, data: st.DataObject) -> None:
    new = bytearray(base * data.draw(st.integers(1, 3)))
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(new)))
        new[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    target = bytes(new) or b"\0"
    assert applying.apply(base, make(base, target)) == target


words = st.integers(0x4020_0000, 0x4020_0FFF).map(lambda word: word.to_bytes(4, "little"))
xtensa, thumb = [b"\x05\x12\x00", b"\x21\xfe\xff"], [b"\x12\xf0\x34\xf8", b"\xff\xf7\xfe\xff", b"\x70\x47"]
riscv = [patches.jal(64), patches.jal(-4), patches.far_call(0x124), patches.far_call(-0x1008), b"\x82\x80"]
sites = st.sampled_from([*xtensa, *thumb, *riscv])
pieces = st.lists(words | st.binary(max_size=5) | sites, max_size=120)
maps = st.lists(st.tuples(st.integers(0x4020_0000, 0x4020_1000), st.integers(-999, 999)), max_size=6)
runs = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 200), st.integers(-99, 99)), max_size=2)


@settings(max_examples=250)
@given(pieces, maps, runs, st.sampled_from([XTENSA, THUMB, RISCV]), st.data())
def test_maker_and_device_agree_on_every_site(
    parts: list[bytes],
    shifts: list[tuple[int, int]],
    code: list[tuple[int, int, int]],
    known: Instructions,
    data: st.DataObject,
) -> None:
    """Whatever map and code a patch names: the maker finds its sites in one pass, the device one after the other."""
    base = b"".join(parts) or b"\0"
    target = data.draw(st.binary(max_size=9)) + base + data.draw(st.binary(max_size=9))
    mapped = AddressMap(tuple(Shift(start, amount) for start, amount in dict(sorted(shifts)).items()))
    placed, end = [], 0
    for gap, size, moved in code:
        if end + gap + size <= len(base):
            placed.append(Code(end + gap, size, 0x4020_0000 + end + gap, moved, known))
            end += gap + size
    copies = alignment.align(base, target, layout.Layout(), layout.Layout())
    stream = Stream(base, target, tuple(placed), mapped).coded(copies)
    number = known.number if placed else 0
    said = {"shifts": len(mapped.shifts), "code": len(placed), "instructions": number}
    head = header.parse(patches.patch(base, target, [], **said))
    assert applying.apply(base, header.serialise(head) + stream) == target


@pytest.mark.parametrize("size", [8, 300, 3000])
def test_the_first_bytes_may_come_from_anywhere_in_the_base(size: int) -> None:
    """A device begins at offset 0 of the base, and no step may make nothing, to begin elsewhere."""
    base = random.Random(4).randbytes(size)
    for at in (1, size // 2, size - 1):
        target = base[at:] + base[:at]
        assert applying.apply(base, make(base, target)) == target


def test_a_run_of_code_may_begin_within_a_word_that_moves() -> None:
    """The device goes on behind the word, so that instructions are read from there."""
    base = (0x4020_0000).to_bytes(4, "little") + b"\x05\x12\0" + bytes(9)
    mapped = AddressMap((Shift(0x4020_0000, 4),))
    target = base + b"something new"
    for start in range(1, 4):
        code = (Code(start, len(base) - start, 0x4020_0000 + start, 0),)
        stream = Stream(base, target, code, mapped).coded([alignment.Copy(0, 0, len(base), len(target) - len(base))])
        head = patches.patch(base, target, [], shifts=1, code=1)[: header.SIZE]
        assert applying.apply(base, head + stream) == target


def test_what_has_moved_costs_a_third_of_what_it_costs_without_the_map() -> None:
    patch = make(OLD, NEW)
    assert applying.apply(OLD, patch) == NEW
    copies = alignment.align(OLD, NEW, layout.Layout(), layout.Layout())
    without = Stream(OLD, NEW, (), AddressMap()).coded(copies)
    assert (len(patch) - header.SIZE) * 3 < len(without)


def test_the_same_image_costs_its_header_and_a_few_bytes() -> None:
    assert len(make(OLD, OLD)) < header.SIZE + 16


@pytest.mark.parametrize("word", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x40\0\0\x01", b"abcd"])
def test_long_runs_of_one_thing_stay_cheap(word: bytes) -> None:
    """They are numbered before bsdiff sees them, whose time for them grows with their square."""
    noise = random.Random(5)
    before, behind = noise.randbytes(3000), noise.randbytes(3000)
    base, target = before + word * 20_000 + behind, before + b"news" + word * 20_002 + behind
    masked = [alignment.without_what_moves(data, layout.Layout()) for data in (base, target)]
    assert max(masked[0].count(masked[0][place : place + 4]) for place in range(0, len(base), 997)) < 4
    patch = make(base, target)
    assert applying.apply(base, patch) == target
    assert len(patch) < header.SIZE + 60


def test_equal_images_give_equal_patches() -> None:
    assert make(OLD, NEW) == make(OLD, NEW)


@pytest.mark.parametrize("chip", [other_images.ESP32, other_images.ESP32_C3, other_images.ESP32_S3])
def test_images_of_the_esp32_family(chip: int) -> None:
    old = other_images.esp32_image(chip, constants=patches.linked(FUNCTIONS, 0x3F40_0000))
    new = other_images.esp32_image(chip, constants=patches.linked(FUNCTIONS[3:], 0x3F40_0000))
    assert applying.apply(old, make(old, new)) == new
    assert header.parse(make(old, new)).code == (0 if chip == other_images.ESP32_C3 else 3)


def test_the_library_says_that_it_knows_riscv_as_the_maker_looks_for_it() -> None:
    said = layout.SAYS_RISCV.rstrip(b"\0").decode()
    assert f'return "{said}";' in (LIBRARY / "otaseal" / "instructions.h").read_text()


def test_riscv_is_foretold_for_devices_whose_firmware_says_that_it_knows_it() -> None:
    """Earlier libraries on these chips take no runs of code at all: they have the decoder of Xtensa."""
    functions, sizes = [*FUNCTIONS[:150], *patches.program(3, seed=2), *FUNCTIONS[150:]], []
    for said in (b" patch1\0", layout.SAYS_RISCV):
        old, new = (
            other_images.esp32_image(
                other_images.ESP32_C3, constants=said.ljust(16, b"\0"), program=patches.riscv(some, 0x4200_0000)
            )
            for some in (FUNCTIONS, functions)
        )
        patch = make(old, new)
        assert applying.apply(old, patch) == new
        head = header.parse(patch)
        assert (head.code > 0, head.instructions) == ((False, 0) if said != layout.SAYS_RISCV else (True, 2))
        sizes.append(len(patch) - header.SIZE)
    assert sizes[1] * 2 < sizes[0], sizes


@pytest.mark.parametrize(
    ("before", "after"),
    [([0, 0xFFFF_FFFF, 0x10, 0xFFF0_0000], [0xFFFF_FFFF, 0, 0xFFF0_0000, 0x10]), ([0xFFFF_FFFF], [0xFFFF_FFF8])],
)
def test_addresses_at_both_ends_of_memory(before: list[int], after: list[int]) -> None:
    """Segments may name any address, and words in them may seem to have moved further than a number goes."""
    old, new = (b"".join(word.to_bytes(4, "little") * 5 for word in words) for words in (before, after))
    copies = [alignment.Copy(0, 0, len(old), 0)]
    shifts = fitting.fit(old, new, copies, (), frozenset((0, 0xFFF)))
    head = patches.patch(old, new, [], shifts=len(shifts.shifts))[: header.SIZE]
    assert applying.apply(old, head + Stream(old, new, (), shifts).coded(copies)) == new


def test_images_of_the_pico() -> None:
    """The same code for each chip: Thumb calls are foretold, and of RISC-V words alone."""
    functions, sizes = [*FUNCTIONS[:150], *patches.program(3, seed=2), *FUNCTIONS[150:]], {}
    for chip in pico_images.CHIPS:
        place = pico_images.FLASH + pico_images.build_image(chip, code=b"here it is").index(b"here it is")
        old, new = (pico_images.build_image(chip, code=patches.thumb(some, place)) for some in (FUNCTIONS, functions))
        patch = make(old, new)
        assert applying.apply(old, patch) == new
        head = header.parse(patch)
        assert (head.code, head.instructions) == ((0, 0) if chip == "rp2350-riscv" else (1, 1))
        sizes[chip] = len(patch) - header.SIZE
    assert max(sizes["rp2040"], sizes["rp2350"]) * 2 < sizes["rp2350-riscv"], sizes


@pytest.mark.parametrize("mode", FlashMode)
def test_the_base_has_the_flash_mode_of_devices_that_can_take_the_target(mode: FlashMode) -> None:
    """Byte 2 in flash is the chip's mode, and a raw image of another mode is refused (F7, F30b)."""
    old, new = chips.parse(OLD), chips.parse(patches.image(FUNCTIONS[1:], mode=mode.name.lower()))
    base = bases.for_target(old, new)
    patch = make(base, bytes(new.data))
    assert header.md5(base).hex() == old.sketch_digests()[mode]
    assert [place for place in range(len(OLD)) if base[place] != OLD[place]] in ([], [2])
    assert bases.for_patch(old, header.parse(patch)) == base
    assert applying.apply(base, patch) == new.data


def test_a_base_ends_where_the_sketch_does() -> None:
    """Manifest and signature stand behind it in the file, and are no part of what a sketch MD5 covers."""
    old = chips.parse(OLD + random.Random(3).randbytes(324))
    assert bases.for_target(old, chips.parse(OLD)) == OLD


@pytest.mark.parametrize(("base", "new", "what"), [(b"", OLD, "base"), (OLD, b"", "target")])
def test_nothing_is_no_image(base: bytes, new: bytes, what: str) -> None:
    with pytest.raises(InputError, match=f"the {what} is empty"):
        make(base, new)


def test_layouts_of_images_and_of_anything_else() -> None:
    found = layout.of(OLD)
    assert [segment.address for segment in found.segments] == [0x4020_1010, 0x4010_0000, 0x3FFE_8000]
    assert [OLD[segment.start - 8 : segment.start - 4] for segment in found.segments] == [
        segment.address.to_bytes(4, "little") for segment in found.segments
    ]
    assert [run.address for run in found.code] == [0x4020_1010]
    assert layout.of(b"text") == layout.Layout()
    assert layout.runs_of_code(found, layout.Layout()) == ()
    assert layout.runs_of_code(layout.of(build_image()), found) == ()
