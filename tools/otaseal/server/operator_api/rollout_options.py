"""The options of a rollout: to whom a release goes, and when it halts by itself, by the clock."""

from __future__ import annotations

import json
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ...errors import ConfigError, ConflictError
from ...release.channels import Channel, Pointer
from ...release.plan_fields import parse_waves
from ...release.rollout import Tally
from ...release.waves import MAX_PATIENCE, Plan, Wave
from ...store.device_table import DeviceTable
from ...store.rollout_rows import Rollout

JUMP_SECONDS = 5.0
"""By how much the wall clock may differ from the monotonic one between two reads: one that is adjusted does by less."""
START_SECONDS = 3600.0
"""How long a server that starts listens at most before silence means something: a patience may be days."""
MAX_WAVES_TEXT = 4096
WAVES_TEXT = f"[ -~]{{0,{MAX_WAVES_TEXT}}}"
"""Of a query: each character may be three there, and the head of a request has 16 KiB."""
NAMES = ("percent", "max_failed", "patience", "waves")
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class RolloutOptions:
    """Share of the devices and of failures (both per cent), minutes until silence counts as one; None: not given.

    Or, in place of a share of the devices, the `waves` of a plan.
    """

    percent: int | None = None
    max_failed: int | None = None
    patience: int | None = None
    waves: tuple[Wave, ...] | None = None

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> RolloutOptions:
        """Return the options among `values`, by NAMES; raises ConfigError."""
        if "percent" in values and "waves" in values and values["percent"] is not None:
            raise ConfigError("percent and waves are both given", "a plan says in its waves who gets the release")
        return cls(
            percent=_number(values, "percent", 0, 100, "is not a percentage"),
            max_failed=_number(values, "max_failed", 0, 100, "is not a percentage of failures"),
            patience=_number(values, "patience", 1, MAX_PATIENCE, "is not a valid number of minutes"),
            waves=_waves(values["waves"]) if "waves" in values else None,
        )

    def pointer(self, version: str, before: Channel | None) -> Pointer:
        """Return the pointer to `version` in the channel `before`; the same version keeps its salt and its limits.

        With the same plan it keeps how far that has come.
        """
        same = before.pointer if before is not None and before.pointer.version == version else Pointer(version)
        pointer = Pointer(
            version,
            percent=100 if self.percent is None else self.percent,
            salt=same.salt or secrets.token_hex(8),
            max_failed=same.max_failed if self.max_failed is None else self.max_failed,
            patience=same.patience if self.patience is None else self.patience,
            granted=same.granted,
        )
        if self.waves is None:
            return pointer
        if same.plan is not None and same.plan.waves == self.waves:
            return replace(pointer, paused=same.paused).with_plan(
                same.plan
            )  # who repeats a deployment begins none anew
        return pointer.with_plan(Plan(self.waves, began=int(time.time())))

    def published(self, version: str, before: Channel | None) -> Pointer:
        """Return the pointer to what is published; raises ConflictError for a release whose rollout was halted."""
        same = before.pointer if before is not None and before.pointer.version == version else None
        if same is not None and same.halted:
            raise ConflictError(
                f"the rollout of '{version}' was halted: devices did not come back with it",
                "publish a release that works, or let it go on with otaseal promote --percent",
            )
        pointer = self.pointer(version, before)
        if same is not None and self.waves is None and same.plan is None:  # a repeated CI run ends no pause
            return replace(pointer, paused=same.paused)
        return pointer


def _waves(value: object) -> tuple[Wave, ...]:
    """Return the waves that a list describes, or a text that has it as JSON."""
    if not isinstance(value, str):
        return parse_waves(value)
    if not re.fullmatch(WAVES_TEXT, value):
        raise ConfigError(
            f"the waves '{value[:32]}' are not {MAX_WAVES_TEXT} ASCII characters at most",
            "give the devices that they name one tag",
        )
    try:
        return parse_waves(json.loads(value))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the waves '{value[:32]}' are not JSON", "give a list of waves") from error


def _number(values: Mapping[str, object], name: str, least: int, most: int, what: str) -> int | None:
    value = values.get(name)
    if value is None and name not in values:
        return None
    text = str(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ConfigError(f"'{text[:32]}' {what}", f"use a whole number from {least} to {most}")
    return int(text)


class UptimeClock:
    """The wall clock, and how long the server has been able to hear devices, by the monotonic clock.

    That a device is silent means something only when it could have been heard for all of its patience: not just after a
    start, nor after the wall clock, which deliveries are dated by, was set (a board without a battery, a wake-up).
    """

    def __init__(
        self,
        report: Callable[[float], None],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start now; `report` is called with the seconds by which the wall clock was set."""
        self._report, self._wall, self._monotonic = report, wall, monotonic
        self._lock = threading.Lock()
        self._last = wall(), monotonic()
        self._started, self._set = self._last[1], -math.inf

    def read(self, patience: float) -> tuple[float, float | None]:
        """Return the wall clock's time and `patience`, in seconds; None for it while no device can be late."""
        with self._lock:
            wall, monotonic = self._wall(), self._monotonic()
            jump = (wall - self._last[0]) - (monotonic - self._last[1])
            self._last = wall, monotonic
            if abs(jump) > JUMP_SECONDS:
                self._set = monotonic
                self._report(jump)
            elapsed = monotonic - self._set >= patience and monotonic - self._started >= min(patience, START_SECONDS)
        return wall, patience if elapsed else None


def tally(devices: DeviceTable, product: str, channel: str, pointer: Pointer, clock: UptimeClock) -> Tally:
    """Return how a rollout goes, which begins now if it has not begun."""
    return devices.tally(product, channel, *_begun(devices, product, channel, pointer, clock))


def outcomes(devices: DeviceTable, product: str, channel: str, pointer: Pointer, clock: UptimeClock) -> Tally:
    """Return of `tally` what is shown of it: the devices, without their votes."""
    return devices.outcomes(product, channel, *_begun(devices, product, channel, pointer, clock))


def _begun(
    devices: DeviceTable, product: str, channel: str, pointer: Pointer, clock: UptimeClock
) -> tuple[Rollout, float, float | None]:
    now, patience = clock.read(60.0 * pointer.patience)
    return devices.rollout(product, channel, pointer.version) or Rollout(pointer.version, now), now, patience
