"""Making a patch: `make` returns what turns a base into a signed image, as docs/delta-format.md has it.

Several times the memory of both images is used, and of the processor some tenths of a second for images of 450 KB.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..chips.limits import check_size
from ..errors import InputError
from . import fitting, header, layout
from .alignment import Copy, align
from .header import Header
from .models import Kind, Models, folded
from .range_coder import Encoder
from .relocation import BLOCK, WORD, AddressMap, Code
from .scanning import chosen

_DIFFERS = re.compile(rb"[^\0]", re.DOTALL)


class Site(NamedTuple):
    """Bytes at an offset in the base for which the map says something else than they are."""

    place: int
    kind: Kind
    predicted: bytes


def make(base: bytes, new: bytes) -> bytes:
    """Return the patch that makes `new`, a whole signed image, from `base`, the bytes that a sketch's MD5 covers.

    Raises InputError when one of them is empty or larger than any flash.
    """
    for data, what in ((base, "base"), (new, "target")):
        check_size(len(data), what)
        if not data:
            raise InputError(f"the {what} is empty", "give the image of a build")
    layouts = layout.of_both(base, new)
    copies = align(base, new, *layouts)
    code = layout.runs_of_code(*layouts)
    shifts = fitting.fit(base, new, copies, code, layouts[0].blocks | layouts[1].blocks)
    if not shifts.shifts:
        code = ()
    head = Header(
        base_size=len(base),
        base_md5=header.md5(base),
        target_size=len(new),
        target_sha256=hashlib.sha256(new).digest(),
        shifts=len(shifts.shifts),
        code=len(code),
        instructions=code[0].instructions.number if code else 0,
    )
    return header.serialise(head) + Stream(base, new, code, shifts).coded(copies)


class Stream:
    """What follows the header, while it is written."""

    def __init__(self, base: bytes, new: bytes, code: tuple[Code, ...], shifts: AddressMap) -> None:
        self._base, self._new, self._code, self._shifts = base, new, code, shifts
        self._models, self._coder = Models(), Encoder()
        self._missed = dict.fromkeys(Kind, 0)

    def coded(self, copies: list[Copy]) -> bytes:
        """Return the stream for these copies."""
        self._map()
        at = 0
        for number, copy in enumerate(copies):
            if number:
                self._coder.number(self._models.seek, folded(copy.source - at))
            self._coder.number(self._models.copied, copy.size)
            self._copy(copy)
            at = copy.source + copy.size
            self._coder.number(self._models.added, copy.added)
            begin = copy.place + copy.size
            for byte in self._new[begin : begin + copy.added]:
                self._coder.symbol(self._models.byte, byte)
        return self._coder.finish()

    def _map(self) -> None:
        place, shift = self._models.place, self._models.shift
        end = 0
        for run in self._code:
            self._coder.number(place, run.start - end)
            self._coder.number(place, run.size)
            self._coder.number(place, run.address)
            self._coder.number(shift, folded(run.moved))
            end = run.end
        start, amount = 0, 0
        for entry in self._shifts.shifts:
            self._coder.number(place, entry.start - start)
            self._coder.number(shift, folded(entry.amount - amount))
            start, amount = entry.start, entry.amount

    def _copy(self, copy: Copy) -> None:
        """Code where the bytes differ from what the map makes of the base's, and whether each site holds."""
        size, wanted = copy.size, self._new[copy.place : copy.place + copy.size]
        expected = bytearray(self._base[copy.source : copy.source + size])
        sites = self._judged(copy, expected)
        unlike = (int.from_bytes(wanted, "little") ^ int.from_bytes(expected, "little")).to_bytes(size, "little")
        done, told = 0, 0
        for found in _DIFFERS.finditer(unlike):
            place = found.start()
            self._coder.number(self._models.same, place - done)
            told = self._tell(sites, told, place)
            self._coder.symbol(self._models.difference, wanted[place] - expected[place] & 0xFF)
            done = place + 1
        if done < size:
            self._coder.number(self._models.same, size - done)
        self._tell(sites, told, size)

    def _judged(self, copy: Copy, expected: bytearray) -> list[tuple[int, Kind, bool]]:
        """Return place, kind and whether it holds of each site in a copy; what holds is written to `expected`."""
        judged = []
        for site in sorted(self._sites(copy)):
            place = site.place - copy.source
            end = place + len(site.predicted)
            holds = self._new[copy.place + place : copy.place + end] == site.predicted
            if holds:
                expected[place:end] = site.predicted
            judged.append((place, site.kind, holds))
        return judged

    def _tell(self, sites: list[tuple[int, Kind, bool]], told: int, upto: int) -> int:
        """Code the sites from number `told` that begin at or before `upto`; return the number of the next one."""
        while told < len(sites) and sites[told][0] <= upto:
            _, kind, holds = sites[told]
            self._coder.symbol(self._models.held[kind, self._missed[kind]], int(not holds))
            self._missed[kind] = int(not holds)
            told += 1
        return told

    def _sites(self, copy: Copy) -> Iterator[Site]:
        moved, end = copy.place - copy.source, copy.source + copy.size
        literals: dict[int, int] = {}
        if moved % 4 == 0:
            literals = self._literals(copy.source, end)
        for place, word in literals.items():
            yield Site(place, Kind.WORD, (word + self._shifts.amount(word) & WORD).to_bytes(4, "little"))
        for run in self._code:
            start = max(copy.source, run.start)
            if start & ~3 in literals:  # the word may have begun before the run
                start = (start & ~3) + 4
            known = run.instructions
            for place in known.places(self._base, start, min(end, run.end), literals):
                old, at = known.at(self._base, place), run.address + place - run.start
                to = known.target(old, at)
                now = known.aimed(old, at + moved + run.moved & WORD, to + self._shifts.amount(to) & WORD)
                kind = known.kind(old)
                if now != old and kind is not None:
                    yield Site(place, kind, now.to_bytes(known.size(old), "little"))

    def _literals(self, start: int, end: int) -> dict[int, int]:
        if not self._shifts.shifts:
            return {}
        reach = {shift.start // BLOCK + beside for shift in self._shifts.shifts for beside in (0, 1)}
        return chosen(self._base, start, end, lambda word: word // BLOCK in reach and self._shifts.amount(word))
