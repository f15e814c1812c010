"""What an operator asks of a rollout, and the pointer that makes of it: for whom, and when it halts by itself."""

from __future__ import annotations

import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...errors import ConfigError, ConflictError
from ...release import rollout
from ...release.channels import MAX_PATIENCE, Channel, Pointer
from ...release.rollout import Counts
from ...store.devices import Devices

JUMP_SECONDS = 5.0
"""Between two looks, what the wall clock may differ from the steady one: a clock that is adjusted does by less."""
START_SECONDS = 3600.0
"""What a server that starts listens at most before silence tells something: a patience may be days."""
NAMES = ("percent", "max_failed", "patience")
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class RolloutOptions:
    """The share of the devices, the share of them that may fail (both per cent), and the minutes until silence is
    failure; None for what was not said.
    """

    percent: int | None = None
    max_failed: int | None = None
    patience: int | None = None

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> RolloutOptions:
        """Return the options among `values`, by NAMES; raises ConfigError."""
        return cls(
            _number(values, "percent", 0, 100, "is not a percentage"),
            _number(values, "max_failed", 0, 100, "is not a percentage of failures"),
            _number(values, "patience", 1, MAX_PATIENCE, "is not a valid number of minutes"),
        )

    def pointer(self, version: str, before: Channel | None) -> Pointer:
        """Return the pointer to `version` in a channel that was `before`.

        The same version again keeps its salt, so that those who were among the first ten per cent are among the first
        fifty, and all else that was not said.
        """
        same = before.pointer if before is not None and before.pointer.version == version else Pointer(version)
        return Pointer(
            version,
            100 if self.percent is None else self.percent,
            same.salt or secrets.token_hex(8),
            max_failed=same.max_failed if self.max_failed is None else self.max_failed,
            patience=same.patience if self.patience is None else self.patience,
        )

    def published(self, version: str, before: Channel | None) -> Pointer:
        """Return the pointer to what is published: a repeated upload must not let a halted rollout go on.

        Raises ConflictError.
        """
        if before is not None and before.pointer.halted and before.pointer.version == version:
            raise ConflictError(
                f"the rollout of '{version}' was halted: devices did not come back with it",
                "publish a release that works, or let it go on with otaseal promote --percent",
            )
        return self.pointer(version, before)


def _number(values: Mapping[str, object], name: str, least: int, most: int, what: str) -> int | None:
    value = values.get(name)
    if value is None and name not in values:
        return None
    text = str(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ConfigError(f"'{text[:32]}' {what}", f"use a whole number from {least} to {most}")
    return int(text)


class PatienceClock:
    """Tells how long the server has been able to hear devices, by the monotonic clock.

    A device's silence tells something only when it could have been heard for all that time. The times of deliveries are
    the wall clock's: when that jumps (a board without a battery gets the time, a machine wakes up), or the server has
    just started, nobody is late at first.
    """

    def __init__(
        self,
        report: Callable[[float], None],
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to listen; `report` is told by how many seconds the wall clock was set."""
        self._report, self._wall, self._steady = report, wall, steady
        self._lock = threading.Lock()
        self._last = wall(), steady()
        self._begun, self._set = self._last[1], -math.inf

    def look(self, patience: float) -> tuple[float, float | None]:
        """Return the wall clock's time and `patience`, in seconds; None for it while nobody can be late."""
        with self._lock:
            wall, steady = self._wall(), self._steady()
            jump = (wall - self._last[0]) - (steady - self._last[1])
            self._last = wall, steady
            if abs(jump) > JUMP_SECONDS:
                self._set = steady
                self._report(jump)
            listened = steady - self._set >= patience and steady - self._begun >= min(patience, START_SECONDS)
        return wall, patience if listened else None


Look = Callable[[float], tuple[float, float | None]]
"""`PatienceClock.look`."""


def failing(devices: Devices, product: str, channel: str, pointer: Pointer, look: Look) -> Counts | None:
    """Return the counts of a rollout that has to halt, else None."""
    counts = devices.counts(product, channel, pointer.version, *look(60.0 * pointer.patience))
    return counts if rollout.must_halt(counts, pointer.max_failed) else None


def refusal(pointer: Pointer, counts: Counts) -> ConflictError:
    """Return the error for a `pointer` that would be halted as soon as it is judged."""
    outcomes = counts.confirmed + counts.failed
    enough = -(-100 * counts.failed // outcomes)
    return ConflictError(
        f"the rollout of '{pointer.version}' would be halted at once: "
        f"{counts.failed} of the {outcomes} devices that took it did not come back with it",
        f"publish a release that works, or allow for as many failures: otaseal promote ... --max-failed {enough}",
    )
