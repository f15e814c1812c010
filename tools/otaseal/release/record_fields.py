"""What the fields of a release record may hold: each format's checks, by the field's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..chips import esp8266
from ..chips.boot_image import FlashMode
from ..chips.families import FAMILY_OF
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import InputError, LaterFormatError
from ..image import manifest, signing_header
from ..names import NAME
from . import fields

KINDS = ("raw", "gzip")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+~-]{0,63}")
BOARD = re.compile(r"[0-9A-Za-z._-]{0,64}")


def _is_time(value: Any) -> bool:
    if not fields.text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")(value):
        return False
    try:
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return False
    return True


_CHIP = fields.text(r"[a-z][a-z0-9-]{1,31}")
_SIZE, _PLACE = fields.number(1, MAX_IMAGE_SIZE), fields.number(0, MAX_IMAGE_SIZE)
FORM: Mapping[str, fields.Check] = {
    "kind": lambda value: value in KINDS,
    "blob": fields.SHA256,
    "size": _SIZE,
    "md5": fields.MD5,
    "image_size": _SIZE,
    "min_start": _PLACE,
}

RELEASE: Mapping[str, fields.Check] = {
    "product": fields.text(NAME.pattern),
    "version": fields.text(VERSION.pattern),
    "created": _is_time,
    "board": fields.text(BOARD.pattern),
    "git_commit": fields.text(r"([0-9a-f]{7,64})?"),
    "dirty": lambda value: isinstance(value, bool),
    "core_release": fields.optional(fields.text(r"[0-9A-Za-z._+-]{1,32}")),
    "flash_mode": lambda value: value is None or (not isinstance(value, bool) and value in tuple(FlashMode)),
    "flash_size": lambda value: value is None or (_SIZE(value) and value in esp8266.FLASH_SIZES.values()),
    "sketch_size": _SIZE,
    "sketch_md5": fields.sequence([0, 1, len(FlashMode)], fields.MD5),
    "key_fingerprint": fields.FINGERPRINT,
    "forms": fields.sequence([1, 2], lambda form: isinstance(form, dict)),
    "security_counter": fields.optional(fields.number(0, manifest.MAX_WORD)),
    "board_id": fields.optional(fields.text(r"[0-9a-f]{16}")),
    "embedded_keys": fields.sequence(range(signing_header.MAX_KEYS + 1), fields.FINGERPRINT),
    "library": lambda value: isinstance(value, bool),
    "chip": lambda value: isinstance(value, str) and value in FAMILY_OF,
    "filesystem": fields.optional(fields.sequence([2], _PLACE)),
}

_SINCE_3, _SINCE_2 = {"chip", "filesystem"}, {"security_counter", "board_id", "embedded_keys", "library"}
_RELEASE_2 = {name: check for name, check in RELEASE.items() if name not in _SINCE_3}
_RELEASE_2["sketch_md5"] = fields.sequence([len(FlashMode)], fields.MD5)
_RELEASE_1 = {name: check for name, check in _RELEASE_2.items() if name not in _SINCE_2}
FORMATS = {1: _RELEASE_1, 2: _RELEASE_2, 3: RELEASE}
"""Of the image of one board."""


def refuse_later_chip(values: Mapping[str, Any]) -> None:
    """Raise LaterFormatError for the name of a chip that is not known: new chips come without a new format."""
    chip = values.get("chip")
    if _CHIP(chip) and chip not in FAMILY_OF:
        raise LaterFormatError(f"the release record for chip '{chip}'")


def check_values(values: Mapping[str, Any], table: Mapping[str, fields.Check]) -> None:
    """Raise InputError unless `values` has exactly the keys of `table`, each with a value that its check takes."""
    for name in (*table, *values):
        if name not in values or name not in table:
            raise damaged(f"{'an unknown' if name in values else 'no'} field '{name[:80]}'")
        if not table[name](values[name]):
            raise damaged(f"{name} '{str(values[name])[:80]}'")


def damaged(what: str) -> InputError:
    """Return the error for a record that otaseal has not written."""
    return InputError(f"release record has {what}", "restore it from a backup")
