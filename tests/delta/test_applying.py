"""A patch gives the bytes that it announces or is refused for its cause, comes in pieces, and little of it is kept."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.delta import applying
from otaseal.delta.errors import (
    PatchError,
    WrongBaseError,
)
from otaseal.errors import LaterFormatError
from support import patches
from support.patch_cases import BASE, NEW, OLD, PATCH, REAL, REFUSED, TARGET, mutated


def test_what_a_patch_says() -> None:
    assert applying.apply(BASE, PATCH) == TARGET
    assert applying.apply(OLD, REAL) == NEW


def test_a_step_may_go_back() -> None:
    parts = (("copied", 6), ("same", 6), ("added", 0), ("seek", 11), ("copied", 6), ("same", 6), ("added", 0))
    assert applying.apply(BASE, patches.patch(BASE, b"a basea base", parts)) == b"a basea base"


@pytest.mark.parametrize("case", REFUSED)
def test_a_patch_is_refused_for_its_cause(case: str) -> None:
    error, message, patch = REFUSED[case]
    with pytest.raises(error, match=message) as refused:
        applying.apply(BASE, patch())
    assert type(refused.value) is error


def test_nothing_comes_out_before_the_base_is_known_to_be_right() -> None:
    with pytest.raises(WrongBaseError):
        next(applying.pieces(BASE[::-1], [PATCH]))


@settings(max_examples=40)
@given(st.lists(st.integers(0, len(REAL)), max_size=30))
def test_chunks_of_any_size_make_the_same(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(REAL)]
    chunks = [REAL[start:end] for start, end in pairwise(places)]
    assert b"".join(applying.pieces(OLD, chunks)) == NEW


def test_byte_by_byte_as_much_comes_out_as_can_be_known() -> None:
    """The decoder reads no further than it needs: an image streams through a chip as its patch arrives."""
    taken = 0

    def bytewise() -> Iterator[bytes]:
        nonlocal taken
        for byte in REAL:
            taken += 1
            yield bytes([byte])

    stream = applying.pieces(OLD, bytewise())
    next(stream)
    assert taken < len(REAL) // 2
    assert b"".join(stream)
    assert taken == len(REAL)


def test_memory_does_not_grow_with_the_target() -> None:
    """Only the base is there as a whole, which a chip has in flash."""
    target = base = random.Random(4).randbytes(400_000)
    patch = patches.patch(base, target, [("copied", len(base)), ("same", len(base)), ("added", 0)])
    tracemalloc.start()
    try:
        assert sum(map(len, applying.pieces(base, [patch]))) == len(target)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.proof
def test_no_mutated_patch_gives_other_bytes() -> None:
    noise, refused = random.Random(15), 0
    for _ in range(int(os.environ.get("OTASEAL_MUTATIONS", "2000"))):
        patch = mutated(noise)
        try:
            assert applying.apply(OLD, patch) == NEW
            assert patch == REAL or patch[12:] == REAL[12:], "a patch has one form"
        except (PatchError, LaterFormatError):
            refused += 1
    assert refused
