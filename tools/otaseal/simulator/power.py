"""Power cuts at every operation on flash: what a chip starts afterwards, as its own loader finds the flash then.

An update is played once, and its operations are noted. The flash at each of them is the flash before with all earlier
ones done and this one torn: where it was to erase or to program stands neither the old nor the new. That an operation
has not begun is what the one before has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ..errors import ConfigError

TORN = 0x5A
SECTOR, PAGE = 4096, 256
ERASE_SECONDS, PROGRAM_SECONDS = 0.045, 0.0007
"""Of a sector and of a page, typical of the data sheets of serial flash; at worst ten and four times that."""


class Operation(NamedTuple):
    """One erase or one program: what stands `at` an address when it is done."""

    at: int
    content: bytes

    @property
    def erases(self) -> bool:
        """Whether it is an erase: of ones, of whole sectors."""
        return len(self.content) % SECTOR == 0 and not self.content.strip(b"\xff")


class Fate(Enum):
    """What runs after a power cut and the next start."""

    OLD = "old"
    NEW = "new"
    LOST = "lost"


@dataclass(frozen=True)
class PhaseCuts:
    """A phase's operations, of which so many were `tried`: after how many the old or the new firmware runs.

    `lost` are the others, by number: the chip starts neither, or cannot be updated any more. `seconds` is how long
    those of the whole phase take.
    """

    name: str
    operations: int
    tried: int
    old: int
    new: int
    lost: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class PowerCuts:
    """What comes of power cuts, phase by phase."""

    phases: tuple[PhaseCuts, ...]

    @property
    def operations(self) -> int:
        """All operations of the update."""
        return sum(phase.operations for phase in self.phases)

    @property
    def tried(self) -> int:
        """Operations at which the power failed."""
        return sum(phase.tried for phase in self.phases)

    @property
    def lost(self) -> int:
        """Operations after which the chip was lost."""
        return sum(len(phase.lost) for phase in self.phases)


def refused() -> ConfigError:
    """Return the error that there is no update during which the power could fail."""
    return ConfigError("the device refuses this update", "otaseal rehearse says why")


@dataclass
class Noted:
    """What is noted of an update: operations on a flash, in phases."""

    phases: list[tuple[str, list[Operation]]] = field(default_factory=list)

    def begin(self, name: str) -> None:
        """Begin a phase."""
        self.phases.append((name, []))

    def note(self, at: int, content: bytes) -> None:
        """Note an operation: it is done after this."""
        self.phases[-1][1].append(Operation(at, bytes(content)))

    def sector(self, at: int, content: bytes) -> None:
        """Note that a sector is erased, and programmed page by page with `content`."""
        self.note(at, b"\xff" * SECTOR)
        for place in range(0, len(content), PAGE):
            self.note(at + place, content[place : place + PAGE])


def cut_everywhere(
    flash: bytes, noted: Noted, fate: Callable[[bytes, Operation], Fate], most: int | None = None
) -> PowerCuts:
    """Let the power fail at every operation on `flash`, or at `most` of each phase, evenly spread.

    `fate` is what runs after the flash was left like this by that operation.
    """
    state, found = bytearray(flash), []
    for name, operations in noted.phases:
        total = len(operations)
        tried = total if most is None else min(most, total)
        fates = dict(_fates(state, operations, {total * number // tried for number in range(tried)}, fate))
        values = list(fates.values())
        lost = tuple(number for number, one in fates.items() if one is Fate.LOST)
        counts = values.count(Fate.OLD), values.count(Fate.NEW)
        found.append(PhaseCuts(name, total, tried, *counts, lost, _seconds(operations)))
    return PowerCuts(tuple(found))


def _fates(
    state: bytearray, operations: Sequence[Operation], moments: set[int], fate: Callable[[bytes, Operation], Fate]
) -> Iterator[tuple[int, Fate]]:
    """Yield the number of each operation that is tried and what comes of it; `state` is changed by all of them."""
    for number, operation in enumerate(operations):
        place = slice(operation.at, operation.at + len(operation.content))
        if number in moments:
            state[place] = bytes([TORN]) * len(operation.content)
            yield number, fate(bytes(state), operation)
        state[place] = operation.content


def _seconds(operations: Sequence[Operation]) -> float:
    erased = sum(len(one.content) // SECTOR for one in operations if one.erases)
    pages = sum(-(-len(one.content) // PAGE) for one in operations if not one.erases)
    return erased * ERASE_SECONDS + pages * PROGRAM_SECONDS
