"""Families of chips: a table, one row a family, and what its core says in an update request (F28, F48, F57)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .esp32_chips import CHIPS


@dataclass(frozen=True)
class Family:
    """A family by `name`: its `chips`, the `prefixes` of its headers and the user `agents`, in lower case.

    `own_room`: the core tells neither sizes nor the MD5 of its sketch (the library does the latter, F130), and only the
    device knows whether an update, a file in its filesystem, has room (F55, F57). `slots`: an update goes into the
    flash's other slot, whose size the core tells as free space (F92). `unverified`: the core verifies no update, the
    OtaSeal library alone does (F46). `whole_words`: a release of the core hashes words of 4 bytes, and refuses a
    payload that ends within one (F8).
    """

    name: str
    chips: tuple[str, ...]
    prefixes: tuple[str, ...]
    agents: tuple[str, ...]
    own_room: bool = False
    slots: bool = False
    unverified: bool = False
    whole_words: bool = False


_ESP32_CHIPS = tuple(name.lower().replace("-", "") for name in CHIPS.values())
_ROWS = (
    Family("esp8266", ("esp8266",), ("x-esp8266-",), ("esp8266-http-update",), whole_words=True),
    # Early releases of arduino-pico left their name out: "x--mode", "-http-Update".
    Family(
        "pico",
        ("rp2040", "rp2350", "rp2350-riscv"),
        ("x-pico-", "x--"),
        ("pico-http-update", "-http-update"),
        own_room=True,
    ),
    Family("esp32", _ESP32_CHIPS, ("x-esp32-",), ("esp32-http-update",), slots=True, unverified=True),
)

FAMILIES: Mapping[str, Family] = {row.name: row for row in _ROWS}
FAMILY_OF: Mapping[str, Family] = {chip: row for row in _ROWS for chip in row.chips}
"""By the chip's name, as PlatformIO's boards have it in `build.mcu`."""
PREFIXES: Mapping[str, str] = {prefix: row.name for row in _ROWS for prefix in row.prefixes}
"""What the name of a header begins with, to the family."""
AGENTS: Mapping[str, str] = {agent: row.name for row in _ROWS for agent in row.agents}
"""User agent to the family."""
