"""What the operators' interface takes and answers of rollouts that go in waves, as JSON schemas."""

from __future__ import annotations

from dataclasses import fields

from .schema_parts import MAYBE, PERCENT, TEXT, Schema, array, fields_of, object_of, pattern, reference
from .wave_counts import WAVE_STATES, FailedDevice, Funnel

_COUNT: Schema = {"type": "integer", "minimum": 0}
_FUNNEL = dict.fromkeys((field.name for field in fields(Funnel)), _COUNT)
_TIME, _TEXTS = {"type": ["number", "null"], "description": "seconds since 1970"}, array(TEXT)


def rollouts() -> dict[str, Schema]:
    """Return the schemas of rollouts that go in waves."""
    missing = {**_TEXTS, "description": "tags and names, as in who, that no device has which may be updated"}
    return {
        "Wave": object_of(_wave(), ()),
        "Waves": object_of({"waves": array(reference("Wave"))}),
        "WaveState": object_of(_state()),
        "WavePreview": object_of({**_state(), "missing": missing}),
        "Preview": object_of({"waves": array(reference("WavePreview")), "rest": object_of(_FUNNEL), "pinned": _COUNT}),
        "Nothing": object_of({}),
        "Approval": object_of({"now": {"type": "boolean"}}, ()),
        "Rollout": object_of(_rollout()),
    }


def _wave() -> dict[str, Schema]:
    """Return the fields of a wave as it is planned."""
    return {
        "percent": {**PERCENT, "description": "of the devices no tag or name has"},
        "tags": _TEXTS,
        "devices": _TEXTS,
        "window": pattern("[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}"),
        "zone": TEXT,
        "days": _TEXTS,
        "soak": {**_COUNT, "description": "minutes until the next wave"},
        "answers": {**_COUNT, "description": "devices that have to come back or fail, or all of a smaller wave"},
        "max_failed": PERCENT,
        "approval": {**_TEXTS, "description": "operators, one of whom has to approve of the next wave; * is anybody"},
    }


def _state() -> dict[str, Schema]:
    """Return the fields of a wave as it stands."""
    nobody = {**MAYBE, "description": "that no device has the wave's tags or names, in words: its gate waits for one"}
    return {
        **{"number": _COUNT, "who": TEXT, "plan": reference("Wave")},
        "state": {"type": "string", "enum": list(WAVE_STATES)},
        **{"open": {"type": "boolean"}, "opens": _TIME, "began": _TIME, "nobody": nobody},
        **_FUNNEL,
    }


def _rollout() -> dict[str, Schema]:
    """Return the fields of a rollout; `rest` are the devices in no wave."""
    halt = {"max_failed": PERCENT, "failed": {"type": "number"}, "answered": {"type": "number"}, "needed": _COUNT}
    failed = {**fields_of(FailedDevice), "text": {**TEXT, "description": "its last error in words"}}
    return {
        **{"product": TEXT, "channel": TEXT, "version": TEXT, "previous": MAYBE},
        "state": {"type": "string", "enum": ["running", "paused", "halted", "complete"]},
        **{"percent": PERCENT, "began": _TIME, "waves": array(reference("WaveState")), "rest": object_of(_FUNNEL)},
        **{"pinned": _COUNT, "granted": _TEXTS, "waits_for": _TEXTS, "next_at": _TIME},
        "halt": object_of({**halt, "reached": {"type": "boolean"}}),
        "failed": array(object_of(failed)),
    }
