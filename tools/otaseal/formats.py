"""The number by which a file says its format: what a later otaseal wrote is refused as that, and not as damage."""

from __future__ import annotations

import json

from .errors import LaterFormatError


def refuse_later(written: object, newest: int, what: str) -> None:
    """Raise LaterFormatError when `written` is a format behind the `newest` one that is known here.

    Anything else passes, even what is no format at all: that is damage, and its reader's to refuse. `what` names the
    file in the message.
    """
    if type(written) is int and written > newest:
        raise LaterFormatError(what)


def format_of(data: bytes) -> int:
    """Return the format that a JSON file says it has, 0 where it says none or is no JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return 0
    written = value.get("format") if isinstance(value, dict) else None
    return written if type(written) is int else 0
