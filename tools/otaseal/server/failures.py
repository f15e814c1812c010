"""Failures to show the right secret, counted by address: many of them should be seen, and are not let cost more."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from .limits import origin

FAILURES = 10
"""Wrong secrets from one address within FAILURE_SECONDS that are nothing to speak of."""
FAILURE_SECONDS = 60.0
MAX_ADDRESSES = 4096


@dataclass
class FailureCounter:
    """Counts failures to authenticate by address, and locks nobody out: a neighbour may share the address."""

    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict, repr=False)

    def add(self, address: str) -> int:
        """Count a failure of `address`, and return how many there were; the oldest addresses are forgotten."""
        where, now = origin(address), self.clock()
        count, since = self._failures.pop(where, (0, now))
        if now - since >= FAILURE_SECONDS:
            count, since = 0, now
        self._failures[where] = (count + 1, since)
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return count + 1
