"""A rollout as people see it: where each wave stands, what comes next and when, and which devices failed, with why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ...release import waves
from ...release.channels import Pointer
from ...release.device_errors import in_words
from ...release.plan_fields import wave_fields
from ...release.rollout import MIN_OUTCOMES, Tally, too_many_failed
from ...release.waves import Plan, Verdict, Wave
from .gauges import state_of
from .handlers.context import OperatorContext
from .rollout_options import outcomes
from .wave_counts import DONE, RUNNING, WAITING, FailedDevice, Standings, WaveCounter


def status(context: OperatorContext, product: str, channel: str, judged: Tally | None = None) -> dict[str, Any]:
    """Return where the rollout of a channel stands, as JSON, and has the outcomes `judged`, None to count them.

    Blocks. Raises NotFoundError, SystemFaultError.
    """
    state, fleet = context.channel_state(product, channel), context.fleet
    pointer, now = state.pointer, fleet.clock.read(0.0)[0]
    fleet.require_written()
    found = counter(context).count(product, channel, pointer, context.catalog.sound(product, pointer.version))
    judged = judged or outcomes(fleet.devices, product, channel, pointer, fleet.clock)
    verdict = _verdict(pointer, found, now)
    begun = fleet.devices.rollout(product, channel, pointer.version)
    return {
        "product": product,
        "channel": channel,
        "version": pointer.version,
        "previous": state.previous,
        "state": state_of(pointer, now),
        "percent": pointer.percent,
        "began": None if begun is None else begun.began,
        "waves": shown(pointer, found, now),
        "rest": asdict(found.rest),
        "pinned": found.pinned,
        "granted": list(pointer.granted),
        "waits_for": [] if verdict is None else list(verdict.reasons),
        "next_at": None if verdict is None else verdict.at,
        "halt": {
            "max_failed": pointer.max_failed,
            "failed": judged.heard.failed,
            "answered": judged.heard.failed + judged.heard.confirmed,
            "needed": MIN_OUTCOMES,
            "reached": too_many_failed(judged.heard, pointer.max_failed),
        },
        "failed": [_failed(one) for one in found.failed],
    }


def preview(context: OperatorContext, product: str, channel: str, plan: Sequence[Wave]) -> dict[str, Any]:
    """Return what the waves of a plan would be for the devices that a channel has; blocks.

    Who is in a share is drawn when the rollout begins: of those the numbers are nearly right.
    """
    now = context.fleet.clock.read(0.0)[0]
    pointer = Pointer("0", salt="preview").with_plan(Plan(tuple(plan), began=int(now)))
    context.fleet.require_written()
    counts = counter(context)
    found = counts.count(product, channel, pointer, None)
    foreseen = [
        {**one, "missing": counts.missing(product, channel, wave)}
        for one, wave in zip(shown(replace(pointer, halted=True), found, now), plan, strict=True)
    ]
    return {"waves": foreseen, "rest": asdict(found.rest), "pinned": found.pinned}


def counter(context: OperatorContext) -> WaveCounter:
    """Return what counts the devices of a channel."""
    return WaveCounter(context.fleet.devices, context.fleet.labels, context.fleet.clock)


def shown(pointer: Pointer, found: Standings, now: float) -> list[dict[str, Any]]:
    """Return the waves as JSON, with what became of their devices."""
    opened = waves.openings(pointer.waves, now)
    current = pointer.current_wave
    return [
        {
            "number": number + 1,
            "who": wave.who,
            "plan": wave_fields(wave),
            "state": DONE if number < current else RUNNING if number == current else WAITING,
            "open": opened.is_open[number],
            "opens": None if (opening := opened.windows[number]) is None else opening.opens,
            "began": pointer.plan.began if pointer.plan is not None and number == current else None,
            "nobody": wave.nobody if number in found.unmet else None,
            **asdict(funnel),
        }
        for number, (wave, funnel) in enumerate(zip(pointer.waves, found.waves, strict=True))
    ]


def _verdict(pointer: Pointer, found: Standings, now: float) -> Verdict | None:
    """Return what the gate of the current wave says, None where none is waited for."""
    plan = pointer.plan
    if plan is None or plan.is_last or pointer.halted:
        return None
    return waves.gate(plan, found.standing(plan.current), pointer.max_failed, now)


def _failed(one: FailedDevice) -> dict[str, Any]:
    error = in_words(one.error)
    silent = "it did not come back in time" if one.silent else ""
    text = "; ".join(filter(None, (silent, error))) or "it came back with what it ran before, and said no error"
    return {**one._asdict(), "text": text}
