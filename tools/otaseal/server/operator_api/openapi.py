"""The operators' interface as a table: one row an endpoint, from which both the routes and their description come.

The description is OpenAPI 3.1, as the server gives it out at /openapi.json. What an answer looks like is read off the
dataclasses that are sent, so that neither can change alone. Nothing is read and nothing is asked here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any, Union

from ...names import NAME
from ...release.archive_record import ArchiveRecord
from ...release.channels import MAX_PATIENCE
from ...release.records import VERSION, Form, Release
from ...release.stranding import Consent, Group
from ...store.device_rows import MAX_CLAIM, STATES
from ...store.devices import Device

__all__ = ["ENDPOINTS", "MAX_DEVICE", "MAX_DEVICES", "Endpoint", "description"]

VERSION_OF_API = "1"
BYTES = "application/octet-stream"
TEXT = "text/plain"
JSON = "application/json"
PRODUCT = "/v1/products/{product}"
CHANNEL = PRODUCT + "/channels/{channel}"
RELEASE = PRODUCT + "/releases/{version}"
DIGITS = "[0-9]{1,9}"
MAX_DEVICES = 500
"""Devices that one answer lists."""
MAX_DEVICE = MAX_CLAIM
"""Characters of a device's name."""

Schema = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """One row: `handler` is its name in `app.HANDLERS`, `answer` a schema's name or a media type.

    `query` names parameters of QUERY, `required` those that have to be there; `body` is a schema's name, or a media
    type. Anybody may ask what is `open`.
    """

    method: str
    path: str
    handler: str
    summary: str
    answer: str
    query: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    body: str | None = None
    open: bool = False


ENDPOINTS = (
    Endpoint("GET", "/healthz", "health", "Say that the server answers and can read its store", "Health", open=True),
    Endpoint("GET", "/openapi.json", "describe", "Return this description", "Description", open=True),
    Endpoint("GET", "/metrics", "metrics", "Return the counters in Prometheus' text format", TEXT),
    Endpoint("GET", "/v1/products", "products", "List the products", "Products"),
    Endpoint("GET", PRODUCT, "product", "Return what a release is checked against", "Product", ("channel",)),
    Endpoint("GET", PRODUCT + "/releases", "releases", "List the releases, the latest first", "Releases"),
    Endpoint("PUT", RELEASE, "publish", "Publish the signed files of a release in a channel", "Published",
             ("channel", "percent", "max_failed", "patience", "created", "board", "commit", "dirty", "downgrade",
              "rehearsal", "raise_counter", "strand_devices"), ("created",), BYTES),
    Endpoint("GET", RELEASE + "/firmware", "firmware", "Return the bytes of a release", BYTES),
    Endpoint("POST", CHANNEL + "/promote", "promote", "Point a channel at another's release, or at a version", "Effect",
             body="Promotion"),
    Endpoint("POST", CHANNEL + "/rollback", "rollback", "Point a channel back at what all its devices had", "Effect",
             body="Consent"),
    Endpoint("POST", CHANNEL + "/percent", "percent", "Set to how many devices a release goes", "Effect",
             body="Percentage"),
    Endpoint("GET", CHANNEL + "/certs", "certs", "Return which certificate archive a channel gives out", "Certs"),
    Endpoint("PUT", CHANNEL + "/certs", "publish_certs", "Give out a signed certificate archive", "PublishedCerts",
             ("rehearsal",), body=BYTES),
    Endpoint("GET", PRODUCT + "/devices", "list_devices", "List the devices seen, by name, a page at a time", "Devices",
             ("channel", "state", "version", "after", "limit")),
    Endpoint("POST", PRODUCT + "/devices/forget", "forget_device", "Forget a device until it asks again",
             "ChangedDevice", body="NamedDevice"),
    Endpoint("POST", PRODUCT + "/devices/retry", "retry_device", "Give a stuck device its release again",
             "ChangedDevice", body="NamedDevice"),
)  # fmt: skip


def description() -> Schema:
    """Return the OpenAPI 3.1 document of ENDPOINTS."""
    paths: dict[str, Schema] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otaseal: the operators' interface of the update server",
            "version": VERSION_OF_API,
            "description": "Unknown query parameters and fields are refused: a misspelt option must not be a default.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "as otaseal token new prints it"},
                "certificate": {"type": "mutualTLS", "description": "as otaseal pki operator issues it"},
            },
        },
    }


def _text(pattern: str, **more: Any) -> Schema:
    return {"type": "string", "pattern": f"^(?:{pattern})$", **more}


_PERCENT: Schema = {"type": "integer", "minimum": 0, "maximum": 100}
_FLAG: Schema = {"type": "string", "enum": ["0", "1"]}
_LIMITS: Mapping[str, Schema] = {
    "max_failed": _PERCENT,
    "patience": {"type": "integer", "minimum": 1, "maximum": MAX_PATIENCE, "description": "minutes"},
}

QUERY: Mapping[str, Schema] = {
    "channel": _text(NAME.pattern, default="stable"),
    "percent": {**_PERCENT, "default": 100},
    **_LIMITS,
    "created": _text("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", examples=["2030-01-31T12:00:00Z"]),
    "board": _text("[0-9A-Za-z._-]{0,64}"),
    "commit": _text("([0-9a-f]{7,64})?"),
    "dirty": {**_FLAG, "default": "0"},
    "downgrade": {**_FLAG, "default": "0"},
    "rehearsal": {"type": "string", "enum": ["passed", "partly", "skipped"]},
    "raise_counter": {**_FLAG, "default": "0"},
    "strand_devices": {**_FLAG, "default": "0"},
    "state": {"type": "string", "enum": list(STATES)},
    "version": _text(VERSION.pattern, description="what devices run"),
    "after": {"type": "string", "maxLength": MAX_DEVICE, "description": "the `next` of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_DEVICES, "default": MAX_DEVICES},
}
_IN_PATH: Mapping[str, Schema] = {
    "product": _text(NAME.pattern),
    "channel": _text(NAME.pattern),
    "version": _text(VERSION.pattern),
}


def _operation(endpoint: Endpoint) -> Schema:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _IN_PATH.items()
        if f"{{{name}}}" in endpoint.path
    ]
    parameters += [
        {"name": name, "in": "query", "required": name in endpoint.required, "schema": _in_query(endpoint, name)}
        for name in endpoint.query
    ]
    if endpoint.handler == "publish":
        sizes = _text(f"{DIGITS}(,{DIGITS})?", description="the size of each file, if there are two")
        parameters.append({"name": "X-Otaseal-Parts", "in": "header", "required": False, "schema": sizes})
    operation: Schema = {
        "operationId": endpoint.handler,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": _responses(endpoint),
        "security": [] if endpoint.open else [{"token": []}, {"certificate": []}],
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    return operation


def _in_query(endpoint: Endpoint, name: str) -> Schema:
    narrows = name == "channel" and endpoint.handler == "list_devices"  # without it all are meant
    return _IN_PATH[name] if narrows else QUERY[name]


_REFUSALS = {
    400: "a parameter or a field that cannot be",
    401: "no valid credentials",
    403: "credentials that are not for this product or channel",
    404: "no such product, release, channel or path",
    408: "the body stopped coming",
    409: "somebody was first, or the name is taken",
    411: "a body without Content-Length",
    413: "a body that is too large",
    415: "a body that is not of the type that is asked for",
    422: "a name, a file or a state that cannot be taken",
    429: "too many wrong credentials from this address",
    500: "the server has a fault",
    503: "the store is damaged, or its disk refuses",
}


def _responses(endpoint: Endpoint) -> Schema:
    statuses = {400, 500, 503}
    if not endpoint.open:
        statuses |= {401, 403, 429}
    if "{" in endpoint.path:
        statuses |= {404, 422}
    if endpoint.body is not None:
        statuses |= {408, 409, 413, 411 if endpoint.method == "PUT" else 415}
    answers: Schema = {"200": {"description": endpoint.summary, "content": _content(endpoint.answer)}}
    for status in sorted(statuses):
        answers[str(status)] = {"description": _REFUSALS[status], "content": _content("Error")}
    return answers


def _content(kind: str) -> Schema:
    if "/" not in kind:
        return {JSON: {"schema": _ref(kind)}}
    return {kind: {"schema": {"type": "string", **({"format": "binary"} if kind == BYTES else {})}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Schema], required: tuple[str, ...] | None = None) -> Schema:
    needed = list(properties) if required is None else list(required)
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": needed} if needed else schema


def _fields(kind: type) -> dict[str, Schema]:
    """Return the JSON schema of each field of a dataclass or named tuple, as `json` writes its mapping."""
    names = (field.name for field in fields(kind)) if is_dataclass(kind) else kind._fields  # type: ignore[attr-defined]
    hints = typing.get_type_hints(kind)
    return {name: _of(hints[name]) for name in names}


def _of_every_format() -> tuple[str, ...]:
    """Return the fields that every release record has: those of an older format lack the later ones."""
    later = {field.name for field in fields(Release) if field.default is not MISSING}
    return ("format", *(field.name for field in fields(Release) if field.name not in later))


def _of(hint: Any) -> Schema:
    plain = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    if hint in plain:
        return {"type": plain[hint]}
    if typing.get_origin(hint) in (Union, types.UnionType):
        return {"anyOf": [_of(part) for part in typing.get_args(hint)]}
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _of(typing.get_args(hint)[0])}
    if is_dataclass(hint):
        return _ref(hint.__name__)  # type: ignore[union-attr]
    assert issubclass(hint, IntEnum)
    return {"type": "integer", "enum": [int(member) for member in hint]}


def _schemas() -> dict[str, Schema]:
    text: Schema = {"type": "string"}
    maybe: Schema = {"type": ["string", "null"]}
    channels: Schema = {"type": "object", "additionalProperties": _ref("Channel")}
    facts: dict[str, Schema] = {"device_port": {"type": "integer"}, "device_certificates": {"type": "boolean"}}
    counts: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    effect = {"before": maybe, "channel": _ref("Channel"), "devices": counts, **facts}
    consent = _fields(Consent)
    channel = {"version": text, "percent": _PERCENT, "halted": {"type": "boolean"}, "previous": maybe, **_LIMITS}
    promotion = {"from": _IN_PATH["channel"], "version": _IN_PATH["version"], "percent": _PERCENT, **_LIMITS, **consent}
    releases: Schema = {"type": "array", "items": _ref("Release")}
    keys: Schema = {"type": "object", "additionalProperties": text}
    current: Schema = {"anyOf": [_ref("Release"), {"type": "null"}]}
    return {
        "Error": _object({"error": text, "hint": text}),
        "Health": _object(
            {
                "status": {"type": "string", "enum": ["ok", "problems"]},
                "problems": {"type": "array", "items": text, "description": "what calls for a person"},
            },
            ("status",),
        ),
        "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Products": _object({"products": {"type": "array", "items": text}}),
        "Product": _object(
            {
                "product": text,
                "keys": keys,
                "channels": channels,
                "current": current,
                "fleet": {"type": "array", "items": _ref("Group")},
                **facts,
            }
        ),
        "Group": _object(_fields(Group)),
        "Releases": _object(
            {"product": text, "releases": releases, "channels": channels, "damaged": {"type": "array", "items": text}}
        ),
        "Channel": _object({**channel, "generation": {"type": "integer", "minimum": 1}}),
        "Form": _object(_fields(Form)),
        "Release": _object({"format": {"type": "integer"}, **_fields(Release)}, _of_every_format()),
        "Effect": _object(effect),
        "Published": _object({"release": _ref("Release"), **effect, "warnings": {"type": "array", "items": text}}),
        "Consent": _object(consent, ()),
        "Promotion": {
            **_object(promotion, ()),
            "oneOf": [{"required": ["from"]}, {"required": ["version"]}],
        },
        "Percentage": _object({"percent": _PERCENT, **_LIMITS}, ("percent",)),
        "ArchiveRecord": _object(_fields(ArchiveRecord)),
        "Certs": _object({"certs": _ref("ArchiveRecord")}),
        "PublishedCerts": _object({"certs": _ref("ArchiveRecord"), **facts}),
        "Device": _object({**_fields(Device), "state": text, "running": maybe}),
        "Devices": _object(
            {
                "product": text,
                "devices": {"type": "array", "items": _ref("Device")},
                "next": {**maybe, "description": "what `after` has to be for the next page; null on the last one"},
            }
        ),
        "NamedDevice": _object({"device": {"type": "string", "minLength": 1, "maxLength": MAX_DEVICE}}),
        "ChangedDevice": _object({"product": text, "channel": text, "device": text}),
    }
