"""Release records as JSON: equal releases give equal bytes, and only what is written here is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..chips.boot_image import FlashMode
from ..errors import InputError, LaterFormatError
from ..formats import refuse_later
from . import fields
from .record_fields import FORM, FORMATS, RELEASE, check_values, damaged, refuse_later_chip
from .records import MAX_BOARDS, SHARED, Form, Release, combine

FORMAT = 4
"""Of a release for several boards. One for a single board is written in format 3, with its chip; for the ESP8266 in
format 2, as it was before there were others.
"""
OLDEST_FORMAT = 1
MAX_RECORD_SIZE = 64 * 1024
"""Bytes of one record: more than the longest allowed values make."""


def parse(data: bytes) -> Release:
    """Return the release of a JSON record; raises InputError for anything that `serialise` does not make.

    LaterFormatError, which is one, for the record of a later otaseal.
    """
    if len(data) > MAX_RECORD_SIZE:
        raise damaged(f"{len(data)} bytes, more than {MAX_RECORD_SIZE}")
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged("no JSON") from error
    written = values.pop("format", None) if isinstance(values, dict) else None
    refuse_later(written, FORMAT, "the release record")
    if type(written) is not int or not OLDEST_FORMAT <= written <= FORMAT:
        raise damaged(f"no object of format {OLDEST_FORMAT} to {FORMAT}")
    release = _parse_boards(values) if written == FORMAT else _parse_image(values, FORMATS[written])
    if serialise(release) != data:  # a key given twice, another order or spelling: not written by us
        raise damaged("not the one way to write it")
    return release


def from_json(value: object) -> Release:
    """Return the release of a record that came inside of other JSON; raises as `parse` does."""
    return parse((json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def to_json(release: Release) -> Any:
    """Return a release as JSON, as its record has it."""
    return json.loads(serialise(release))


def serialise(release: Release) -> bytes:
    """Return `release` as JSON, UTF-8, keys sorted: equal releases give equal bytes.

    Each is written in the oldest format that has its fields: records never change.
    """
    values = _values(release)
    if release.others:
        shared = {name: values[name] for name in SHARED}
        boards = [{name: value for name, value in _values(i).items() if name not in shared} for i in release.images]
        values = {"format": FORMAT, **shared, "boards": boards}
    else:
        written = OLDEST_FORMAT if release.embedded_keys is None else 2
        written = written if release.chip == Release.chip else 3
        values = {"format": written, **{name: values[name] for name in FORMATS[written]}}
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def _values(release: Release) -> dict[str, Any]:
    """Return the fields of the first image, in JSON's own types."""
    values = asdict(release)
    del values["others"]
    return values


def _parse_image(values: dict[str, Any], table: Mapping[str, fields.Check]) -> Release:
    refuse_later_chip(values)
    check_values(values, table)
    for form in values["forms"]:
        check_values(form, FORM)
    values["forms"] = tuple(Form(**form) for form in values["forms"])
    values["flash_mode"] = None if values["flash_mode"] is None else FlashMode(values["flash_mode"])
    for name in {"sketch_md5", "embedded_keys", "filesystem"} & set(values):
        values[name] = None if values[name] is None else tuple(values[name])
    return Release(**values)


def _parse_boards(values: dict[str, Any]) -> Release:
    boards = values.pop("boards", None)
    several = fields.sequence(range(2, MAX_BOARDS + 1), lambda board: isinstance(board, dict))
    if not several(boards):
        raise damaged("no list of boards")
    try:
        return combine([_parse_image({**board, **values}, RELEASE) for board in boards])
    except LaterFormatError:
        raise
    except InputError as error:
        raise damaged(f"boards that are no release: {error.message}") from error
