"""Counts of devices that are remembered for a moment: to count a large fleet takes a while, and many may look.

What took long is kept ten times as long, so that counting takes a tenth of a processor at most; what is quick is as
good as not kept. What operators change is seen at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

TIMES = 10
"""So many times as long as a count took it is kept."""
MAX_KEPT = 256

Counts = TypeVar("Counts")


@dataclass
class Remembered:
    """The last counts by their keys, as a product and a channel, with the time until they are good. Safe in threads."""

    clock: Callable[[], float] = time.monotonic
    cost: Callable[[], float] = time.thread_time
    """The processor's time that this thread has had: waiting for a disk costs nobody anything."""
    _kept: dict[tuple[str, ...], tuple[object, float, Any]] = field(default_factory=dict, repr=False)

    def counts(self, key: tuple[str, ...], stamp: object, count: Callable[[], Counts]) -> Counts:
        """Return what `count` does, or did a moment ago for this key while the store had this stamp."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp and self.clock() < kept[1]:
            known: Counts = kept[2]
            return known
        begun = self.cost()
        found = count()
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[key] = stamp, self.clock() + TIMES * (self.cost() - begun), found
        return found
