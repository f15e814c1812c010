"""A channel as a screen shows it: how its rollout goes in numbers, and which versions run, as widths of bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...release import channels
from ...release.rollout import Counts, must_halt
from ..operator_api.handlers.context import OperatorContext
from ..operator_api.rollout_options import tally

WIDTH = 1000
"""Of a bar, in its own units."""
LEAST_WIDTH = 12
"""Of a part that is there at all: one device of a thousand can be seen."""
SHOWN = 6
"""Versions with a part of their own; the rest are one."""


@dataclass(frozen=True)
class Part:
    """A part of a bar: what it stands for, how many, its place and width; `kind` is how it is drawn."""

    label: str
    count: int
    at: int
    width: int
    kind: str


@dataclass(frozen=True)
class Channel:
    """A channel: its `pointer`, the `previous` version, its devices by what they run, and how its rollout goes.

    `counts` are all devices, as they say themselves, `heard` those whose word counts when failures halt a rollout.
    """

    name: str
    pointer: channels.Pointer
    previous: str | None
    total: int
    parts: tuple[Part, ...]
    counts: Counts
    heard: Counts
    would_halt: bool

    @property
    def awaited(self) -> int:
        """Devices that have the release, and did not come back yet."""
        return max(0, int(self.counts.delivered - self.counts.confirmed - self.counts.failed))

    @property
    def unasked(self) -> int:
        """Devices that were not offered the release yet, among those that it is for; an estimate below 100 %."""
        meant = round(self.counts.eligible * self.pointer.percent / 100)
        return max(0, int(meant - self.counts.offered))

    @property
    def running(self) -> int:
        """Devices that run what the channel points at."""
        return sum(part.count for part in self.parts if part.kind == "current")


def channel_view(context: OperatorContext, product: str, name: str, state: channels.Channel) -> Channel:
    """Return a channel in the state `state`; reads the devices, for a thread."""
    found = tally(context.fleet.devices, product, name, state.pointer, context.fleet.clock)
    versions = context.fleet.versions(product, name)
    return Channel(
        name=name,
        pointer=state.pointer,
        previous=state.previous,
        total=sum(versions.values()),
        parts=parts_of(versions, state.pointer.version, state.previous),
        counts=found.everybody,
        heard=found.heard,
        would_halt=must_halt(found, state.pointer.max_failed),
    )


def parts_of(versions: dict[str, int], current: str, previous: str | None) -> tuple[Part, ...]:
    """Return the parts of a bar of versions: the current one first, the previous one, then by their number."""
    order = sorted(versions, key=lambda one: (one != current, one != previous, one == "others", -versions[one]))
    named, rest = order[:SHOWN], order[SHOWN:]
    counts = [(one, versions[one]) for one in named]
    if rest:
        counts.append(("others", sum(versions[one] for one in rest)))
    kinds = {current: "current", previous: "previous"}
    widths = _widths([count for _, count in counts])
    parts, at = [], 0
    for (label, count), width in zip(counts, widths, strict=True):
        parts.append(Part(label, count, at, width, kinds.get(label, "other")))
        at += width
    return tuple(parts)


def _widths(counts: list[int]) -> list[int]:
    """Return widths that add up to WIDTH, in proportion as far as each can be seen."""
    total = sum(counts)
    if not total:
        return []
    least = [max(LEAST_WIDTH, round(WIDTH * count / total)) for count in counts]
    least[least.index(max(least))] += WIDTH - sum(least)
    return least


def wave_parts(wave: Mapping[str, int]) -> tuple[Part, ...]:
    """Return the parts of a bar of a wave's devices, as `rollout_status.shown` has it: how far each one is."""
    failed = wave["failed"] + wave["silent"]
    came, coming = wave["came_back"], wave["downloaded"] - wave["came_back"] - failed
    waiting = wave["offered"] - wave["downloaded"]
    counts = (
        ("came back", came, "confirmed"),
        ("did not", failed, "failed"),
        ("on the way", coming, "delivered"),
        ("offered", waiting, "offered"),
        ("not asked yet", wave["devices"] - wave["offered"], "rest"),
    )
    there = [(label, count, kind) for label, count, kind in counts if count > 0]
    widths, parts, at = _widths([count for _, count, _ in there]), [], 0
    for (label, count, kind), width in zip(there, widths, strict=True):
        parts.append(Part(label, count, at, width, kind))
        at += width
    return tuple(parts)
