"""What tells arduino-pico's releases apart, as far as an update depends on it.

Read in `Updater.cpp` and `ota.c` of 4.5.0, 5.0.0, 5.4.4 and 6.0.0. No image says by which release it was built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import ConfigError

DEFAULT_RELEASE = "6.0.0"
OLDEST, CUTS = (4, 5, 0), (5, 5, 0)
_NAME = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2})")


@dataclass(frozen=True)
class Release:
    """A release of arduino-pico; `cuts`: the signature is cut off the file before the order is written (F53)."""

    name: str
    cuts: bool = True


def release(name: str) -> Release:
    """Return the release of that name; raises ConfigError for one before 4.5.0, which has not been read."""
    match = _NAME.fullmatch(name)
    number = tuple(int(part) for part in match.groups()) if match else (0,)
    if number < OLDEST:
        raise ConfigError(f"arduino-pico '{name}' is not known to the virtual device", "use 4.5.0 or a later release")
    return Release(name, number >= CUTS)
