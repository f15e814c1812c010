"""The differences between releases of the ESP8266 core, as a table: a row per series, a column per difference.

Read in `Updater.cpp`, `Esp.cpp`, `ESP8266httpUpdate.cpp`, `elf2bin.py` and `eboot.c` of each release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import ConfigError


@dataclass(frozen=True)
class Core:
    """One release of the ESP8266 core for Arduino.

    `commit` is the first word of its commit, 0 for none, at `commit_at` in an image; `length_at` is where the image
    holds its own length, None where it does not (before 2.7.0). `verifies`: the updater can verify (since 2.5.0); the
    others judge a file, and no poll is played by them. `gzip`: updater and eboot take compressed images (since 2.7.0).
    `digest_info`: the signature is over the digest in its DigestInfo, not over the bare one (F3). `trailer_copied`:
    eboot is told the size with the signature (F8b). `erases_first`: eboot erases a sector before it has unpacked what
    goes there. `word_reads`: flash is hashed in whole words, and a last piece that is none is not read at all (F8).
    `unauthorized`: a 401 has an error of its own.
    """

    name: str
    commit: int = 0
    commit_at: int = 0x1018
    length_at: int | None = 0x1010
    verifies: bool = True
    gzip: bool = True
    digest_info: bool = True
    trailer_copied: bool = False
    erases_first: bool = False
    word_reads: bool = False
    unauthorized: bool = True


_HEAD = Core("head")
_3_1 = Core("", word_reads=True)
_3_0 = Core("")
_2_7 = replace(_3_0, commit_at=0x1010, length_at=0x0FF8, trailer_copied=True, erases_first=True, unauthorized=False)
_2_6 = replace(_2_7, gzip=False, length_at=None, erases_first=False)
_2_5 = replace(_2_6, digest_info=False)
_2_4 = replace(_2_6, verifies=False)
_SERIES = (
    (_2_4, {"2.3.0": 0x09826C6D, "2.4.0": 0x4CEABEA9, "2.4.1": 0x614F7C32, "2.4.2": 0xBB28D4A3}),
    (_2_5, {"2.5.0": 0x951AEFFA, "2.5.1": 0xAC02AFF5, "2.5.2": 0x8B899C12}),
    (_2_6, {"2.6.0": 0x643EC203, "2.6.1": 0x482516E3, "2.6.2": 0xBC204A9B, "2.6.3": 0x3D128E5C}),
    (
        _2_7,
        {
            "2.7.0": 0x9C56ED1F,
            "2.7.1": 0xA5432625,
            "2.7.2": 0x39C79D9B,
            "2.7.3": 0x5D3AF165,
            "2.7.4": 0x2843A5AC,
        },
    ),
    (_3_0, {"3.0.0": 0xEFB0341A, "3.0.1": 0xCBF44FB3, "3.0.2": 0xCF6FF4C4}),
    (_3_1, {"3.1.0": 0x8AE300D4, "3.1.1": 0x0E5D358C, "3.1.2": 0x210897EF}),
)
_ROWS = tuple(replace(row, name=name, commit=commit) for row, commits in _SERIES for name, commit in commits.items())
CORES: Mapping[str, Core] = {row.name: row for row in (*_ROWS, _HEAD)}
"""By name."""
COMMITS: Mapping[tuple[int, int], str] = {(row.commit_at, row.commit): row.name for row in _ROWS if row.verifies}
"""Where an image has which word, to the release that it was built with."""
LENGTHS: Mapping[int, str] = {row.length_at: row.name for row in CORES.values() if row.length_at is not None}
"""Where an image holds its own length, to the core that one from git is played by: the last that holds it there."""
DEFAULT_CORE = _ROWS[-1].name
_FROM_GIT = re.compile(r"(2\.7|3\.0)\+git\.[0-9a-f]{8}")


def core_rules(name: str) -> Core:
    """Return the row of a release; a core from git ("3.0+git.f946290e") has the strictest that it can be.

    Raises ConfigError for one that is not in the table.
    """
    match = _FROM_GIT.fullmatch(name)
    if match:
        series = _3_1 if match[1] == "3.0" else _2_7
        return replace(series, name=name)
    if name not in CORES:
        raise ConfigError(f"core release '{name}' is not known to the virtual device", f"use one of {', '.join(CORES)}")
    return CORES[name]
