"""The map of a patch: by how much which addresses have moved, learned from pairs of words and instructions.

Wherever the base's word and the target's are both addresses, or both instructions are calls, they say how far the
place has moved to which they point. Few say something else than their neighbours: those pay for themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from .alignment import Copy
from .header import MAX_SHIFTS
from .relocation import BLOCK, WORD, AddressMap, Code, Shift
from .scanning import words

_FURTHEST = 1 << 30
"""Nothing moves from one memory to another. The difference of two such amounts is a number of the stream, as is any
address but the last one."""
_LEAST_WITNESSES = 3
"""A shift costs a patch some four bytes, and a wrong guess about two."""


def fit(base: bytes, new: bytes, copies: list[Copy], code: tuple[Code, ...], blocks: frozenset[int]) -> AddressMap:
    """Return the map of at most MAX_SHIFTS that explains most of what has moved from `base` to `new`.

    Addresses are words in one of these `blocks`, BLOCK bytes each.
    """
    witnesses: Counter[tuple[int, int]] = Counter()
    for copy in copies:
        witnesses.update(_words(base, new, copy, blocks))
        for run in code:
            witnesses.update(_instructions(base, new, copy, run))
    least = _LEAST_WITNESSES
    credible = (
        (address, amount, count)
        for (address, amount), count in sorted(witnesses.items())
        if abs(amount) < _FURTHEST and address < WORD
    )
    runs = _joined(_joined(credible), least)
    while len(runs) > MAX_SHIFTS:
        least += 1
        runs = _joined(runs, least)
    shifts = [Shift(address, amount) for address, amount, _ in runs]
    return AddressMap(tuple(shifts) if any(shift.amount for shift in shifts) else ())


def _joined(runs: Iterable[tuple[int, int, int]], least: int = 1) -> list[tuple[int, int, int]]:
    """Return those runs of start, amount and number of witnesses that have at least so many of these.

    Neighbours that say the same are joined within a BLOCK.
    """
    joined: list[tuple[int, int, int]] = []
    for start, amount, count in (run for run in runs if run[2] >= least):
        if joined and joined[-1][1] == amount and start - joined[-1][0] < BLOCK:
            joined[-1] = (joined[-1][0], amount, joined[-1][2] + count)
        else:
            joined.append((start, amount, count))
    return joined


def _words(base: bytes, new: bytes, copy: Copy, blocks: frozenset[int]) -> Iterator[tuple[int, int]]:
    moved = copy.place - copy.source
    if moved % 4:
        return
    first, old = words(base, copy.source, copy.source + copy.size)
    _, now = words(new, first + moved, copy.place + copy.size)
    for before, after in zip(old, now, strict=True):
        if before // BLOCK in blocks and after // BLOCK in blocks:
            yield before, after - before


def _instructions(base: bytes, new: bytes, copy: Copy, run: Code) -> Iterator[tuple[int, int]]:
    moved = copy.place - copy.source
    start, end = max(copy.source, run.start), min(copy.source + copy.size, run.end)
    known = run.instructions
    for place in known.places(base, start, end, ()):
        old, now = known.at(base, place), known.at(new, place + moved)
        if known.are_alike(old, now):
            at = run.address + place - run.start
            address = known.target(old, at)
            yield address, known.target(now, at + moved + run.moved) - address
