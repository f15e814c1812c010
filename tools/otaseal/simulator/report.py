"""What a poll is told in: steps with what was checked, the device's own number, the reason, and the fact behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Fault", "Result", "Step"]


class Result(Enum):
    """How a poll ends."""

    UPDATED = "updated"
    UP_TO_DATE = "up to date"
    REFUSED = "refused"  # the old firmware runs on
    BRICKED = "bricked"  # the chip does not start any more
    CRASHED = "crashed"  # it resets during the poll, and will at each one (F18b)


@dataclass(frozen=True)
class Fault:
    """Why something is refused: the device's `error` number, a reason in words, and the fact ("F7") behind it.

    `cause` is a word of its own where number and fact do not tell what to do: "redirect", "alert-40".
    """

    error: int
    reason: str
    fact: str
    cause: str = ""


@dataclass(frozen=True)
class Step:
    """One thing that the device looks at: `checked` says what was there, `error` is the device's own number."""

    name: str
    checked: str
    ok: bool
    error: int = 0
    reason: str = ""
    fact: str = ""
    cause: str = ""

    @classmethod
    def refused(cls, name: str, checked: str, fault: Fault) -> Step:
        """Return the step at which `fault` ends the update."""
        return cls(name, checked, False, fault.error, fault.reason, fault.fact, fault.cause)
