"""How values become text for people: times, sizes, and what devices say, which may be anything. Pure."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timezone

from ...errors import UNITS, counted, duration

HIDDEN = frozenset(("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"))
"""Unicode's categories of what cannot be seen, or turns what follows around: controls, directions, surrogates."""
MAX_MARKS = 2
"""Accents on one letter; with more a text would reach over its neighbours."""


def visible(text: str) -> str:
    """Return a text with a number in place of each character that cannot be seen, or turns others around: [U+202E].

    So are surrogates, which UTF-8 cannot write.
    """
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for one in text:
        category = unicodedata.category(one)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        hidden = (category in HIDDEN and one != "\n") or marks > MAX_MARKS
        shown.append(f"[U+{ord(one):04X}]" if hidden else one)
    return "".join(shown)


def ago(seconds: float) -> str:
    """Return a time that has passed in words, in its largest unit."""
    return f"{duration(seconds)} ago" if seconds >= 1 else "just now"


def ahead(seconds: float) -> str:
    """Return a time that is to come in words."""
    return f"in {duration(seconds)}" if seconds >= 1 else "now"


def exactly(seconds: int) -> str:
    """Return a whole number of seconds in words, in the largest unit that it has a whole number of."""
    size, unit = next(row for row in UNITS if seconds % row[0] == 0)
    return counted(int(seconds // size), unit)


def moment(when: float) -> str:
    """Return a time, in seconds since 1970, as ISO 8601 in UTC; "" for one that no calendar has."""
    try:
        return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count} bytes" if count < 1024 else f"{number(count / 1024)} KiB"


def number(count: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{count:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percentage(part: float, whole: float) -> str:
    """Return a share in per cent, with a decimal where it is small."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f}" if 0 < share < 10 and share != round(share) else f"{share:.0f}"
