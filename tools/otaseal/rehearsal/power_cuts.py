"""The power fails during an update: some moments of it in each rehearsal, every one with `--power-cuts`."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..simulator.device import Device
from ..simulator.esp32.device import Esp32Device
from ..simulator.pico.device import PicoDevice
from ..simulator.power import PowerCuts
from ..simulator.report import Step
from .candidate import Candidate
from .report import Phase

SAMPLE = 32
"""How many of the moments are tried in each rehearsal."""
TITLE = "the power fails during the update"
_WIDTHS = "{:<22}{:>12}{:>10}{:>10}{:>10}{:>10}"
_NO_SLOT = (
    "eboot's order does not outlive a power cut: half of each image is started, and",
    "the chip needs a cable. A smaller image makes that time shorter; gzip and",
    "patches do not.",
)
_STUB = ("The update changes the boot stub, of which there is one: the chip needs a cable.",)
_SLOTS = ("No power cut may do that on this chip: do not publish it.",)


def cut(device: Device, candidate: Candidate, most: int | None = None) -> PowerCuts:
    """Return what comes of power cuts during the update, at `most` moments of it; raises ConfigError for a refused one.

    Of several forms it is the smallest that the device takes.
    """
    forms = sorted(candidate.forms, key=lambda form: len(form.data))
    for form in forms[:-1]:
        try:
            return device.cut_power(form.data, most)
        except ConfigError:
            continue
    return device.cut_power(forms[-1].data, most)


def phase(device: Device, candidate: Candidate) -> Phase:
    """Return the part of a rehearsal in which the power fails."""
    cuts = cut(device, candidate, SAMPLE)
    moments = f"{cuts.tried} of {cuts.operations} moments"
    reason = f"{cuts.lost} of them lose the chip" if cuts.lost else ""
    if isinstance(device, Esp32Device):
        checked = f"{moments}: the old or the new firmware starts"
        step = Step("power-cut", checked, not reason, reason=reason, fact="F85")
    elif isinstance(device, PicoDevice):
        step = Step("power-cut", f"{moments}: the old one runs, or the stub begins anew", reason=reason, fact="F55b")
    else:
        step = Step("power-cut", f"{moments}: {cuts.lost} of them in the copy, and it needs a cable", fact="F12")
    return Phase(TITLE, (step,))


def must_survive(device: Device) -> bool:
    """Tell whether such a chip can come through every power cut."""
    return isinstance(device, Esp32Device)


def table_lines(device: Device, cuts: PowerCuts) -> Sequence[str]:
    """Return a line for each phase of the update, and what a loss means on this chip."""
    lines = [_WIDTHS.format("power cuts while", "operations", "seconds", "old runs", "new runs", "lost")]
    for one in cuts.phases:
        row = (one.name, one.operations, f"{one.seconds:.1f}", one.old, one.new, len(one.lost))
        lines.append(_WIDTHS.format(*row))
    if not cuts.lost:
        return [*lines, "", f"{cuts.tried} power cuts, and none loses the chip"]
    meaning = _SLOTS if must_survive(device) else _STUB if isinstance(device, PicoDevice) else _NO_SLOT
    return [*lines, "", f"{cuts.lost} of {cuts.tried} power cuts lose the chip", *meaning]
