"""What a product or a channel may be called: one rule for the project, the authorities, the manifest and the server.

A name is a directory, a URL segment and a part of a certificate's subject, on systems that tell capitals from small
letters and on those that do not: so it has none. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from .errors import InputError, OtasealError

__all__ = ["NAME", "check_name", "mended"]

MAX_LENGTH = 64
NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_LENGTH - 1}}}")
_OTHER = re.compile(r"[^a-z0-9._-]+")


def check_name(name: str, what: str, error: type[OtasealError] = InputError) -> str:
    """Return `name`, of a product or a channel as `what` says, if it follows the rule; else raise `error`."""
    if NAME.fullmatch(name):
        return name
    near = mended(name)
    raise error(
        f"{what} '{name[:80]}' is no name",
        f"use 1 to {MAX_LENGTH} of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        + (f", as in '{near}'" if near else ""),
    )


def mended(text: str) -> str:
    """Return the name that is nearest to `text`: small letters without accents, '-' for what no name has.

    Empty where nothing of it can stand in a name.
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    return _OTHER.sub("-", letters).strip("-._")[:MAX_LENGTH].rstrip("-._")
