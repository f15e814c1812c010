"""The result of a poll: its steps, and for a failed one the device's error number, the reason, and the device fact."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .device import Device


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
    """One thing that is looked at: `checked` says what was there, `error` is the device's own number.

    `fix` is what to do about a step that failed, where somebody who knows more than the device has said so.
    """

    name: str
    checked: str
    ok: bool = True
    error: int = 0
    reason: str = ""
    fact: str = ""
    cause: str = ""
    fix: str = ""

    @classmethod
    def refused(cls, name: str, checked: str, fault: Fault) -> Step:
        """Return the step at which `fault` ends the update."""
        return cls(name, checked, False, fault.error, reason=fault.reason, fact=fault.fact, cause=fault.cause)


@dataclass(frozen=True)
class Outcome:
    """How a poll ended, its steps, and the device afterwards.

    `error` is what the updater's `getLastError()` says (0: none), `tls_error` BearSSL's, `library_error` the OtaSeal
    library's where the firmware carries it. `status` is the HTTP status or 0, `request` the very bytes sent.
    """

    result: Result
    steps: tuple[Step, ...]
    device: Device
    error: int = 0
    tls_error: int = 0
    library_error: int = 0
    status: int = 0
    request: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the device is where it should be: updated, or up to date."""
        return self.result in (Result.UPDATED, Result.UP_TO_DATE)

    @property
    def failed(self) -> Step | None:
        """The first step that is not good."""
        return next((step for step in self.steps if not step.ok), None)
