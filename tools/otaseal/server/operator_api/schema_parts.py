"""Of what the schemas of the operators' interface are made."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any, Union

Schema = dict[str, Any]


def pattern(expression: str, **more: Any) -> Schema:
    """Return the schema of texts that match a regular expression as a whole; `more` are its other keywords."""
    return {"type": "string", "pattern": f"^(?:{expression})$", **more}


PERCENT: Schema = {"type": "integer", "minimum": 0, "maximum": 100}
TEXT: Schema = {"type": "string"}
MAYBE: Schema = {"type": ["string", "null"]}
TIME: Schema = {"type": "number", "description": "seconds since 1970"}
NEXT: Schema = {**MAYBE, "description": "what `after` has to be for the next page; null on the last one"}


def reference(name: str) -> Schema:
    """Return a reference to the schema `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Mapping[str, Schema], required: tuple[str, ...] | None = None) -> Schema:
    """Return the schema of an object with these properties and no others; `required` are all where it is None."""
    needed = list(properties) if required is None else list(required)
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": needed} if needed else schema


def fields_of(kind: type) -> dict[str, Schema]:
    """Return the JSON schema of each field of a dataclass or named tuple, as `json` writes its mapping."""
    names = (field.name for field in fields(kind)) if is_dataclass(kind) else kind._fields  # type: ignore[attr-defined]
    hints = typing.get_type_hints(kind)
    return {name: _of(hints[name]) for name in names}


def _of(hint: Any) -> Schema:
    plain = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    if hint in plain:
        return {"type": plain[hint]}
    if typing.get_origin(hint) in (Union, types.UnionType):
        return {"anyOf": [_of(part) for part in typing.get_args(hint)]}
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _of(typing.get_args(hint)[0])}
    if is_dataclass(hint):
        return reference(hint.__name__)  # type: ignore[union-attr]
    assert issubclass(hint, IntEnum)
    return {"type": "integer", "enum": [int(member) for member in hint]}


def array(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def by_name(values: Schema) -> Schema:
    """Return the schema of an object with any names."""
    return {"type": "object", "additionalProperties": values}
