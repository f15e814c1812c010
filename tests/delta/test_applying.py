"""A patch gives the bytes that it announces or is refused for its cause, comes in pieces, and little of it is kept."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.delta import applying, header
from otaseal.delta.errors import (
    DamagedPatchError,
    OutsideBaseError,
    PatchError,
    PatchTooShortError,
    TargetTooLongError,
    TrailingBytesError,
    WrongBaseError,
    WrongTargetError,
)
from otaseal.delta.making import make
from otaseal.errors import LaterFormatError
from support import patches

BASE, TARGET = b"a base of 24 bytes, all ", b"a base of 24 bytes, all!!"
PARTS = (("copied", 23), ("same", 23), ("added", 2), ("byte", 0x21), ("byte", 0x21))
PATCH = patches.patch(BASE, TARGET, PARTS)
FUNCTIONS = patches.program(60)
OLD = patches.image(FUNCTIONS)
NEW = patches.image([*FUNCTIONS[:20], *patches.program(2, seed=2), *FUNCTIONS[20:]])
REAL = make(OLD, NEW)


def test_what_a_patch_says() -> None:
    assert applying.apply(BASE, PATCH) == TARGET
    assert applying.apply(OLD, REAL) == NEW


def test_a_step_may_go_back() -> None:
    parts = (("copied", 6), ("same", 6), ("added", 0), ("seek", 11), ("copied", 6), ("same", 6), ("added", 0))
    assert applying.apply(BASE, patches.patch(BASE, b"a basea base", parts)) == b"a basea base"


REFUSED: dict[str, tuple[type[Exception], str, Callable[[], bytes]]] = {
    "another file": (DamagedPatchError, "does not begin with", lambda: b"\xe9" + PATCH[1:]),
    "nothing": (PatchTooShortError, "within its header", lambda: b""),
    "half a header": (PatchTooShortError, "within its header", lambda: PATCH[:40]),
    "a header alone": (PatchTooShortError, "before the image is whole", lambda: PATCH[: header.SIZE]),
    "cut short": (PatchTooShortError, "before the image is whole", lambda: PATCH[:-1]),
    "a later format": (LaterFormatError, "newer otaseal", lambda: PATCH[:8] + b"\2" + PATCH[9:]),
    "format 0": (DamagedPatchError, "format 0", lambda: PATCH[:8] + b"\0" + PATCH[9:]),
    "reserved byte": (DamagedPatchError, "format 1", lambda: PATCH[:11] + b"\1" + PATCH[12:]),
    "65 shifts": (DamagedPatchError, "65 shifts", lambda: patches.patch(BASE, TARGET, PARTS, shifts=65)),
    "4 runs of code": (DamagedPatchError, "4 runs", lambda: patches.patch(BASE, TARGET, PARTS, code=4)),
    "no base": (DamagedPatchError, "of 0", lambda: patches.patch(BASE, TARGET, PARTS, base_size=0)),
    "no target": (DamagedPatchError, "makes 0", lambda: patches.patch(BASE, TARGET, PARTS, target_size=0)),
    "a target that no flash holds": (
        DamagedPatchError,
        "16777217",
        lambda: patches.patch(BASE, TARGET, PARTS, target_size=(1 << 24) + 1),
    ),
    "another base": (WrongBaseError, "is for a sketch", lambda: patches.patch(BASE[::-1], TARGET, PARTS)),
    "a shorter base": (WrongBaseError, "of 23 bytes", lambda: patches.patch(BASE[:-1], TARGET, PARTS)),
    "trailing bytes": (TrailingBytesError, "behind its end", lambda: PATCH + b"\0"),
    "bits that no encoder ends with": (DamagedPatchError, "as its encoder ends", lambda: PATCH[:-1] + b"\x77"),
    "other bytes than announced": (
        WrongTargetError,
        "announces",
        lambda: patches.patch(BASE, TARGET[::-1], PARTS),
    ),
    "a copy behind the base": (OutsideBaseError, "copies 25", lambda: patches.patch(BASE, TARGET, [("copied", 25)])),
    "a step before the base": (
        OutsideBaseError,
        "from -2",
        lambda: patches.patch(BASE, TARGET, [("copied", 0), ("added", 1), ("byte", 0), ("seek", 3), ("copied", 1)]),
    ),
    "a step far behind it": (
        OutsideBaseError,
        "from 1000",
        lambda: patches.patch(BASE, TARGET, [("copied", 0), ("added", 1), ("byte", 0), ("seek", 2000), ("copied", 0)]),
    ),
    "code behind the base": (
        OutsideBaseError,
        "code up to 25",
        lambda: patches.patch(BASE, TARGET, [("place", 9), ("place", 16), ("place", 0), ("shift", 0)], code=1),
    ),
    "a copy of more than announced": (
        TargetTooLongError,
        "more than the 5 bytes",
        lambda: patches.patch(BASE, TARGET[:5], [("copied", 6)]),
    ),
    "more new bytes than announced": (
        TargetTooLongError,
        "more than the 5 bytes",
        lambda: patches.patch(BASE, TARGET[:5], [("copied", 4), ("same", 4), ("added", 2)]),
    ),
    "a step that makes nothing": (
        DamagedPatchError,
        "makes nothing",
        lambda: patches.patch(BASE, TARGET, [("copied", 0), ("added", 0)]),
    ),
    "more equal bytes than copied": (
        DamagedPatchError,
        "more equal bytes",
        lambda: patches.patch(BASE, TARGET, [("copied", 9), ("same", 10)]),
    ),
    "a shift behind all addresses": (
        DamagedPatchError,
        "no address",
        lambda: patches.patch(BASE, TARGET, [*[("place", 1 << 31), ("shift", 0)] * 2], shifts=2),
    ),
}


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


def mutated(noise: random.Random) -> bytes:
    """Return REAL with bits flipped, bytes set, cut out or put in, or with its end cut off."""
    data = bytearray(REAL)
    for _ in range(noise.randint(1, 3)):
        place = noise.randrange(len(data) - 3)
        match noise.randrange(5):
            case 0:
                data[place] ^= 1 << noise.randrange(8)
            case 1:
                data[place] = noise.randrange(256)
            case 2:
                del data[place : place + noise.randint(1, 4)]
            case 3:
                data[place:place] = noise.randbytes(noise.randint(1, 4))
            case _:
                del data[max(place, 9) :]
    return bytes(data)


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
