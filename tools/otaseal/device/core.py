"""What tells the core's releases apart, as a table: one row a release, one column a difference.

Read in `Updater.cpp`, `Esp.cpp`, `ESP8266httpUpdate.cpp` and `eboot.c` of each release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import ConfigError

__all__ = ["CORES", "DEFAULT_CORE", "Core", "core_rules"]

DEFAULT_CORE = "3.1.2"


@dataclass(frozen=True)
class Core:
    """One release of the ESP8266 core for Arduino.

    `gzip`: the updater and eboot take compressed images (since 2.7.0). `digest_info`: the signature is over the digest
    in its DigestInfo, not over the bare one (F3). `trailer_copied`: eboot is told the size with the signature (F8b).
    `word_reads`: flash is hashed in whole words, and a last piece that is none is not read at all (F8).
    `unauthorized`: a 401 has an error of its own.
    """

    name: str
    gzip: bool = True
    digest_info: bool = True
    trailer_copied: bool = False
    word_reads: bool = False
    unauthorized: bool = True


_OLD = {"trailer_copied": True, "unauthorized": False}
CORES: Mapping[str, Core] = MappingProxyType(
    {
        "2.5.2": Core("2.5.2", gzip=False, digest_info=False, **_OLD),
        "2.7.4": Core("2.7.4", **_OLD),
        "3.0.2": Core("3.0.2"),
        "3.1.2": Core("3.1.2", word_reads=True),
        "head": Core("head"),
    }
)
"""By release; 2.5.2 stands for all before it that know signatures (F3)."""


def core_rules(name: str) -> Core:
    """Return the row of a release; raises ConfigError for one that is not in the table."""
    if name not in CORES:
        raise ConfigError(f"core release '{name}' is not known to the virtual device", f"use one of {', '.join(CORES)}")
    return CORES[name]
