"""Where calls and loads point, as the toolchain's own disassembler says; and what the map says of addresses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.delta.instructions import RISCV, THUMB, XTENSA
from otaseal.delta.models import Kind
from otaseal.delta.relocation import BLOCK, AddressMap, Shift
from support import peers

LISTED = re.compile(r"^([0-9a-f]+):\s+([0-9a-f]{4}|[0-9a-f]{6})\s+(\S+)\s+(?:a\d+, )?([0-9a-f]+)?", re.MULTILINE)
SOURCE = """
    .text
    .align 4
constant:
    .word 0x12345678
first:
    .rept 40
    addi a1, a1, -16
    l32r a2, constant
    call0 first
    call0 last
    mov.n a3, a2
    call0 middle
    .endr
middle:
    .rept 40
    l32r a3, constant
    call0 last
    call0 first
    .endr
last:
    ret.n
"""


def test_the_toolchain_sees_the_same_targets(tmp_path: Path) -> None:
    objdump = peers.tool("xtensa-lx106-elf-objdump", "binutils-xtensa-lx106")
    (tmp_path / "code.s").write_text(SOURCE)
    shown = ""
    for command in (
        ["xtensa-lx106-elf-as", "--no-target-align", "-o", "code.o", "code.s"],
        ["xtensa-lx106-elf-ld", "-Ttext=0x40201010", "-e", "0", "-o", "code.elf", "code.o"],
        [objdump, "-d", "code.elf"],
    ):
        shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    found = 0
    for line in LISTED.finditer(shown):
        at, digits, name, to = int(line[1], 16), line[2], line[3], line[4]
        word = int(digits, 16)
        if at >= 0x40201014:
            assert XTENSA.size(word) == len(digits) // 2
        if name in ("call0", "l32r"):
            assert XTENSA.kind(word) is (Kind.CALL if name == "call0" else Kind.LOAD)
            assert XTENSA.target(word, at) == int(to, 16)
            assert XTENSA.aimed(word, at, int(to, 16)) == word
            found += 1
    assert found == 280


addresses = st.integers(0x4020_0000, 0x402F_FFFF)


@given(addresses, st.integers(-0x2_0000, 0x1_FFFF), st.sampled_from([0x05, 0x15, 0x25, 0x35]))
def test_a_call_is_aimed_at_its_target(at: int, words: int, first: int) -> None:
    to = (at & ~3) + 4 + words * 4
    moved = XTENSA.aimed(first, at, to)
    assert moved & 0x3F == first
    assert XTENSA.target(moved, at) == to


@given(addresses, st.integers(0, 0xFFFF), st.integers(0, 15))
def test_a_load_is_aimed_at_its_literal(at: int, words: int, register: int) -> None:
    to = (at + 3 & ~3) - 0x40000 + words * 4
    moved = XTENSA.aimed(register << 4 | 1, at, to)
    assert moved & 0xFF == register << 4 | 1
    assert XTENSA.target(moved, at) == to


@pytest.mark.parametrize(
    ("first", "to"), [(0x05, 0x4030_0000), (0x05, 0x4017_0000), (0x21, 0x4020_1100), (0x21, 0x401B_0000)]
)
def test_what_is_out_of_reach_stays(first: int, to: int) -> None:
    assert XTENSA.aimed(0x123400 | first, 0x4020_1000, to) == 0x123400 | first


@pytest.mark.parametrize(
    ("at", "halves", "to"),
    [
        (0x1000_3000, (0xF7FF, 0xFFFE), 0x1000_3000),
        (0x1000_3006, (0xF000, 0xF87B), 0x1000_3100),
        (0x1000_300A, (0xF3FF, 0xFFF9), 0x1040_3000),
        (0x1000_300E, (0xF3FF, 0xF7F7), 0x1080_3000),
        (0x1000_3012, (0xF3FC, 0xD7F4), 0x10FF_FFFE),
        (0x1000_3016, (0xF7FF, 0xDFF3), 0x0F80_3000),
        (0x1000_301A, (0xF400, 0xD000), 0x0F00_301E),
    ],
)
def test_a_thumb_call_is_what_the_linker_makes_of_it(at: int, halves: tuple[int, int], to: int) -> None:
    """GNU ld 2.40 made these, of BL at `at` to `to`."""
    word = halves[1] << 16 | halves[0]
    assert (THUMB.kind(word), THUMB.size(word)) == (Kind.CALL, 4)
    assert THUMB.target(word, at) == to
    assert THUMB.aimed(0xD000_F000, at, to) == word


@given(addresses, st.integers(-(1 << 23), (1 << 23) - 1))
def test_a_thumb_call_is_aimed_at_its_target(at: int, halves: int) -> None:
    at &= ~1
    to = at + 4 + 2 * halves
    moved = THUMB.aimed(0xD000_F000, at, to)
    assert THUMB.kind(moved) is Kind.CALL
    assert THUMB.target(moved, at) == to
    assert THUMB.without_distance(moved) == 0xD000_F000


@pytest.mark.parametrize("far", [1 << 24, -(1 << 24) - 2])
def test_a_thumb_call_that_does_not_reach_stays(far: int) -> None:
    assert THUMB.aimed(0xF87B_F000, 0x1000_3000, 0x1000_3004 + far) == 0xF87B_F000


@pytest.mark.parametrize(
    ("word", "size"), [(0x4770, 2), (0xE7FE, 2), (0x8000_F3EF, 4), (0x8F4F_F3BF, 4), (0xBD10_E8BD, 4)]
)
def test_other_thumb_instructions_are_as_long_as_they_say(word: int, size: int) -> None:
    assert (THUMB.size(word), THUMB.kind(word)) == (size, None)


@pytest.mark.parametrize(
    ("at", "word", "to"),
    [
        (0x4200_0020, 0x0000_00EF, 0x4200_0020),
        (0x4200_0024, 0x7FFF_F0EF, 0x4210_0022),
        (0x4200_0028, 0x8000_006F, 0x41F0_0028),
        (0x4200_002C, 0x57B0_22EF, 0x4200_2DA6),
        (0x4200_0030, 0xFE00_80E7_FE00_0097, 0x4000_0010),
        (0x4200_0038, 0x7C83_0067_0080_0317, 0x4280_0800),
    ],
)
def test_a_riscv_call_is_what_the_linker_makes_of_it(at: int, word: int, to: int) -> None:
    """GNU ld 2.40 made these: four JAL, then `call` and `tail`."""
    assert (RISCV.kind(word), RISCV.size(word)) == (Kind.CALL, 8 if word >> 32 else 4)
    assert RISCV.target(word, at) == to
    assert RISCV.aimed(RISCV.without_distance(word), at, to) == word
    assert RISCV.at(word.to_bytes(8, "little"), 0) == word


@given(addresses, st.integers(0, 0xFFFF_FFFF))
def test_a_far_riscv_call_is_aimed_anywhere(at: int, to: int) -> None:
    moved = RISCV.aimed(0x8067_0000_0097, at, to)
    assert RISCV.without_distance(moved) == 0x8067_0000_0097
    assert RISCV.target(moved, at) == to


@pytest.mark.parametrize("far", [1 << 20, -(1 << 20) - 2])
def test_a_riscv_call_that_does_not_reach_stays(far: int) -> None:
    assert RISCV.aimed(0x57B0_22EF, 0x4200_0020, 0x4200_0020 + far) == 0x57B0_22EF


@pytest.mark.parametrize(
    ("word", "size"),
    [(0x8082, 2), (0x0000_0013, 4), (0x0000_8067, 4), (0x0001_0067_0000_0097, 4), (0x9067_0000_0097, 4)],
)
def test_other_riscv_instructions_are_as_long_as_they_say(word: int, size: int) -> None:
    """The last two jump by another register than AUIPC's, and have no JALR behind it."""
    assert (RISCV.size(word), RISCV.kind(word)) == (size, None)


def test_a_shift_reaches_to_the_next_one_and_no_further_than_its_block() -> None:
    shifts = AddressMap((Shift(0x4020_0000, 16), Shift(0x4020_1000, -4)))
    said = {0x401F_FFFF: 0, 0x4020_0000: 16, 0x4020_0FFF: 16, 0x4020_1000: -4, 0x4020_1000 + BLOCK - 1: -4}
    assert {address: shifts.amount(address) for address in said} == said
    assert shifts.amount(0x4020_1000 + BLOCK) == 0
    assert AddressMap().amount(0x4020_0000) == 0
