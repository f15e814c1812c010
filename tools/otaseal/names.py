"""What a product or a channel may be called: one rule for the project, the authorities, the manifest and the server.

A name is a directory, a URL segment and a part of a certificate's subject, on systems that tell capitals from small
letters and on those that do not: so it has none. Windows drops a dot at the end and keeps some names for devices. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from .errors import InputError, OtasealError

MAX_LENGTH = 64
NOT_RESERVED = r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./]|$))"
"""Matches before what is not a device of Windows, which are devices with any suffix, too: `nul`, `nul.json`."""
NAME = re.compile(rf"{NOT_RESERVED}[a-z0-9](?:[a-z0-9._-]{{0,{MAX_LENGTH - 2}}}[a-z0-9_-])?")
TAG = re.compile("[a-z0-9][a-z0-9._-]{0,31}")
"""Of devices."""
_OTHER = re.compile(r"[^a-z0-9._-]+")


def check_name(name: str, what: str, error: type[OtasealError] = InputError) -> str:
    """Return `name`, of a product or a channel as `what` says, if it follows the rule; else raise `error`."""
    if NAME.fullmatch(name):
        return name
    near = normalised(name)
    raise error(
        f"{what} '{name[:80]}' is not a valid name",
        f"use 1 to {MAX_LENGTH} of a-z, 0-9, '.', '_' and '-', a letter or digit first, no dot last, and no device of"
        " Windows" + (f", as in '{near}'" if near else ""),
    )


def normalised(text: str) -> str:
    """Return the valid name nearest to `text`: lower case without accents, '-' for other characters.

    Empty if no character of it can stand in a name.
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    name = _OTHER.sub("-", letters).strip("-._")
    if name and not NAME.match(name):
        name = f"my-{name}"
    return name[:MAX_LENGTH].rstrip("-._")


def is_database(location: str) -> bool:
    """Return whether a release store's location is the address of a database, and not a directory."""
    return location.startswith(("postgresql://", "postgres://"))
