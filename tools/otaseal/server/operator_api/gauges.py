"""What Prometheus is told beside the counters: how rollouts go, what stands. Labels are names in the store or ours."""

from __future__ import annotations

from collections import Counter

from ...release.channels import Pointer
from ...release.evidence import Evidence
from ..alarms import Alarms
from ..telemetry import Labelled, labelled
from .fleet import Fleet

OUTCOMES = ("eligible", "offered", "delivered", "confirmed", "failed")
STATES = ("running", "paused", "halted", "complete")
Gauges = dict[Labelled, float]


def of_rollouts(fleet: Fleet) -> Gauges:
    """Return how the rollout of each channel goes, and how many devices are known how well; blocks."""
    gauges: Gauges = {}
    now = fleet.clock.read(0.0)[0]
    known = dict.fromkeys(Evidence, 0.0)
    for product, channel, pointer, found in fleet.rollouts():
        where = {"product": product, "channel": channel}
        for outcome in OUTCOMES:
            count = getattr(found.everybody, outcome)
            gauges[labelled("otaseal_rollout_devices", outcome=outcome, **where)] = count
        for state in STATES:
            gauges[labelled("otaseal_rollout_state", state=state, **where)] = state == state_of(pointer, now)
        gauges[labelled("otaseal_rollout_percent", **where)] = pointer.percent
        gauges[labelled("otaseal_rollout_wave", **where)] = pointer.current_wave + 1
        gauges[labelled("otaseal_rollout_waves", **where)] = len(pointer.waves)
        for evidence, devices in found.devices.items():
            known[evidence] += devices.eligible
    return gauges | {labelled("otaseal_devices", evidence=one.value): count for one, count in known.items()}


def of_alarms(alarms: Alarms) -> Gauges:
    """Return how many alarms stand, by kind; of a kind that had one it is told that there is none."""
    listed = alarms.listed()
    counts = Counter({alarm.kind: 0 for alarm in listed})
    counts.update(alarm.kind for alarm in listed if alarm.until is None)
    return {labelled("otaseal_alarms", kind=kind): count for kind, count in sorted(counts.items())}


def state_of(pointer: Pointer, now: float) -> str:
    """Return the state of a rollout, one of STATES; `now` is in seconds since 1970."""
    if pointer.halted:
        return "halted"
    if pointer.paused:
        return "paused"
    return "complete" if pointer.complete and (pointer.plan is None or pointer.plan.has_opened(now)) else "running"
