"""A channel as a screen shows it: how its devices are, in numbers that lead to lists, and as widths of bars."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...release import channels
from ..operator_api.gauges import state_of

FAILED = ("stuck", "looping")
STATES = {"stuck": "failed", "looping": "gave up", "updating": "on the way", "offered": "offered it"}
"""What is said of devices in a state."""
ANSWERS = {"not-included": "wait for their turn", "outside-window": "wait for their window", "no-room": "have no room"}
"""What is said of devices whose polls are answered so."""
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
class Link:
    """A number of devices, and the filter that lists exactly these."""

    count: int
    words: str
    query: dict[str, str]
    bad: bool = False


@dataclass(frozen=True)
class Channel:
    """A channel: its `pointer`, the `state` of its rollout, the `previous` version, and its devices by what they run.

    `running` are those that run what it points at, `others` the rest, as far as something is to be said of them.
    """

    name: str
    pointer: channels.Pointer
    state: str
    previous: str | None
    total: int
    parts: tuple[Part, ...]
    running: Link
    others: tuple[Link, ...]

    @property
    def failed(self) -> int:
        """Devices that did not come back with a release, which the overview asks for."""
        return sum(link.count for link in self.others if link.bad)


def channel_view(found: Mapping[str, Any], name: str, state: channels.Channel, now: float) -> Channel:
    """Return a channel in the state `state`, whose devices are `found` to be so many of each kind at a time."""
    version, total, versions = state.pointer.version, found["total"], dict(found["versions"])
    if unknown := total - sum(versions.values()):
        versions["unknown"] = unknown
    others = (
        *(Link(found["states"].get(kind, 0), words, {"state": kind}, kind in FAILED) for kind, words in STATES.items()),
        *(Link(found["answered"].get(kind, 0), words, {"answered": kind}) for kind, words in ANSWERS.items()),
    )
    return Channel(
        name=name,
        pointer=state.pointer,
        state=state_of(state.pointer, now),
        previous=state.previous,
        total=total,
        parts=_version_parts(versions, version, state.previous),
        running=Link(versions.get(version, 0), "run it", {"version": version}),
        others=tuple(link for link in others if link.count),
    )


def _version_parts(versions: dict[str, int], current: str, previous: str | None) -> tuple[Part, ...]:
    """Return the parts of a bar of versions: the current one first, the previous one, then by their number."""
    order = sorted(versions, key=lambda one: (one != current, one != previous, -versions[one]))
    kinds = {current: "current", previous: "previous"}
    rows = [(one, versions[one], kinds.get(one, "other")) for one in order[:SHOWN]]
    if rest := sum(versions[one] for one in order[SHOWN:]):
        rows.append(("others", rest, "other"))
    return _parts(rows)


def _parts(counted: list[tuple[str, int, str]]) -> tuple[Part, ...]:
    """Return the parts of a bar by label, count and kind; their widths add up to WIDTH, and none is too thin."""
    total = sum(count for _, count, _ in counted)
    if not total:
        return ()
    widths = [max(LEAST_WIDTH, round(WIDTH * count / total)) for _, count, _ in counted]
    widths[widths.index(max(widths))] += WIDTH - sum(widths)
    places = itertools.accumulate(widths, initial=0)
    return tuple(
        Part(label, count, at, width, kind)
        for (label, count, kind), at, width in zip(counted, places, widths, strict=False)
    )


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
    return _parts([row for row in counts if row[1] > 0])
