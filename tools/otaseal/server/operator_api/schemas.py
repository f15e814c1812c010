"""What the operators' interface takes and answers, as JSON schemas.

What an answer looks like is read off the dataclasses that are sent, so that neither can change alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields

from ...names import NAME
from ...protocol.answers import REASONS
from ...release import attachments
from ...release.archive_record import ArchiveRecord
from ...release.evidence import Evidence, Proof
from ...release.notes import MAX_NOTES, SEVERITIES
from ...release.record_fields import VERSION
from ...release.records import SHARED, Form, Release
from ...release.standards import Point
from ...release.stranding import Consent, Group
from ...release.waves import MAX_PATIENCE
from ...store.device_rows import MAX_CLAIM, STATES, Device
from ...store.enrolments import PROOFS
from ...store.history import EVENTS, Event
from ...store.labels import MAX_NAME, MAX_NOTE, TAG
from ...store.proof_keys import FINGERPRINT
from ...store.tag_rules import PARTS, TagRule
from ..alarms import Alarm
from ..patches import Made
from .rollout_options import WAVES_TEXT
from .rollout_schemas import rollouts
from .schema_parts import MAYBE as _MAYBE
from .schema_parts import PERCENT as _PERCENT
from .schema_parts import TEXT as _TEXT
from .schema_parts import TIME as _TIME
from .schema_parts import Schema, pattern, reference
from .schema_parts import array as _array
from .schema_parts import by_name as _by_name
from .schema_parts import fields_of as _fields
from .schema_parts import object_of as _object

BOARD = re.compile("[0-9A-Za-z._-]{1,64}")
SINCE = "[0-9]{1,12}([.][0-9]{1,9})?"
MAX_TEXT = 64
MAX_DEVICES = 500
"""Devices that one answer lists."""
MAX_DEVICE = MAX_CLAIM
"""Characters of a device's name."""
DEVICE_NAME = "(mac:)?[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"
"""Of a device that may have a key."""
PROOF_KEY = "[0-9A-Fa-f]{64}"
KEY_FINGERPRINT = f"[0-9a-f]{{{FINGERPRINT}}}"
LOGGED_SINCE = "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{0,12}([+]00:00|Z)?)?"
"""A time as the audit log has it, or the beginning of one."""
REHEARSALS = ("passed", "partly", "skipped")

_TAG: Schema = pattern(TAG.pattern)
_FLAG: Schema = {"type": "string", "enum": ["0", "1"]}
_KNOWN_BY: Mapping[str, Schema] = {
    name: {"type": "string", "enum": [kind.value for kind in kinds]}
    for name, kinds in (("evidence", Evidence), ("proof", Proof))
}
_LIMITS: Mapping[str, Schema] = {
    "max_failed": _PERCENT,
    "patience": {"type": "integer", "minimum": 1, "maximum": MAX_PATIENCE, "description": "minutes"},
}

QUERY: Mapping[str, Schema] = {
    "product": pattern(NAME.pattern, description="this one, and what is of none; without it all are meant"),
    "channel": pattern(NAME.pattern, default="stable"),
    "percent": {**_PERCENT, "default": 100},
    **_LIMITS,
    "waves": pattern(WAVES_TEXT, description="the waves of a plan, as JSON"),
    "created": pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", examples=["2030-01-31T12:00:00Z"]),
    "board": pattern("[0-9A-Za-z._,-]{0,1040}", description="the name of the board, or of each, separated by commas"),
    "board_id": pattern("[0-9a-f]{16}"),
    "commit": pattern("([0-9a-f]{7,64})?"),
    "dirty": {**_FLAG, "default": "0"},
    "downgrade": {**_FLAG, "default": "0"},
    "rehearsal": {"type": "string", "enum": list(REHEARSALS)},
    "raise_counter": {**_FLAG, "default": "0"},
    "strand_devices": {**_FLAG, "default": "0"},
    "even_if_run": {**_FLAG, "default": "0"},
    "by": {"type": "string", "maxLength": 256, "description": "who, as a line has it: token:ci"},
    "event": {"type": "string", "maxLength": 64, "examples": ["publish", "point", "rollback", "halted"]},
    "since": pattern(LOGGED_SINCE, examples=["2030-01-31"]),
    "state": {"type": "string", "enum": list(STATES)},
    "version": pattern(VERSION.pattern, description="what devices run"),
    "tag": _TAG,
    "answered": {"type": "string", "enum": list(REASONS), "description": "why their polls are answered as they are"},
    "text": {"type": "string", "maxLength": MAX_TEXT, "description": "in name, note, device or MAC address"},
    "late": {**_FLAG, "description": "1 for those that should have asked long ago, 0 for the others"},
    "no_room": {**_FLAG, "description": "with too little free space for the release of their channel, or not"},
    "pinned": _FLAG,
    "after": {"type": "string", "maxLength": MAX_DEVICE, "description": "the `next` of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_DEVICES, "default": MAX_DEVICES},
}
OF_DEVICES: Mapping[str, Schema] = {
    "channel": pattern(NAME.pattern),
    "board": pattern(BOARD.pattern, description="the name of a board, or its id"),
    "since": pattern(SINCE, description="with news since then, in seconds since 1970"),
}
"""In place of parameters in QUERY, where devices are listed; without a channel all are meant."""
IN_PATH: Mapping[str, Schema] = {
    "product": pattern(NAME.pattern),
    "channel": pattern(NAME.pattern),
    "version": pattern(VERSION.pattern),
    "device": pattern(DEVICE_NAME),
    "kind": {"type": "string", "enum": list(attachments.LIMITS)},
}


def _of_every_format() -> tuple[str, ...]:
    """Return the fields that every release record has: those of an older format lack the later ones."""
    later = {field.name for field in fields(Release) if field.default is not MISSING}
    return ("format", *(field.name for field in fields(Release) if field.name not in later))


_UNSEEN: Schema = {**_MAYBE, "description": "null for a device that was not seen yet"}
_NEXT: Schema = {**_MAYBE, "description": "what `after` has to be for the next page; null on the last one"}
_LABEL: Mapping[str, Schema] = {
    **{"name": {"type": "string"}, "note": {"type": "string"}},
    **{"tags": {"type": "array", "items": _TAG}, "pinned": {"type": "boolean"}},
}
_TOLD_OF_DEVICE: Mapping[str, Schema] = {
    "state": {"type": "string", "enum": list(STATES)},
    "running": {**_MAYBE, "description": "the version that it runs"},
    "board_name": {**_MAYBE, "description": "by its release, else by the id that it says"},
    "core": {**_MAYBE, "description": "the core release of what it runs"},
    "next_poll": {"type": ["number", "null"], "description": "when it is expected to ask again, by its own pace"},
    "late": {"type": "boolean", "description": "whether it should have asked long ago"},
}
_SHOWN_KEY: Mapping[str, Schema] = {
    "key": {**_TEXT, "description": "the first 16 hex digits of the key's SHA-256"},
    "how": {"type": "string", "enum": ["enrolled", "agreed at first contact", "shown in place of the known one"]},
    "since": {"type": "number", "description": "seconds since 1970"},
    "accepted": {"type": "boolean", "description": "whether it proves enough for `serve --require-proof`"},
    "address": {**_TEXT, "description": "the network that a key was shown from in place of the known one, else empty"},
}
_DEVICE_ENDPOINT: dict[str, Schema] = {"device_port": {"type": "integer"}, "device_certificates": {"type": "boolean"}}


_NOTES: dict[str, Schema] = {
    "severity": {"type": "string", "enum": ["", *SEVERITIES]},
    "notes": {"type": "string", "maxLength": MAX_NOTES},
    "cves": {"type": "string", "description": "CVE numbers, separated by blanks"},
    "advisory": {"type": "string", "maxLength": MAX_NOTES},
}
_REACH: dict[str, Schema] = {
    "devices": {"type": "integer"},
    "reached": {"type": "integer"},
    "seconds": {
        "type": "object",
        "additionalProperties": {"type": ["number", "null"]},
        "description": "from the release until so many per cent of the devices had it; null: not yet",
    },
}
_REPORTED: dict[str, Schema] = {
    "version": {"type": "string"},
    "created": {"type": "string"},
    "commit": {"type": "string"},
    "security_counter": {"type": ["integer", "null"]},
    **_NOTES,
}


def schemas() -> dict[str, Schema]:
    """Return all schemas by name, for the components of an OpenAPI document."""
    release, archive, channel = reference("Release"), reference("ArchiveRecord"), reference("Channel")
    image = {name: schema for name, schema in _fields(Release).items() if name != "others"}
    consent, texts = _fields(Consent), _array(_TEXT)
    effect = {"before": _MAYBE, "channel": channel, "devices": _by_name({"type": "integer"}), **_DEVICE_ENDPOINT}
    promotion = {"from": IN_PATH["channel"], "version": IN_PATH["version"], "percent": _PERCENT, **_LIMITS, **consent}
    promotion["waves"] = _array(reference("Wave"))
    return {
        "Error": _object({"error": _TEXT, "hint": _TEXT}),
        "Health": _object(
            {
                "status": {"type": "string", "enum": ["ok", "problems"]},
                "problems": {**texts, "description": "what calls for a person"},
            },
            ("status",),
        ),
        "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Products": _object({"products": texts}),
        "Product": _object(
            {
                "product": _TEXT,
                "keys": _by_name(_TEXT),
                "channels": _by_name(channel),
                "current": {"anyOf": [release, {"type": "null"}]},
                "fleet": _array(reference("Group")),
                **_DEVICE_ENDPOINT,
            }
        ),
        "Group": _object(_fields(Group)),
        "Releases": _object(
            {
                "product": _TEXT,
                "releases": _array(release),
                "channels": _by_name(channel),
                "notes": _by_name(_object(_NOTES)),
                "attachments": {**_by_name(texts), "description": "their kinds, by version"},
                "patches": _array(reference("Patch")),
                "damaged": texts,
                "alarms": {**_array(reference("Alarm")), "description": "those that stand"},
            }
        ),
        "Patch": _object(_fields(Made)),
        "Attachment": {"type": "object", "description": "CycloneDX, or a DSSE envelope"},
        "Log": _object(
            {
                "product": _TEXT,
                "head": _object({"number": {"type": "integer"}, "sha256": _TEXT}),
                "entries": {**texts, "description": "DSSE envelopes, whose SHA-256 is that of these very characters"},
                "next": _NEXT,
            }
        ),
        "Form": _object(_fields(Form)),
        "Release": {"anyOf": [reference("BoardRelease"), reference("BoardsRelease")]},
        "BoardRelease": _object({"format": {"type": "integer"}, **image}, _of_every_format()),
        "BoardsRelease": _object(
            {
                "format": {"type": "integer"},
                **{name: image[name] for name in SHARED},
                "boards": _array(_object({name: schema for name, schema in image.items() if name not in SHARED})),
            }
        ),
        "Channel": _object(
            {
                "version": _TEXT,
                "percent": _PERCENT,
                "halted": {"type": "boolean"},
                "paused": {"type": "boolean"},
                "wave": {"type": "integer", "minimum": 1},
                "waves": {"type": "integer", "minimum": 1},
                "previous": _MAYBE,
                **_LIMITS,
                "generation": {"type": "integer", "minimum": 1},
            }
        ),
        "Effect": _object(effect),
        "Published": _object({"release": release, **effect, "warnings": texts}),
        "Consent": _object(consent, ()),
        "Promotion": {**_object(promotion, ()), "oneOf": [{"required": ["from"]}, {"required": ["version"]}]},
        "Percentage": _object({"percent": _PERCENT, **_LIMITS, "set_aside": {"type": "boolean"}}, ("percent",)),
        **rollouts(),
        "ArchiveRecord": _object(_fields(ArchiveRecord)),
        "Certs": _object({"certs": archive}),
        "PublishedCerts": _object({"certs": archive, **_DEVICE_ENDPOINT}),
        "Device": _object({**_fields(Device), **_TOLD_OF_DEVICE, **_KNOWN_BY, **_LABEL}),
        "Event": _object({"device": _TEXT, **_fields(Event), "event": {"type": "string", "enum": list(EVENTS)}}),
        "Counts": _object(
            {
                **{"product": _TEXT, "channel": _MAYBE, "now": _TIME},
                **{name: {"type": "integer"} for name in ("total", "late", "no_room", "pinned")},
                **{
                    name: _by_name({"type": "integer"})
                    for name in ("channels", "states", "answered", "versions", "boards", "tags")
                },
            }
        ),
        "DeviceLabel": _object(
            {
                "device": {"type": "string", "minLength": 1, "maxLength": MAX_DEVICE},
                "name": {"type": "string", "maxLength": MAX_NAME},
                "note": {"type": "string", "maxLength": MAX_NOTE},
                "tag": {**_array(_TAG), "description": "to add"},
                "untag": {**_array(_TAG), "description": "to take off"},
                "pinned": {"type": "boolean", "description": "whether it stays with what it runs"},
            },
            ("device",),
        ),
        "LabelledDevice": _object({"product": _TEXT, "channel": _UNSEEN, "device": _TEXT, **_LABEL}),
        "Imported": _object({"product": _TEXT, "devices": {"type": "integer"}}),
        "TagRule": _object({"tag": _TAG, **{part: {"type": "string", "maxLength": 64} for part in PARTS}}, ("tag",)),
        "TagRules": _object({"product": _TEXT, "rules": _array(_object(_fields(TagRule)))}),
        "NamedTag": _object({"tag": _TAG}),
        "Devices": _object(
            {
                "product": _TEXT,
                "devices": _array(reference("Device")),
                "next": _NEXT,
                "total": {"type": ["integer", "null"], "description": "of all pages; null behind the first one"},
                "now": {**_TIME, "description": "what `late` is by, and `since` of the next look"},
            }
        ),
        "NamedDevice": _object({"device": {"type": "string", "minLength": 1, "maxLength": MAX_DEVICE}}),
        "ChangedDevice": _object({"product": _TEXT, "channel": _UNSEEN, "device": _TEXT}),
        "ShownDevice": _object(
            {
                "product": _TEXT,
                "device": _TEXT,
                "label": {**_object(_LABEL), "description": "its tags by hand alone"},
                "key": {"anyOf": [_object(_SHOWN_KEY), {"type": "null"}]},
                "waiting": {"anyOf": [_object(_SHOWN_KEY), {"type": "null"}]},
                "rows": {**_array(reference("Device")), "description": "its own, and that of others in its name"},
                "history": {**_array(reference("Event")), "description": "the newest first"},
            }
        ),
        "ProofKey": _object({"key": pattern(PROOF_KEY)}),
        "ShownKey": _object({"key": pattern(KEY_FINGERPRINT, description="which one, where two are shown")}, ()),
        "EnrolledKey": _object(
            {
                "product": _TEXT,
                "channel": _UNSEEN,
                "device": _TEXT,
                "key": _SHOWN_KEY["key"],
                "address": _SHOWN_KEY["address"],
                "shown": {"type": "number", "description": "since when, in seconds since 1970"},
            },
            ("product", "channel", "device", "key"),
        ),
        "Enrolment": _object(
            {
                "device": _TEXT,
                "request": {**_TEXT, "description": "PKCS#10, DER in base64"},
                "proof": {"type": "string", "enum": list(PROOFS), "description": "by what it was asked"},
                "credential": {**_TEXT, "description": "the claim code's id, or the certificate's serial number"},
                "asked": {"type": "number", "description": "when, in seconds since 1970"},
            }
        ),
        "Enrolments": _object({"product": _TEXT, "enrolments": _array(reference("Enrolment")), "next": _NEXT}),
        "Notes": _object({"product": _TEXT, "version": _TEXT, **_NOTES}),
        "SetNotes": _object(_NOTES, ()),
        "Report": _object(
            {
                "product": _TEXT,
                "made": _TEXT,
                "support": _object({"ends": _MAYBE, "over": {"type": "boolean"}}),
                "devices": _object({"seen": {"type": "integer"}, "active": {"type": "integer"}}),
                "versions": _array(
                    _object(
                        {
                            "version": _TEXT,
                            "devices": {"type": "integer"},
                            "days": {"type": ["integer", "null"], "description": "since the release was made"},
                            "severity": _TEXT,
                        }
                    )
                ),
                "security": {"anyOf": [{"type": "null"}, _object({**_REPORTED, **_REACH})]},
                "releases": _array(_object(_REPORTED)),
                "points": _array(_object(_fields(Point))),
            }
        ),
        "Support": _object({"product": _TEXT, "ends": _TEXT}),
        "SetSupport": _object({"ends": pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}")}),
        "Deleted": _object({"product": _TEXT, "version": _TEXT, "devices": {"type": "integer"}}),
        "AuditRow": _object(
            {
                "at": {**_TEXT, "description": "ISO 8601, UTC; of many lines the latest"},
                "first": {**_TEXT, "description": "of many lines the earliest"},
                **dict.fromkeys(("event", "product", "channel", "version", "by"), _TEXT),
                "count": {"type": "integer", "minimum": 1, "description": "lines of the same, to another device each"},
                "devices": texts,
                "details": {"type": "object"},
            }
        ),
        "Audit": _object({"rows": _array(reference("AuditRow")), "next": _NEXT}),
        "Alarm": _object(_fields(Alarm)),
        "Alarms": _object({"alarms": _array(reference("Alarm"))}),
        "Enrolled": _object({"product": _TEXT, "device": _TEXT, "serial": _TEXT, "expires": _TEXT}),
    }
