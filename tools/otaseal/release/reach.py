"""How fast a release reached its devices: from the moments at which each of them had it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SHARES = (50, 90, 99)
"""Per cent of the devices."""


class Reach(NamedTuple):
    """How many `devices` are meant, how many have it, and after how many seconds each share had; None: not yet."""

    devices: int
    reached: int
    seconds: Mapping[int, float | None]


def reach(times: Iterable[float | None], released: float) -> Reach:
    """Return how fast a release of the time `released` reached devices that had it at `times`, None for not yet.

    Times are seconds since 1970; one that is before the release counts as that.
    """
    every = list(times)
    had = sorted(max(0.0, time - released) for time in every if time is not None)
    seconds = {}
    for share in SHARES:
        needed = math.ceil(len(every) * share / 100)
        seconds[share] = had[needed - 1] if 0 < needed <= len(had) else None
    return Reach(len(every), len(had), seconds)
