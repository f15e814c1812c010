"""What a rehearsal says: phases of steps, and what was not looked at. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import OtasealError, VerificationError
from ..simulator.report import Step
from .flash_map import FlashMap


@dataclass(frozen=True)
class Phase:
    """A part of the rehearsal, with its steps; `way` is what the device updates by in it, "" where it does not."""

    title: str
    steps: tuple[Step, ...]
    way: str = ""

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(step.ok for step in self.steps)


@dataclass(frozen=True)
class Report:
    """A whole rehearsal: `unchecked` is what none can tell, `lacking` what this one could not and others can.

    `maps` is the flash before, during and after, `device` the chip on which it was played.
    """

    phases: tuple[Phase, ...]
    maps: tuple[FlashMap, ...] = ()
    unchecked: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    device: str = "ESP8266"

    @property
    def partly(self) -> bool:
        """Whether something was left out that is usually rehearsed."""
        return bool(self.lacking)

    @property
    def good(self) -> bool:
        """Whether a device would take the update, and no other step failed."""
        return self.failed is None

    @property
    def failed(self) -> Step | None:
        """The first step that failed, None where none did."""
        return next((step for phase in self.phases for step in phase.steps if not step.ok), None)

    @property
    def record(self) -> str:
        """The word for it in the update server's audit log: "passed" or "partly"."""
        return "partly" if self.partly else "passed"

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {
            "good": self.good,
            "device": self.device,
            "partly": self.partly,
            "acts": [{"title": p.title, "ok": p.ok, "steps": [_step(step) for step in p.steps]} for p in self.phases],
            "flash": [asdict(flash_map) for flash_map in self.maps],
            "unchecked": [*self.lacking, *self.unchecked],
        }


def outcome(records: Sequence[str]) -> str:
    """Return the word for several rehearsals together: that of the one which left out most."""
    return next(word for word in ("skipped", "partly", "passed") if word in records)


def refusal(report: Report) -> OtasealError:
    """Return the error for a rehearsal that failed, which keeps a release from being published."""
    failed = report.failed
    assert failed is not None
    reason = failed.reason or failed.checked
    return VerificationError(
        f"the rehearsal fails at '{failed.name}': {reason}", failed.fix or "otaseal rehearse shows every step"
    )


def _step(step: Step) -> dict[str, Any]:
    return {name: value for name, value in asdict(step).items() if name != "cause"}
