"""What people are told of rollouts: one that is halted or waits for approval is an alarm, one that is over is news."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...release import waves
from ...release.channels import Channel
from ...store.device_table import DeviceTable
from ..alarms import Alarm, Problem
from ..catalog import Catalog
from ..operator_api.rollout_options import UptimeClock
from ..telemetry import Telemetry

REPEAT_SECONDS = 600.0
"""How soon a moment that happens again and again is told again."""
MAX_REMEMBERED = 256


@dataclass
class Notices:
    """Passes alarms on: those of a product by the server that leads alone, others by each server of its own."""

    tell: Callable[[str, Mapping[str, Any]], None]
    leading: bool = True
    _moments: dict[tuple[str, str], float] = field(default_factory=dict, repr=False)

    def alarm(self, alarm: Alarm) -> None:
        """Tell that an alarm has begun, or ended; of a moment the beginning alone."""
        if alarm.product and not self.leading:
            return
        is_moment = alarm.until == alarm.since
        if is_moment and alarm.since - self._moments.get(alarm[:2], -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if is_moment:
            self._moments[alarm[:2]] = alarm.since
            while len(self._moments) > MAX_REMEMBERED:
                del self._moments[next(iter(self._moments))]
        self.tell("alarm.began" if alarm.until is None or is_moment else "alarm.ended", alarm._asdict())


@dataclass
class RolloutNews:
    """Looks at the channels of a catalog, and tells; `look` blocks."""

    catalog: Catalog
    devices: DeviceTable
    clock: UptimeClock
    telemetry: Telemetry
    tell: Callable[[str, Mapping[str, Any]], None]
    _over: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict, repr=False)
    """By product and channel the version that it gave out, and whether all had it, at the last look."""

    def look(self, *, leading: bool) -> None:
        """Keep the alarms of rollouts, and, `leading`, tell of those that are over; raises SystemFaultError."""
        channels = [
            (product, name, state)
            for product in self.catalog.store.products()
            for name, state in self.catalog.channels(product).items()
        ]
        halted, waiting = [], []
        for product, name, state in channels:
            if state.pointer.halted:
                halted.append(Problem(f"the rollout of '{state.pointer.version}' is halted", product, name))
            elif text := self._approval(state):
                waiting.append(Problem(text, product, name))
        self.telemetry.alarms.set("halted", halted)
        self.telemetry.alarms.set("approval", waiting)
        if leading:
            for product, name, state in channels:
                self._complete(product, name, state)

    def _approval(self, state: Channel) -> str:
        """Return in words that a rollout waits for a person alone, as far as time and approvals go; "" otherwise."""
        pointer, plan = state.pointer, state.pointer.plan
        if plan is None or plan.is_last or pointer.paused or plan.approved or not plan.wave.approval:
            return ""
        now = self.clock.read(0.0)[0]
        if not waves.pending(replace(plan, approved="anybody"), now).passed:
            return ""
        reasons = "; ".join(waves.pending(plan, now).reasons)
        return f"wave {plan.current + 2} of the rollout of '{pointer.version}' {reasons}"

    def _complete(self, product: str, channel: str, state: Channel) -> None:
        """Tell when a release that is given to all devices runs on all that were seen, which was not so before."""
        version, key = state.pointer.version, (product, channel)
        count = self._running(product, channel, version) if state.pointer.complete else 0
        before, self._over[key] = self._over.get(key), (version, count > 0)
        if count and before not in (None, (version, True)):
            said = {"product": product, "channel": channel, "version": version, "devices": count}
            self.tell("rollout.completed", said)
            self.telemetry.event("completed", **said)

    def _running(self, product: str, channel: str, version: str) -> int:
        """Return how many devices of a channel run a version, 0 unless all do."""
        known, total = self.catalog.known(product), 0
        for md5, _, count in self.devices.running(product, channel):
            if md5 not in known or known[md5].release.version != version:
                return 0
            total += count
        return total
