"""Patches for everyone who decodes them: good ones, one for each way to be refused, mutated ones, and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from otaseal.delta import alignment, header, layout
from otaseal.delta.errors import (
    DamagedPatchError,
    OutsideBaseError,
    PatchTooShortError,
    TargetTooLongError,
    TrailingBytesError,
    WrongBaseError,
    WrongTargetError,
)
from otaseal.delta.instructions import XTENSA, Instructions
from otaseal.delta.making import Stream, make
from otaseal.delta.relocation import AddressMap, Code, Shift
from otaseal.errors import LaterFormatError
from support import patches

BASE, TARGET = b"a base of 24 bytes, all ", b"a base of 24 bytes, all!!"
PARTS = (("copied", 23), ("same", 23), ("added", 2), ("byte", 0x21), ("byte", 0x21))
SHIFTS_65 = [*[("place", 0), ("shift", 0)] * 65, *PARTS]
RUNS_4 = [*[*[("place", 0)] * 3, ("shift", 0)] * 4, *PARTS]
PATCH = patches.patch(BASE, TARGET, PARTS)
FUNCTIONS = patches.program(60)
OLD = patches.image(FUNCTIONS)
NEW = patches.image([*FUNCTIONS[:20], *patches.program(2, seed=2), *FUNCTIONS[20:]])
REAL = make(OLD, NEW)

REFUSED: dict[str, tuple[type[Exception], str, Callable[[], bytes]]] = {
    "another file": (DamagedPatchError, "does not begin with", lambda: b"\xe9" + PATCH[1:]),
    "nothing": (PatchTooShortError, "within its header", lambda: b""),
    "half a header": (PatchTooShortError, "within its header", lambda: PATCH[:40]),
    "a header alone": (PatchTooShortError, "before the image is whole", lambda: PATCH[: header.SIZE]),
    "cut short": (PatchTooShortError, "before the image is whole", lambda: PATCH[:-1]),
    "a later format": (LaterFormatError, "newer otaseal", lambda: PATCH[:8] + b"\2" + PATCH[9:]),
    "format 0": (DamagedPatchError, "format 0", lambda: PATCH[:8] + b"\0" + PATCH[9:]),
    "instructions without code": (DamagedPatchError, "instructions 1", lambda: PATCH[:11] + b"\1" + PATCH[12:]),
    "instructions of a later format": (
        DamagedPatchError,
        "instructions 3",
        lambda: patches.patch(BASE, TARGET, RUNS_4[:4], code=1, instructions=3),
    ),
    "65 shifts": (DamagedPatchError, "65 shifts", lambda: patches.patch(BASE, TARGET, SHIFTS_65, shifts=65)),
    "4 runs of code": (DamagedPatchError, "4 runs", lambda: patches.patch(BASE, TARGET, RUNS_4, code=4)),
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


LIMITS = (0, 1, 2, 3, 4, 5, 63, 64, 65, 1 << 20, (1 << 24) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 2)
"""Numbers at which something ends: a unit, a window, the reach of an entry of the map, a word."""
EDGES = (0, 4, 0xFFFFC, 0x10_0000, 0x4020_0000, 0x7FFF_FFFC, 0xFFEF_FFFC, 0xFFF0_0000, 0xFFFF_FFFC)
"""Addresses beside which a map may begin or end."""


def relocated(noise: random.Random, known: Instructions = XTENSA) -> tuple[bytes, bytes, bytes]:
    """Return a base, a patch with any map and any runs of code in these instructions, and what it makes."""
    base = _code(noise, noise.randrange(1, 90))
    new = bytearray(base)
    for _ in range(noise.randrange(4)):
        place = noise.randrange(len(new) + 1)
        new[place : place + noise.choice((0, 0, 1, 4, 40))] = noise.randbytes(noise.choice((0, 1, 2, 3, 4, 8, 60)))
    target = bytes(new) or b"\0"
    shifts = AddressMap(tuple(Shift(start, noise.randrange(-999, 999)) for start in _starts(noise, base)))
    code = tuple(replace(run, instructions=known) for run in _runs(noise, len(base)))
    copies = alignment.align(base, target, layout.Layout(), layout.Layout())
    stream = Stream(base, target, code, shifts).coded(copies)
    said = {"shifts": len(shifts.shifts), "code": len(code), "instructions": known.number if code else 0}
    return base, patches.patch(base, target, [], **said)[: header.SIZE] + stream, target


def hostile(noise: random.Random, known: Instructions = XTENSA) -> tuple[bytes, bytes]:
    """Return a base, and a patch for it that nobody would make: most are wrong somewhere, and behind that anywhere."""
    base = _code(noise, noise.randrange(1, 40))
    shifts, code = noise.choice((0, 0, 1, 2, 64)), noise.choice((0, 0, 1, 3))
    gaps = LIMITS if shifts < 3 else LIMITS[:10]
    parts = [(name, _number(noise, len(base) // 3)) for name in ("place", "place", "place", "shift") * code]
    parts += [(name, noise.choice(gaps)) for name in ("place", "shift") * shifts]
    steps, made = _steps(noise, len(base))
    size = made if 0 < made < 100_000 and noise.random() < 0.9 else noise.choice((1, 3, 5000, 1 << 24))
    said = {"shifts": shifts, "code": code, "instructions": known.number if code else 0, "target_size": size}
    return base, patches.patch(base, b"", [*parts, *steps], **said)


def _steps(noise: random.Random, size: int) -> tuple[list[tuple[str, int]], int]:
    """Return steps for a base of `size` bytes, and the bytes that they make."""
    steps: list[tuple[str, int]] = []
    at = made = 0
    for last in range(noise.randrange(4), -1, -1):
        copied, added = _number(noise, max(size - at, 0)), noise.choice((1, 2, 70, 0))
        at, made = at + copied, made + copied + added
        steps.append(("copied", copied))
        while 0 < copied < 1000:
            same = _number(noise, copied)
            steps += [("same", same), ("difference", noise.randrange(256))][: 1 + (same < copied)]
            copied -= same + 1
        steps += [("added", added), *[("byte", noise.randrange(256))] * added]
        back = min(_number(noise, max(at, 0)), LIMITS[-3])
        at -= back
        steps += [("seek", max(2 * back - 1, 0))] * (last > 0)
    return steps, made


def _number(noise: random.Random, size: int) -> int:
    """Return a number within `size`, or one time in ten any."""
    within = min(noise.choice((size, noise.randrange(size + 1))), LIMITS[-1])
    return noise.choice(LIMITS) if noise.random() < 0.1 else within


def _code(noise: random.Random, parts: int) -> bytes:
    """Return words that are addresses, calls and loads, instructions of two bytes, and anything else."""
    base, edge = b"", noise.choice(EDGES)
    for _ in range(parts):
        address = (edge + noise.randrange(-64, 64) * 4 & 0xFFFF_FFFF).to_bytes(4, "little")
        operation = bytes([noise.choice((0x05, 0x15, 0xD5, 0x01, 0x21, 0xC8))]) + noise.choice(
            (noise.randbytes(2), b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\x80")
        )
        call = patches.bl(noise.choice((noise.randrange(-(1 << 24), 1 << 24), 0, -4, (1 << 24) - 2, -(1 << 24))) & ~1)
        far = noise.choice((noise.randrange(-(1 << 20), 1 << 20), 0, -4, (1 << 20) - 2, -(1 << 20), 0x7FE, 0x800)) & ~1
        jump = noise.choice((patches.jal(far), patches.far_call(far * noise.choice((1, 999)) & 0xFFFF_FFFE)))
        other = noise.choice((call, jump, b"\x1d\xf0", b"\xbf\xf3\x4f\x8f", noise.randbytes(noise.randrange(5))))
        base += noise.choice((address, address, operation, operation, other, other))
    return base or b"\0"


def _starts(noise: random.Random, base: bytes) -> list[int]:
    words = [int.from_bytes(base[place : place + 4], "little") for place in range(0, len(base) - 3, 4)]
    near = [max(0, min(0xFFFF_FFFE, word + noise.choice((-4, 0, 0, 1, 4)))) for word in words]
    return sorted(set(noise.sample([*near, *EDGES], min(noise.choice((0, 1, 3, 64)), len(near) + len(EDGES)))))


def _runs(noise: random.Random, size: int) -> Iterator[Code]:
    end = 0
    for _ in range(noise.randrange(4)):
        start = end + noise.randrange(size - end + 1) // 3
        end = start + noise.randrange(size - start + 1)
        yield Code(start, end - start, noise.choice(EDGES) - start & 0xFFFF_FFFC, noise.randrange(-999, 999))
