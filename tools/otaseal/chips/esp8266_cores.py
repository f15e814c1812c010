"""The releases of the ESP8266 core for Arduino, as far as images and updates depend on them: one row a release.

Read in `Updater.cpp`, `eboot.c`, `elf2bin.py` and the linker scripts of each (F3, F8, F8b, F30c, F30e). A core from git
is known by where its image keeps the length and CRC words: they were brought in with 2.7, and moved for 3.0 five months
after the updater had learned to take the signature off before the copy. What an image looks like is for `esp8266`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

__all__ = ["CORES", "HEAD", "NEWEST", "PLACES", "RELEASES", "Core", "Places", "SignedGzip", "by_name", "from_git"]


class SignedGzip(Enum):
    """What devices with a core do with a signed gzip."""

    REFUSED = "refused"  # neither updater nor eboot knows gzip
    BRICKS = "bricks"  # eboot reads the trailer as the size of the content
    UNKNOWN = "unknown"  # from git, between the release that bricks and the one that starts
    STARTS = "starts"


@dataclass(frozen=True)
class Places:
    """Where an image keeps its length word, the CRC behind it, and the first word of the core's commit: file offsets.

    `words` is None before 2.7, whose `elf2bin` writes none.
    """

    words: int | None
    commit: int


@dataclass(frozen=True)
class Core:
    """A release by its `name` ("3.1.2", or "3.0+git.f946290e" for one from git) and the first 32 bits of its `commit`.

    `verifies`: the updater can verify at all (since 2.5.0). `digest_info`: the signature is over the digest in its
    DigestInfo, not over the bare one (since 2.6.0, F3). `whole_words`: flash is hashed in words, and a payload that is
    no multiple of 4 is refused (3.1, F8). `erases_first`: eboot erases a sector before it has unpacked what goes there
    (before 3.0): data that is damaged from the start costs the boot loader.
    """

    name: str
    commit: int
    places: Places
    signed_gzip: SignedGzip
    verifies: bool = True
    digest_info: bool = True
    whole_words: bool = False
    erases_first: bool = False


_BEFORE_2_7 = Places(None, 0x1010)
_SINCE_2_7 = Places(0x0FF8, 0x1010)
_SINCE_3_0 = Places(0x1010, 0x1018)
PLACES = (_SINCE_3_0, _SINCE_2_7, _BEFORE_2_7)
"""Newest first."""

_2_4 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED, verifies=False)
_2_5 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED, digest_info=False)
_2_6 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED)
_2_7 = Core("", 0, _SINCE_2_7, SignedGzip.BRICKS, erases_first=True)
_3_0 = Core("", 0, _SINCE_3_0, SignedGzip.STARTS)
_3_1 = replace(_3_0, whole_words=True)

_ROWS = (
    (_2_4, "2.3.0", 0x09826C6D),
    (_2_4, "2.4.0", 0x4CEABEA9),
    (_2_4, "2.4.1", 0x614F7C32),
    (_2_4, "2.4.2", 0xBB28D4A3),
    (_2_5, "2.5.0", 0x951AEFFA),
    (_2_5, "2.5.1", 0xAC02AFF5),
    (_2_5, "2.5.2", 0x8B899C12),
    (_2_6, "2.6.0", 0x643EC203),
    (_2_6, "2.6.1", 0x482516E3),
    (_2_6, "2.6.2", 0xBC204A9B),
    (_2_6, "2.6.3", 0x3D128E5C),
    (_2_7, "2.7.0", 0x9C56ED1F),
    (_2_7, "2.7.1", 0xA5432625),
    (_2_7, "2.7.2", 0x39C79D9B),
    (_2_7, "2.7.3", 0x5D3AF165),
    (_2_7, "2.7.4", 0x2843A5AC),
    (_3_0, "3.0.0", 0xEFB0341A),
    (_3_0, "3.0.1", 0xCBF44FB3),
    (_3_0, "3.0.2", 0xCF6FF4C4),
    (_3_1, "3.1.0", 0x8AE300D4),
    (_3_1, "3.1.1", 0x0E5D358C),
    (_3_1, "3.1.2", 0x210897EF),
)

RELEASES: Mapping[int, Core] = MappingProxyType(
    {commit: replace(row, name=name, commit=commit) for row, name, commit in _ROWS}
)
"""By the first 32 bits of the commit."""

NEWEST = RELEASES[_ROWS[-1][2]]
HEAD = Core("head", 0, _SINCE_3_0, SignedGzip.STARTS)
"""The core's development branch as of 2026, which hashes payloads of any length again."""

CORES: Mapping[str, Core] = MappingProxyType({core.name: core for core in (*RELEASES.values(), HEAD)})
"""By name."""

_FROM_GIT = re.compile(r"(2\.7|3\.0)\+git\.([0-9a-f]{8})")


def from_git(commit: int, places: Places) -> Core:
    """Return what is known of a core that is no release, by the place of its words; the strictest where it is not.

    `places` is one with words.
    """
    if places == _SINCE_3_0:
        return replace(_3_1, name=f"3.0+git.{commit:08x}", commit=commit)
    return replace(_2_7, name=f"2.7+git.{commit:08x}", commit=commit, signed_gzip=SignedGzip.UNKNOWN)


def by_name(name: str | None) -> Core | None:
    """Return the core of this name, as in a release's record; None for no name and for one that tells nothing."""
    found = _FROM_GIT.fullmatch(name or "")
    if found:
        return from_git(int(found[2], 16), _SINCE_3_0 if found[1] == "3.0" else _SINCE_2_7)
    return CORES.get(name or "")
