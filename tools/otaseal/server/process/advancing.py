"""The waves of rollouts that move: of each plan the gate is judged, and where it has passed, the next wave begins.

By one server of several, under the turn in which rollouts are judged. To count the devices of a channel takes longer
the more there are: it is done when time and approvals leave nothing else to wait for, and then only so often that it
takes a fiftieth of the time. A wave whose tags and names no device has would wait for ever: it is told as a problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

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
"""So many times as long as a count took, a channel is not counted again."""


class _Count(NamedTuple):
    """Until when a channel's devices are not counted again, its state then, and what was found to be wrong."""

    until: float = 0.0
    state: Channel | None = None
    problem: Problem | None = None


@dataclass
class Advancer:
    """Begins the next waves of the plans in a catalog; `judge` blocks."""

    catalog: Catalog
    counter: WaveCounter
    telemetry: Telemetry
    monotonic: Callable[[], float] = time.monotonic
    _counted: dict[tuple[str, str], _Count] = field(default_factory=dict)
    """The last count, by product and channel."""

    def judge(self) -> list[Problem]:
        """Begin what may begin, and return what could not be done."""
        problems: list[Problem] = []
        for product in self.catalog.store.products():
            for channel, state in self.catalog.channels(product).items():
                try:
                    problem = self._judge(product, channel, state)
                    problems.extend(filter(None, [problem]))
                except ConflictError:
                    pass  # somebody changed it just now, and it is judged anew
                except OtasealError as error:  # of this channel alone
                    text = f"the rollout in channel '{channel}' of '{product}' cannot go on: {error.message}"
                    problems.append(Problem(text, product, channel))
        return problems

    def _judge(self, product: str, channel: str, state: Channel) -> Problem | None:
        """Begin the next wave of a channel if its gate has passed; return the problem of one that waits for nobody."""
        pointer, plan = state.pointer, state.pointer.plan
        now, _ = self.counter.clock.read(0.0)
        if plan is None or plan.is_last or pointer.halted or pointer.paused or not waves.pending(plan, now).passed:
            return None
        started, last = self.monotonic(), self._counted.get((product, channel), _Count())
        if started < last.until:
            return last.problem if last.state == state else None
        release = self.catalog.sound(product, pointer.version)
        found = self.counter.count(product, channel, pointer, release)
        ended = self.monotonic()
        standing = found.standing(plan.current)
        problem = _unmet(product, channel, state) if standing.unmet else None
        self._counted[product, channel] = _Count(ended + REST * (ended - started), state, problem)
        verdict = waves.gate(plan, standing, pointer.max_failed, now)
        if verdict.passed:
            why = f"gate passed: {'; '.join(verdict.reasons)}"
            event = begin_next(self.catalog.store, Target(product, channel, "server"), state, why, now)
            self.telemetry.event(event.pop("event"), **event)
        return problem


def _unmet(product: str, channel: str, state: Channel) -> Problem:
    """Return the problem of a current wave whose tags and names no device has."""
    pointer, plan = state.pointer, state.pointer.plan
    assert plan is not None
    text = (
        f"wave {plan.current + 1} of the rollout of '{pointer.version}' waits: {plan.wave.nobody}; "
        "otaseal rollout approve --now begins the next one"
    )
    return Problem(text, product, channel)
