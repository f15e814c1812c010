"""What a rehearsal says: acts of steps, what the fix of a failed one is, and what was not looked at. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..simulator.report import Step
from .advice import fix
from .picture import FlashMap

__all__ = ["Act", "Line", "Report", "lines"]


@dataclass(frozen=True)
class Line:
    """One step: what was checked; and where it failed, the device's own `error` number, why, by which fact, the fix."""

    name: str
    checked: str
    ok: bool = True
    error: int = 0
    reason: str = ""
    fact: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Act:
    """A part of the rehearsal with its steps; it holds when all of them do."""

    title: str
    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Whether every step held."""
        return all(line.ok for line in self.lines)


@dataclass(frozen=True)
class Report:
    """A whole rehearsal: `unchecked` is what none can tell, `lacking` what this one could not and others can.

    `maps` is the flash before, during and after.
    """

    acts: tuple[Act, ...]
    maps: tuple[FlashMap, ...]
    unchecked: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    @property
    def partly(self) -> bool:
        """Whether something was left out that is usually rehearsed."""
        return bool(self.lacking)

    @property
    def good(self) -> bool:
        """Whether a device would take the update, and no other step failed."""
        return all(act.ok for act in self.acts)

    @property
    def failed(self) -> Line | None:
        """The first step that failed, None where none did."""
        return next((line for act in self.acts for line in act.lines if not line.ok), None)

    @property
    def record(self) -> str:
        """What the update server's audit log keeps of it."""
        return "partly" if self.partly else "passed"

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {
            "good": self.good,
            "partly": self.partly,
            "acts": [{"title": act.title, "ok": act.ok, "steps": [asdict(x) for x in act.lines]} for act in self.acts],
            "flash": [asdict(picture) for picture in self.maps],
            "unchecked": [*self.lacking, *self.unchecked],
        }


def lines(steps: Sequence[Step]) -> tuple[Line, ...]:
    """Return the device's steps with the fix of the one that failed."""
    return tuple(
        Line(step.name, step.checked, step.ok, step.error, step.reason, step.fact, fix(step)) for step in steps
    )
