"""The releases of the ESP8266's core for Arduino: one table, of all that differs between them.

A release is a row, read in `Updater.cpp`, `eboot.c`, `elf2bin.py` and the linker scripts of each (F3, F8, F8b, F30c,
F30e). A core from git is known by where its image keeps the length and CRC words: they were brought in with 2.7, and
moved for 3.0 five months after the updater had learned to take the signature off before the copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from ..errors import InputError


class SignedGzip(Enum):
    """What devices with a core do with a signed gzip (F8b)."""

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
    DigestInfo, not over the bare one (since 2.6.0, F3). What else tells them apart, the virtual device knows.
    """

    name: str
    commit: int
    places: Places
    signed_gzip: SignedGzip
    verifies: bool = True
    digest_info: bool = True


_BEFORE_2_7, _SINCE_2_7, _SINCE_3_0 = Places(None, 0x1010), Places(0x0FF8, 0x1010), Places(0x1010, 0x1018)
PLACES = (_SINCE_3_0, _SINCE_2_7, _BEFORE_2_7)
"""Those that images have, the newest first."""
_2_4 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED, verifies=False)
_2_5 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED, digest_info=False)
_2_6 = Core("", 0, _BEFORE_2_7, SignedGzip.REFUSED)
_2_7 = Core("", 0, _SINCE_2_7, SignedGzip.BRICKS)
_3_0 = Core("", 0, _SINCE_3_0, SignedGzip.STARTS)
_HEAD = replace(_3_0, name="head")

_SERIES: tuple[tuple[Core, Mapping[str, int]], ...] = (
    (_2_4, {"2.3.0": 0x09826C6D, "2.4.0": 0x4CEABEA9, "2.4.1": 0x614F7C32, "2.4.2": 0xBB28D4A3}),
    (_2_5, {"2.5.0": 0x951AEFFA, "2.5.1": 0xAC02AFF5, "2.5.2": 0x8B899C12}),
    (_2_6, {"2.6.0": 0x643EC203, "2.6.1": 0x482516E3, "2.6.2": 0xBC204A9B, "2.6.3": 0x3D128E5C}),
    (_2_7, {"2.7.0": 0x9C56ED1F, "2.7.1": 0xA5432625, "2.7.2": 0x39C79D9B, "2.7.3": 0x5D3AF165, "2.7.4": 0x2843A5AC}),
    (_3_0, {"3.0.0": 0xEFB0341A, "3.0.1": 0xCBF44FB3, "3.0.2": 0xCF6FF4C4}),
    (_3_0, {"3.1.0": 0x8AE300D4, "3.1.1": 0x0E5D358C, "3.1.2": 0x210897EF}),
)

RELEASES: Mapping[int, Core] = MappingProxyType(
    {commit: replace(row, name=name, commit=commit) for row, names in _SERIES for name, commit in names.items()}
)
"""By the first 32 bits of the commit."""

NEWEST = list(RELEASES.values())[-1]
CORES: Mapping[str, Core] = MappingProxyType({core.name: core for core in (*RELEASES.values(), _HEAD)})
"""By name; "head" is the core's development branch as of 2026."""
SHOWN_CORES = (*(list(names)[-1] for row, names in _SERIES if row.places.words is not None), _HEAD.name)
"""The newest release of each series since 2.7 and the development branch: what devices in the field have."""
FIRST_WITH_CRC = "2.7"
"""The series that brought the length and CRC words."""
OLDEST_SIGNED = next(core.name for core in RELEASES.values() if core.verifies and core.digest_info)
"""The first release whose devices take the signatures that are made here (F3)."""

_FROM_GIT = re.compile(r"(2\.7|3\.0)\+git\.([0-9a-f]{8})")
_GZIP_REFUSALS = {
    SignedGzip.REFUSED: "core {core} takes no gzip: compressed updates came with core 2.7.0",
    SignedGzip.BRICKS: "a signed gzip for core {core} leaves devices unable to start",
    SignedGzip.UNKNOWN: "core {core}, from git, is older than 3.0, and need not start from a signed gzip",
}


def from_git(commit: int, places: Places) -> Core:
    """Return what is known of a core that is not a release, by the place of its words, else the strictest."""
    if places == _SINCE_3_0:
        return replace(_3_0, name=f"3.0+git.{commit:08x}", commit=commit)
    return replace(_2_7, name=f"2.7+git.{commit:08x}", commit=commit, signed_gzip=SignedGzip.UNKNOWN)


def core_by_name(name: str | None) -> Core | None:
    """Return the core of this name, as in a release's record; None for no name and for one that tells nothing."""
    match = _FROM_GIT.fullmatch(name or "")
    if match:
        return from_git(int(match[2], 16), _SINCE_3_0 if match[1] == "3.0" else _SINCE_2_7)
    return CORES.get(name or "")


def signed_gzip_refusal(core: Core | None) -> InputError | None:
    """Return why devices with `core` need not start from a signed gzip, None where they do (F8b).

    `core` None is one that its image does not tell.
    """
    if core is not None and core.signed_gzip is SignedGzip.STARTS:
        return None
    reason = "the firmware does not say which core it was built with, and cores before 3.0 do not start from a signed"
    reason = f"{reason} gzip" if core is None else _GZIP_REFUSALS[core.signed_gzip].format(core=core.name)
    return InputError(
        reason, "build without board_build.gzip_fw and custom_otaseal_compress, or update the core to 3.0.0 or newer"
    )
