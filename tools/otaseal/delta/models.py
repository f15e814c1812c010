"""What is coded with which adaptive models: the stream's own, shared by who writes and who reads it.

A chance is the probability of a 0 in 256ths and one byte on a chip: 702 bytes for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

BITS = 8
CERTAIN = 1 << BITS
HALF = CERTAIN // 2
CLASS_BITS = 5
"""Bits of the class of a number: how many bits follow its highest one."""
MAX_NUMBER = (1 << 32) - 2


class Kind(IntEnum):
    """What a site is."""

    WORD = 0
    CALL = 1
    LOAD = 2


class Tree:
    """A chance for each node of a binary tree, by which a symbol of `depth` bits is coded, the highest bit first.

    A chance moves by 1 / 2**`rate` of what it lacks; with 8 bits it stays within 15 to 241 for a rate of 4, and within
    7 to 249 for 3.
    """

    def __init__(self, depth: int, rate: int = 4) -> None:
        self.depth = depth
        self.rate = rate
        self.chances = [HALF] * (1 << depth)


def _number() -> Tree:
    return Tree(CLASS_BITS)


def _held() -> dict[tuple[Kind, int], Tree]:
    """Return trees for whether a site holds, by its kind and by what was coded for the last one of this kind."""
    return {(kind, last): Tree(1) for kind in Kind for last in (0, 1)}


@dataclass
class Models:
    """All trees of one stream, as they are before its first bit."""

    place: Tree = field(default_factory=_number)
    shift: Tree = field(default_factory=_number)
    copied: Tree = field(default_factory=_number)
    same: Tree = field(default_factory=_number)
    added: Tree = field(default_factory=_number)
    seek: Tree = field(default_factory=_number)
    held: dict[tuple[Kind, int], Tree] = field(default_factory=_held)
    difference: Tree = field(default_factory=lambda: Tree(8, rate=3))
    byte: Tree = field(default_factory=lambda: Tree(8))


def folded(number: int) -> int:
    """Return a signed number as an unsigned one: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return number * 2 if number >= 0 else -number * 2 - 1


def unfolded(number: int) -> int:
    """Return the signed number of which `folded` made `number`."""
    return number // 2 if number % 2 == 0 else -(number // 2) - 1
