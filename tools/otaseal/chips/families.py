"""Families of chips, by what their cores call themselves in an update request (F28): a table, one row a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["AGENTS", "FOREIGN", "PREFIXES", "Family"]


@dataclass(frozen=True)
class Family:
    """A family by `name`: the `prefixes` of its headers and the user `agents`, in lower case.

    `served`: firmware and certificates are made for it.
    """

    name: str
    prefixes: tuple[str, ...]
    agents: tuple[str, ...]
    served: bool = False


# Early releases of arduino-pico left their name out: "x--mode", "-http-Update".
_ROWS = (
    Family("esp8266", ("x-esp8266-",), ("esp8266-http-update",), served=True),
    Family("pico", ("x-pico-", "x--"), ("pico-http-update", "-http-update")),
    Family("esp32", ("x-esp32-",), ("esp32-http-update",)),
)

PREFIXES: Mapping[str, str] = {prefix: row.name for row in _ROWS for prefix in row.prefixes}
"""What the name of a header begins with, to the family."""
AGENTS: Mapping[str, str] = {agent: row.name for row in _ROWS for agent in row.agents}
"""User agent to the family."""
FOREIGN = frozenset(row.name for row in _ROWS if not row.served)
"""The families that nothing is made for."""
