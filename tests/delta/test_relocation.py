"""Where calls and loads point, as the toolchain's own disassembler says; and what the map says of addresses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.delta.relocation import BLOCK, CALL, LOAD, AddressMap, Shift, aimed, instruction_size, target
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
            assert instruction_size(word & 0xFF) == len(digits) // 2
        if name in ("call0", "l32r"):
            assert word & 15 == (CALL if name == "call0" else LOAD)
            assert target(word, at) == int(to, 16)
            assert aimed(word, at, int(to, 16)) == word
            found += 1
    assert found == 280


addresses = st.integers(0x4020_0000, 0x402F_FFFF)


@given(addresses, st.integers(-0x2_0000, 0x1_FFFF), st.sampled_from([0x05, 0x15, 0x25, 0x35]))
def test_a_call_is_aimed_at_its_target(at: int, words: int, first: int) -> None:
    to = (at & ~3) + 4 + words * 4
    moved = aimed(first, at, to)
    assert moved & 0x3F == first
    assert target(moved, at) == to


@given(addresses, st.integers(0, 0xFFFF), st.integers(0, 15))
def test_a_load_is_aimed_at_its_literal(at: int, words: int, register: int) -> None:
    to = (at + 3 & ~3) - 0x40000 + words * 4
    moved = aimed(register << 4 | 1, at, to)
    assert moved & 0xFF == register << 4 | 1
    assert target(moved, at) == to


@pytest.mark.parametrize(
    ("first", "to"), [(0x05, 0x4030_0000), (0x05, 0x4017_0000), (0x21, 0x4020_1100), (0x21, 0x401B_0000)]
)
def test_what_is_out_of_reach_stays(first: int, to: int) -> None:
    assert aimed(0x123400 | first, 0x4020_1000, to) == 0x123400 | first


def test_a_shift_reaches_to_the_next_one_and_no_further_than_its_block() -> None:
    shifts = AddressMap((Shift(0x4020_0000, 16), Shift(0x4020_1000, -4)))
    said = {0x401F_FFFF: 0, 0x4020_0000: 16, 0x4020_0FFF: 16, 0x4020_1000: -4, 0x4020_1000 + BLOCK - 1: -4}
    assert {address: shifts.amount(address) for address in said} == said
    assert shifts.amount(0x4020_1000 + BLOCK) == 0
    assert AddressMap().amount(0x4020_0000) == 0
