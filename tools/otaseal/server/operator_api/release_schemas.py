"""What the operators' interface takes and answers of releases and channels, as JSON schemas."""

from __future__ import annotations

from dataclasses import MISSING, fields

from ...release.archive_record import ArchiveRecord
from ...release.notes import MAX_NOTES, SEVERITIES
from ...release.records import SHARED, Form, Release
from ...release.standards import Point
from ...release.stranding import Consent, Group
from ..patches import Made
from .parameters import IN_PATH, LIMITS
from .schema_parts import MAYBE, NEXT, PERCENT, TEXT, Schema, array, by_name, fields_of, object_of, pattern, reference

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


def releases() -> dict[str, Schema]:
    """Return the schemas of products, their releases and channels."""
    return {**_lists(), **_records(), **_changes(), **_reports()}


def _lists() -> dict[str, Schema]:
    release, channel, texts = reference("Release"), reference("Channel"), array(TEXT)
    return {
        "Products": object_of({"products": texts}),
        "Product": object_of(
            {
                "product": TEXT,
                "keys": by_name(TEXT),
                "channels": by_name(channel),
                "current": {"anyOf": [release, {"type": "null"}]},
                "fleet": array(reference("Group")),
                **_DEVICE_ENDPOINT,
            }
        ),
        "Group": object_of(fields_of(Group)),
        "Releases": object_of(
            {
                "product": TEXT,
                "releases": array(release),
                "channels": by_name(channel),
                "notes": by_name(object_of(_NOTES)),
                "attachments": {**by_name(texts), "description": "their kinds, by version"},
                "patches": array(reference("Patch")),
                "damaged": texts,
                "alarms": {**array(reference("Alarm")), "description": "those that stand"},
            }
        ),
        "Patch": object_of(fields_of(Made)),
        "Attachment": {"type": "object", "description": "CycloneDX, or a DSSE envelope"},
        "Log": object_of(
            {
                "product": TEXT,
                "head": object_of({"number": {"type": "integer"}, "sha256": TEXT}),
                "entries": {**texts, "description": "DSSE envelopes, whose SHA-256 is that of these very characters"},
                "next": NEXT,
            }
        ),
    }


def _of_every_format() -> tuple[str, ...]:
    """Return the fields that every release record has: those of an older format lack the later ones."""
    later = {field.name for field in fields(Release) if field.default is not MISSING}
    return ("format", *(field.name for field in fields(Release) if field.name not in later))


def _records() -> dict[str, Schema]:
    image = {name: schema for name, schema in fields_of(Release).items() if name != "others"}
    return {
        "Form": object_of(fields_of(Form)),
        "Release": {"anyOf": [reference("BoardRelease"), reference("BoardsRelease")]},
        "BoardRelease": object_of({"format": {"type": "integer"}, **image}, _of_every_format()),
        "BoardsRelease": object_of(
            {
                "format": {"type": "integer"},
                **{name: image[name] for name in SHARED},
                "boards": array(object_of({name: schema for name, schema in image.items() if name not in SHARED})),
            }
        ),
    }


def _changes() -> dict[str, Schema]:
    archive, channel = reference("ArchiveRecord"), reference("Channel")
    effect = {"before": MAYBE, "channel": channel, "devices": by_name({"type": "integer"}), **_DEVICE_ENDPOINT}
    consent = fields_of(Consent)
    promotion = {"from": IN_PATH["channel"], "version": IN_PATH["version"], "percent": PERCENT, **LIMITS, **consent}
    promotion["waves"] = array(reference("Wave"))
    return {
        "Channel": object_of(
            {
                "version": TEXT,
                "percent": PERCENT,
                "halted": {"type": "boolean"},
                "paused": {"type": "boolean"},
                "wave": {"type": "integer", "minimum": 1},
                "waves": {"type": "integer", "minimum": 1},
                "previous": MAYBE,
                **LIMITS,
                "generation": {"type": "integer", "minimum": 1},
            }
        ),
        "Effect": object_of(effect),
        "Published": object_of({"release": reference("Release"), **effect, "warnings": array(TEXT)}),
        "Consent": object_of(consent, ()),
        "Promotion": {**object_of(promotion, ()), "oneOf": [{"required": ["from"]}, {"required": ["version"]}]},
        "Percentage": object_of({"percent": PERCENT, **LIMITS, "set_aside": {"type": "boolean"}}, ("percent",)),
        "ArchiveRecord": object_of(fields_of(ArchiveRecord)),
        "Certs": object_of({"certs": archive}),
        "PublishedCerts": object_of({"certs": archive, **_DEVICE_ENDPOINT}),
        "Deleted": object_of({"product": TEXT, "version": TEXT, "devices": {"type": "integer"}}),
    }


def _reports() -> dict[str, Schema]:
    return {
        "Notes": object_of({"product": TEXT, "version": TEXT, **_NOTES}),
        "SetNotes": object_of(_NOTES, ()),
        "Report": object_of(
            {
                "product": TEXT,
                "made": TEXT,
                "support": object_of({"ends": MAYBE, "over": {"type": "boolean"}}),
                "devices": object_of({"seen": {"type": "integer"}, "active": {"type": "integer"}}),
                "versions": array(
                    object_of(
                        {
                            "version": TEXT,
                            "devices": {"type": "integer"},
                            "days": {"type": ["integer", "null"], "description": "since the release was made"},
                            "severity": TEXT,
                        }
                    )
                ),
                "security": {"anyOf": [{"type": "null"}, object_of({**_REPORTED, **_REACH})]},
                "releases": array(object_of(_REPORTED)),
                "points": array(object_of(fields_of(Point))),
            }
        ),
        "Support": object_of({"product": TEXT, "ends": TEXT}),
        "SetSupport": object_of({"ends": pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}")}),
    }
