"""The page of the operators' interface, made of the OpenAPI document that the server gives out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tables import cell, code, table

from otaseal.server.operator_api import openapi

LIMITS = ("enum", "minimum", "maximum", "maxLength", "default")
Schema = Mapping[str, Any]


def operator_api() -> Iterator[str]:
    """Yield the lines of the page."""
    described = openapi.description()
    operations = [(path, *one) for path, methods in described["paths"].items() for one in methods.items()]
    yield f"# The operators' interface\n\n{described['info']['description']}\n"
    yield "The server gives this out as OpenAPI at `/openapi.json`, with the patterns of names and versions.\n"
    yield "A token or a certificate is shown with each request, unless its row says that anybody may ask."
    for path, method, operation in operations:
        yield f"\n## `{method.upper()} {path}`\n\n{cell(operation['summary'])}."
        yield from table("parameter, in, needed, value", map(_parameter, operation["parameters"]))
        yield "" if operation["security"] else "\n- Anybody may ask."
        yield f"- Body: {_content(operation['requestBody'])}" if "requestBody" in operation else ""
        yield f"- Answer: {_content(operation['responses']['200'])}"
        yield f"- Refusals: {', '.join(one for one in operation['responses'] if one != '200')}"
    refusals = {int(status): one for _, _, made in operations for status, one in made["responses"].items()}
    yield f"\n## Refusals\n\nThe body is an {_type({'$ref': 'Error'})}."
    yield from table(
        "status, because", ((str(n), cell(one["description"])) for n, one in sorted(refusals.items()) if n != 200)
    )
    yield from _objects(described["components"]["schemas"])


def _objects(schemas: Mapping[str, Schema]) -> Iterator[str]:
    yield "\n## Objects"
    for name, schema in schemas.items():
        fields = schema.get("properties", {})
        yield f"\n### {name}"
        yield "" if fields else "\nSee the document itself."
        needed = schema.get("required", ())
        yield from table(
            "field, needed, value",
            ((code(key), "yes" if key in needed else "", _type(one)) for key, one in fields.items()),
        )


def _parameter(one: Schema) -> tuple[str, ...]:
    return code(one["name"]), one["in"], "yes" if one["required"] else "", _type(one["schema"])


def _content(holder: Schema) -> str:
    return ", ".join(f"`{kind}` {_type(one['schema'])}" for kind, one in holder["content"].items())


def _type(schema: Schema) -> str:
    """Return a schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    kinds = schema.get("type", "")
    said = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    for key, of in (("items", "of"), ("additionalProperties", "of names to")):
        said += f" {of} {_type(schema[key])}" if isinstance(schema.get(key), dict) else ""
    said += "".join(f", {key} {code(json.dumps(schema[key]))}" for key in LIMITS if key in schema)
    return said + (f": {cell(schema['description'])}" if "description" in schema else "")
