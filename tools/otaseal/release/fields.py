"""What a field of a JSON record may hold: checks that tell whether a value is one of those that otaseal writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any

Check = Callable[[Any], bool]


def text(pattern: str) -> Check:
    """Return the check for text that matches `pattern` whole."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def number(least: int, most: int) -> Check:
    """Return the check for a whole number from `least` to `most`."""
    return lambda value: type(value) is int and least <= value <= most


def optional(check: Check) -> Check:
    """Return the check for null, or what `check` takes."""
    return lambda value: value is None or check(value)


def sequence(lengths: Container[int], check: Check) -> Check:
    """Return the check for a list of one of these lengths, each item one that `check` takes."""
    return lambda value: isinstance(value, (list, tuple)) and len(value) in lengths and all(map(check, value))


SHA256 = text(r"[0-9a-f]{64}")
MD5 = text(r"[0-9a-f]{32}")
FINGERPRINT = text(r"SHA256:[0-9a-f]{64}")
