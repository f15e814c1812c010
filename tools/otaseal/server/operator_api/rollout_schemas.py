"""What the operators' interface takes and answers of rollouts that go in waves, as JSON schemas."""

from __future__ import annotations

from dataclasses import fields

from .schema_parts import MAYBE, PERCENT, TEXT, Schema, array, fields_of, object_of, pattern, reference
from .wave_counts import WAVE_STATES, FailedDevice, Funnel


def rollouts() -> dict[str, Schema]:
    """Return the schemas of rollouts that go in waves."""
    count: Schema = {"type": "integer", "minimum": 0}
    funnel = dict.fromkeys((field.name for field in fields(Funnel)), count)
    time, texts = {"type": ["number", "null"], "description": "seconds since 1970"}, array(TEXT)
    wave = {
        **{
            "percent": {**PERCENT, "description": "of the devices no tag or name has"},
            "tags": texts,
            "devices": texts,
        },
        **{"window": pattern("[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}"), "zone": TEXT, "days": texts},
        "soak": {**count, "description": "minutes until the next wave"},
        "answers": {**count, "description": "devices that have to come back or fail, or all of a smaller wave"},
        "max_failed": PERCENT,
        "approval": {**texts, "description": "operators, one of whom has to approve of the next wave; * is anybody"},
    }
    shown = {
        "number": count,
        "who": TEXT,
        "plan": reference("Wave"),
        "state": {"type": "string", "enum": list(WAVE_STATES)},
    }
    halt = {"max_failed": PERCENT, "failed": {"type": "number"}, "answered": {"type": "number"}, "needed": count}
    rest = object_of(funnel)
    nobody = {**MAYBE, "description": "that no device has the wave's tags or names, in words: its gate waits for one"}
    state = {**shown, "open": {"type": "boolean"}, "opens": time, "began": time, "nobody": nobody, **funnel}
    missing = {**texts, "description": "tags and names, as in who, that no device has which may be updated"}
    return {
        "Wave": object_of(wave, ()),
        "Waves": object_of({"waves": array(reference("Wave"))}),
        "WaveState": object_of(state),
        "WavePreview": object_of({**state, "missing": missing}),
        "Preview": object_of({"waves": array(reference("WavePreview")), "rest": rest, "pinned": count}),
        "Nothing": object_of({}),
        "Approval": object_of({"now": {"type": "boolean"}}, ()),
        "Rollout": object_of(
            {
                **{"product": TEXT, "channel": TEXT, "version": TEXT, "previous": MAYBE},
                "state": {"type": "string", "enum": ["running", "paused", "halted", "complete"]},
                **{"percent": PERCENT, "began": time, "waves": array(reference("WaveState")), "rest": rest},
                **{"pinned": count, "granted": texts, "waits_for": texts, "next_at": time},
                "halt": object_of({**halt, "reached": {"type": "boolean"}}),
                "failed": array(
                    object_of({**fields_of(FailedDevice), "text": {**TEXT, "description": "its last error in words"}})
                ),
            }
        ),
    }
