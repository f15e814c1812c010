"""Patches that say what a test wants them to say, and code that a linker would lay out, for images that have moved."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from otaseal.delta import header
from otaseal.delta.header import Header
from otaseal.delta.models import Models
from otaseal.delta.range_coder import Encoder
from support import images

AT = 0x4020_1010 + 16
"""Where `build_image` puts what is embedded, behind code of no bytes."""


def stream(parts: Sequence[tuple[str, int]]) -> bytes:
    """Return the stream that codes each value with the model named, as a number or as a symbol."""
    models, coder = Models(), Encoder()
    for name, value in parts:
        if name in ("byte", "difference"):
            coder.symbol(getattr(models, name), value)
        else:
            coder.number(getattr(models, name), value)
    return coder.finish()


def patch(base: bytes, target: bytes, parts: Sequence[tuple[str, int]], **changes: Any) -> bytes:
    """Return a patch whose header is right for these two but for what `changes`, and whose stream has these parts."""
    head = Header(len(base), header.md5(base), len(target), hashlib.sha256(target).digest())
    return header.serialise(replace(head, **changes)) + stream(parts)


@dataclass(frozen=True)
class Function:
    """Two literals, which are the addresses of functions, loads of both, calls, and instructions of its own."""

    name: int
    literals: tuple[int, int]
    calls: tuple[int, ...]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes, a multiple of 4: functions are aligned."""
        return 8 + (6 + 3 * len(self.calls) + len(self.body) + 3) // 4 * 4


def program(count: int, seed: int = 1) -> list[Function]:
    """Return functions of `count`, named from 0, that call each other."""
    noise = random.Random(seed)

    def one(name: int) -> Function:
        others = [noise.randrange(count) for _ in range(6)]
        # of two bytes each, so that lengths are in step whatever they are
        body = bytes(noise.randrange(256) if place % 2 else noise.randrange(16) << 4 | 8 for place in range(16))
        return Function(name, (others[0], others[1]), tuple(others[2:]), body)

    return [one(name) for name in range(count)]


def linked(functions: Sequence[Function], at: int = AT) -> bytes:
    """Return the functions one behind the other from the address `at` on, as a linker places them.

    Of two with one name the first is called, and instead of a missing one the first of all.
    """
    starts: dict[int, int] = {}
    code = b""
    for function in functions:
        starts.setdefault(function.name, at + len(code))
        code += bytes(function.size)
    code = b""
    for function in functions:
        code += _placed(function, starts, at + len(code))
    return code


def _placed(function: Function, starts: dict[int, int], start: int) -> bytes:
    entries = [starts.get(name, next(iter(starts.values()))) + 8 for name in function.literals + function.calls]
    code = struct.pack("<II", *entries[:2])
    for number in range(2):
        here = start + len(code)
        distance = (start + 4 * number - (here + 3 & ~3)) >> 2
        code += (0x01 | number + 2 << 4 | (distance & 0xFFFF) << 8).to_bytes(3, "little")
    for entry in entries[2:]:
        here = start + len(code)
        code += (0x05 | ((entry - (here & ~3) - 4) >> 2 & 0x3FFFF) << 6).to_bytes(3, "little")
    return (code + function.body).ljust(function.size, b"\0")


def thumb(functions: Sequence[Function], at: int) -> bytes:
    """Return functions of the same names, literals and calls in Thumb code from the address `at` on, a multiple of 4.

    Each is what is its own (two bytes an instruction), its calls, and the literals behind it.
    """
    sizes = [(len(function.body) + 4 * len(function.calls) + 3 & ~3) + 8 for function in functions]
    starts: dict[int, int] = {}
    for number, function in enumerate(functions):
        starts.setdefault(function.name, at + sum(sizes[:number]))
    first = next(iter(starts.values()))
    code = b""
    for function, size in zip(functions, sizes, strict=True):
        here, made = at + len(code), bytes(byte & 0x7F for byte in function.body)
        for name in function.calls:
            made += bl(starts.get(name, first) - (here + len(made)) - 4)
        made = made.ljust(size - 8, b"\0")
        code += made + struct.pack("<II", *(starts.get(name, first) | 1 for name in function.literals))
    return code


def bl(distance: int) -> bytes:
    """Return the Thumb call over so many bytes, as the ARMv7-M manual has it (A7.7.18, T1)."""
    sign, j1, j2 = (distance >> 24 & 1, distance >> 23 & 1, distance >> 22 & 1)
    first = 0b11110 << 11 | sign << 10 | distance >> 12 & 0x3FF
    second = 0b11 << 14 | (j1 ^ sign ^ 1) << 13 | 1 << 12 | (j2 ^ sign ^ 1) << 11 | distance >> 1 & 0x7FF
    return struct.pack("<HH", first, second)


def riscv(functions: Sequence[Function], at: int) -> bytes:
    """Return functions of the same names and calls in RISC-V code from the address `at` on; every other call is far.

    Each is what is its own (compressed instructions), and its calls.
    """
    sizes = [len(function.body) + sum(4 + 4 * (name % 2) for name in function.calls) for function in functions]
    starts: dict[int, int] = {}
    for number, function in enumerate(functions):
        starts.setdefault(function.name, at + sum(sizes[:number]))
    first = next(iter(starts.values()))
    code = b""
    for function in functions:
        code += bytes(byte & (0xFF if place % 2 else 0xFD) for place, byte in enumerate(function.body))
        for name in function.calls:
            distance = starts.get(name, first) - at - len(code)
            code += far_call(distance) if name % 2 else jal(distance)
    return code


def jal(distance: int) -> bytes:
    """Return the RISC-V call (JAL ra) over so many bytes, with the bits of the distance where the manual has them."""
    bits = (distance >> 20 & 1) << 31 | (distance >> 1 & 0x3FF) << 21 | (distance >> 11 & 1) << 20
    return struct.pack("<I", bits | (distance >> 12 & 0xFF) << 12 | 0xEF)


def far_call(distance: int) -> bytes:
    """Return AUIPC ra and JALR ra over so many bytes."""
    upper = distance + 0x800 & 0xFFFF_F000
    return struct.pack("<II", upper | 0x97, (distance & 0xFFF) << 20 | 0x80E7)


def image(functions: Sequence[Function], **options: Any) -> bytes:
    """Return an ESP8266 image that holds this code."""
    return images.build_image(code_size=0, embedded=linked(functions), **options)
