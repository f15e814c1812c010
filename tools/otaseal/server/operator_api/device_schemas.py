"""What the operators' interface takes and answers of devices, as JSON schemas: lists, labels, keys, enrolment."""

from __future__ import annotations

from collections.abc import Mapping

from ...release.evidence import Evidence, Proof
from ...store.device_rows import STATES, Device
from ...store.enrolments import PROOFS
from ...store.history import EVENTS, Event
from ...store.labels import MAX_NAME, MAX_NOTE
from ...store.tag_rules import PARTS, TagRule
from .parameters import KEY_FINGERPRINT, MAX_DEVICE, PROOF_KEY, TAG_NAME
from .schema_parts import MAYBE, NEXT, TEXT, TIME, Schema, array, by_name, fields_of, object_of, pattern, reference

_KNOWN_BY: Mapping[str, Schema] = {
    name: {"type": "string", "enum": [kind.value for kind in kinds]}
    for name, kinds in (("evidence", Evidence), ("proof", Proof))
}
_UNSEEN: Schema = {**MAYBE, "description": "null for a device that was not seen yet"}
_LABEL: Mapping[str, Schema] = {
    **{"name": {"type": "string"}, "note": {"type": "string"}},
    **{"tags": {"type": "array", "items": TAG_NAME}, "pinned": {"type": "boolean"}},
}
_TOLD_OF_DEVICE: Mapping[str, Schema] = {
    "state": {"type": "string", "enum": list(STATES)},
    "running": {**MAYBE, "description": "the version that it runs"},
    "board_name": {**MAYBE, "description": "by its release, else by the id that it says"},
    "core": {**MAYBE, "description": "the core release of what it runs"},
    "next_poll": {"type": ["number", "null"], "description": "when it is expected to ask again, by its own pace"},
    "late": {"type": "boolean", "description": "whether it should have asked long ago"},
}
_SHOWN_KEY: Mapping[str, Schema] = {
    "key": {**TEXT, "description": "the first 16 hex digits of the key's SHA-256"},
    "how": {"type": "string", "enum": ["enrolled", "agreed at first contact", "shown in place of the known one"]},
    "since": {"type": "number", "description": "seconds since 1970"},
    "accepted": {"type": "boolean", "description": "whether it proves enough for `serve --require-proof`"},
    "address": {**TEXT, "description": "the network that a key was shown from in place of the known one, else empty"},
}

_NAMED: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_DEVICE}


def devices() -> dict[str, Schema]:
    """Return the schemas of devices."""
    return {**_lists(), **_labels(), **_keys()}


def _lists() -> dict[str, Schema]:
    return {
        "Device": object_of({**fields_of(Device), **_TOLD_OF_DEVICE, **_KNOWN_BY, **_LABEL}),
        "Event": object_of({"device": TEXT, **fields_of(Event), "event": {"type": "string", "enum": list(EVENTS)}}),
        "Counts": object_of(
            {
                **{"product": TEXT, "channel": MAYBE, "now": TIME},
                **{name: {"type": "integer"} for name in ("total", "late", "no_room", "pinned")},
                **{
                    name: by_name({"type": "integer"})
                    for name in ("channels", "states", "answered", "versions", "boards", "tags")
                },
            }
        ),
        "Devices": object_of(
            {
                "product": TEXT,
                "devices": array(reference("Device")),
                "next": NEXT,
                "total": {"type": ["integer", "null"], "description": "of all pages; null behind the first one"},
                "now": {**TIME, "description": "what `late` is by, and `since` of the next look"},
            }
        ),
        "NamedDevice": object_of({"device": _NAMED}),
        "ChangedDevice": object_of({"product": TEXT, "channel": _UNSEEN, "device": TEXT}),
        "ShownDevice": object_of(
            {
                "product": TEXT,
                "device": TEXT,
                "label": {**object_of(_LABEL), "description": "its tags by hand alone"},
                "key": {"anyOf": [object_of(_SHOWN_KEY), {"type": "null"}]},
                "waiting": {"anyOf": [object_of(_SHOWN_KEY), {"type": "null"}]},
                "rows": {**array(reference("Device")), "description": "its own, and that of others in its name"},
                "history": {**array(reference("Event")), "description": "the newest first"},
            }
        ),
    }


def _labels() -> dict[str, Schema]:
    return {
        "DeviceLabel": object_of(
            {
                "device": _NAMED,
                "name": {"type": "string", "maxLength": MAX_NAME},
                "note": {"type": "string", "maxLength": MAX_NOTE},
                "tag": {**array(TAG_NAME), "description": "to add"},
                "untag": {**array(TAG_NAME), "description": "to take off"},
                "pinned": {"type": "boolean", "description": "whether it stays with what it runs"},
            },
            ("device",),
        ),
        "LabelledDevice": object_of({"product": TEXT, "channel": _UNSEEN, "device": TEXT, **_LABEL}),
        "Imported": object_of({"product": TEXT, "devices": {"type": "integer"}}),
        "TagRule": object_of(
            {"tag": TAG_NAME, **{part: {"type": "string", "maxLength": 64} for part in PARTS}}, ("tag",)
        ),
        "TagRules": object_of({"product": TEXT, "rules": array(object_of(fields_of(TagRule)))}),
        "NamedTag": object_of({"tag": TAG_NAME}),
    }


def _keys() -> dict[str, Schema]:
    return {
        "ProofKey": object_of({"key": pattern(PROOF_KEY)}),
        "ShownKey": object_of({"key": pattern(KEY_FINGERPRINT, description="which one, where two are shown")}, ()),
        "EnrolledKey": object_of(
            {
                "product": TEXT,
                "channel": _UNSEEN,
                "device": TEXT,
                "key": _SHOWN_KEY["key"],
                "address": _SHOWN_KEY["address"],
                "shown": {"type": "number", "description": "since when, in seconds since 1970"},
            },
            ("product", "channel", "device", "key"),
        ),
        "Enrolment": object_of(
            {
                "device": TEXT,
                "request": {**TEXT, "description": "PKCS#10, DER in base64"},
                "proof": {"type": "string", "enum": list(PROOFS), "description": "by what it was asked"},
                "credential": {**TEXT, "description": "the claim code's id, or the certificate's serial number"},
                "asked": {"type": "number", "description": "when, in seconds since 1970"},
            }
        ),
        "Enrolments": object_of({"product": TEXT, "enrolments": array(reference("Enrolment")), "next": NEXT}),
        "Enrolled": object_of({"product": TEXT, "device": TEXT, "serial": TEXT, "expires": TEXT}),
    }
