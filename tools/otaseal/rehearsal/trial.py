"""The trial of an update on an ESP32: what confirms it, and that it gives way where nothing does (ADR 0032)."""

from __future__ import annotations

from dataclasses import replace

from ..simulator.device import Device
from ..simulator.esp32.device import Esp32Device
from ..simulator.esp32.trial import STARTS
from ..simulator.library import LibraryError
from ..simulator.report import Step
from .advice import explained
from .report import Phase

FAILS = "the new firmware does not reach its server, and gives way"


def give_way(device: Device) -> list[Phase]:
    """Let the firmware that `device` has on trial fail, with either kind of boot loader; empty where none is."""
    if not isinstance(device, Esp32Device) or not device.on_trial:
        return []
    steps = []
    for waits, loader in ((True, "waits for its word"), (False, "does not wait")):
        failing = replace(device, waits=waits)
        restarted = failing
        for _ in range(STARTS):
            restarted = restarted.restarted()
        steps.append(_back(failing, restarted, f"{STARTS} starts, with a boot loader that {loader}"))
    steps.append(_back(device, device.waited(), "24 hours without an answer"))
    return [Phase(FAILS, tuple(steps))]


def _back(before: Esp32Device, after: Esp32Device, failing: str) -> Step:
    good = after.running_slot != before.running_slot and after.memory.gave_way != 0
    runs = f"'{after.running_slot.label}' runs again" + (f", and says error {after.memory.said}" if good else "")
    return Step(
        "trial", f"{failing}: {runs}" if good else failing, good, reason="" if good else "it stays", fact="F122"
    )


def confirmation(before: Device, after: Device) -> tuple[Step, ...]:
    """Return the step that says whether a poll has ended the trial of what runs; none where there was no trial."""
    if not isinstance(before, Esp32Device) or not isinstance(after, Esp32Device) or not before.on_trial:
        return ()
    what = f"'{before.running_slot.label}'"
    if not after.on_trial:
        return (Step("trial", f"{what} is confirmed by this answer"),)
    reason = "this answer does not confirm it: it would give way to what ran before"
    return explained([Step("trial", what, False, LibraryError.UNREACHED, reason)])
