"""What the operators' interface takes and answers, as JSON schemas.

What an answer looks like is read off the dataclasses that are sent, so that neither can change alone.
"""

from __future__ import annotations

from ..alarms import Alarm
from .device_schemas import devices
from .release_schemas import releases
from .rollout_schemas import rollouts
from .schema_parts import NEXT, TEXT, Schema, array, fields_of, object_of, reference


def schemas() -> dict[str, Schema]:
    """Return all schemas by name, for the components of an OpenAPI document."""
    texts = array(TEXT)
    return {
        "Error": object_of({"error": TEXT, "hint": TEXT}),
        "Health": object_of(
            {
                "status": {"type": "string", "enum": ["ok", "problems"]},
                "problems": {**texts, "description": "what calls for a person"},
            },
            ("status",),
        ),
        "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
        "AuditRow": object_of(
            {
                "at": {**TEXT, "description": "ISO 8601, UTC; of many lines the latest"},
                "first": {**TEXT, "description": "of many lines the earliest"},
                **dict.fromkeys(("event", "product", "channel", "version", "by"), TEXT),
                "count": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "lines of the same, to another device each; of 'seen', devices of that day",
                },
                "devices": texts,
                "details": {"type": "object"},
            }
        ),
        "Audit": object_of({"rows": array(reference("AuditRow")), "next": NEXT}),
        "Alarm": object_of(fields_of(Alarm)),
        "Alarms": object_of({"alarms": array(reference("Alarm"))}),
        **releases(),
        **rollouts(),
        **devices(),
    }
