"""JSON files with a checksum over their content, so that a flipped bit never reads as another value.

Pure. Format 1, which had no checksum, is read still; what a later otaseal wrote is refused as that, and not as damage:
a later format, and fields that are not known here in a file whose checksum holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import InputError, LaterFormatError
from ..formats import refuse_later

FORMAT = 2
_UNCHECKED = 1
"""The format of before: the same fields, and no checksum."""


def dump(fields: Mapping[str, Any]) -> bytes:
    """Return the file's content: equal fields give equal bytes."""
    content = {"format": FORMAT, **fields}
    return _text({**content, "sha256": hashlib.sha256(_text(content)).hexdigest()})


def load(data: bytes, limit: int, what: str, known: Collection[str]) -> dict[str, Any]:
    """Return the fields in `data`; raises LaterFormatError, and InputError for anything that `dump` does not make.

    `limit` are the bytes that it has at most, `what` names the file in messages, `known` are its fields.
    """
    if len(data) > limit:
        raise _damaged(what, f"is larger than {limit} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(what, "is not JSON") from error
    written = fields.pop("format", None) if isinstance(fields, dict) else None
    refuse_later(written, FORMAT, what)
    if written not in (_UNCHECKED, FORMAT):
        raise _damaged(what, "is none that otaseal writes")
    assert isinstance(fields, dict)
    fields.pop("sha256", None)
    expected = dump(fields) if written == FORMAT else _text({"format": _UNCHECKED, **fields})
    if expected != data:
        raise _damaged(what, "does not have its checksum" if written == FORMAT else "is not as otaseal writes it")
    if written == FORMAT and not fields.keys() <= set(known):
        raise LaterFormatError(what)
    return fields


def _text(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _damaged(what: str, why: str) -> InputError:
    return InputError(f"{what} is damaged: it {why}", "restore it from a backup")
