"""The waves of rollouts that move: of each plan the gate is judged, and where it has passed, the next wave begins.

By one server of several, under the turn in which rollouts are judged. To count the devices of a channel takes longer
the more there are: it is done when time and approvals leave nothing else to wait for, and then only so often that it
takes a fiftieth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...errors import ConflictError, OtasealError
from ...release import waves
from ...release.channels import Channel
from ..alarms import Problem
from ..catalog import Catalog
from ..operator_api.channel_changes import Target
from ..operator_api.rollouts import begin_next
from ..operator_api.wave_counts import WaveCounter
from ..telemetry import Telemetry

REST = 50
"""How much longer than a count took nothing is counted again."""


@dataclass
class Advancer:
    """Begins the next waves of the plans in a catalog; `judge` blocks."""

    catalog: Catalog
    counter: WaveCounter
    telemetry: Telemetry
    monotonic: Callable[[], float] = time.monotonic
    _due: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a channel's devices may be counted again, by product and channel."""

    def judge(self) -> list[Problem]:
        """Begin what may begin, and return what could not be done."""
        problems: list[Problem] = []
        for product in self.catalog.store.products():
            for channel, state in self.catalog.channels(product).items():
                try:
                    self._judge(product, channel, state)
                except ConflictError:
                    pass  # somebody changed it just now, and it is judged anew
                except OtasealError as error:  # of this channel alone
                    text = f"the rollout in channel '{channel}' of '{product}' cannot go on: {error.message}"
                    problems.append(Problem(text, product, channel))
        return problems

    def _judge(self, product: str, channel: str, state: Channel) -> None:
        pointer, plan = state.pointer, state.pointer.plan
        now, _ = self.counter.clock.read(0.0)
        if plan is None or plan.is_last or pointer.halted or pointer.paused or not waves.pending(plan, now).passed:
            return
        started = self.monotonic()
        if started < self._due.get((product, channel), 0.0):
            return
        release = self.catalog.sound(product, pointer.version)
        found = self.counter.count(product, channel, pointer, release)
        ended = self.monotonic()
        self._due[product, channel] = ended + REST * (ended - started)
        verdict = waves.gate(plan, found.standing(plan.current), pointer.max_failed, now)
        if verdict.passed:
            why = f"gate passed: {'; '.join(verdict.reasons)}"
            event = begin_next(self.catalog.store, Target(product, channel, "server"), state, why, now)
            self.telemetry.event(event.pop("event"), **event)
