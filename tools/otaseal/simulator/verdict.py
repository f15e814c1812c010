"""One verdict for one file: the updater and the restart in a row, without a server around them."""

from __future__ import annotations

from dataclasses import dataclass

from . import eboot, updater
from .updater import Setup

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """`accepted` by the updater, whose number is `error`; `boots` the new image after the restart, or `bricks`.

    Accepted, not booting and not bricking: the old firmware goes on running. `intact`: what runs is undamaged, by its
    own checksum, which nobody on the chip asks. `flash` is the chip at the end.
    """

    error: int
    accepted: bool
    boots: bool
    bricks: bool
    intact: bool
    reason: str
    fact: str
    flash: bytes


def judge(flash: bytes, data: bytes, setup: Setup) -> Verdict:
    """Return what a device with that `flash` makes of `data`, the whole file as it is served.

    Raises ConfigError for an unknown core.
    """
    staged = updater.update(flash, data, setup)
    if staged.fault:
        return Verdict(staged.error, False, False, False, True, staged.fault.reason, staged.fault.fact, staged.flash)
    after = eboot.restart(staged.flash, staged.command, setup.core)
    reason = after.reason or "the signature holds; it covers neither version nor board"
    return Verdict(0, True, after.starts_new, not after.starts, after.intact, reason, after.fact or "F11", after.flash)
