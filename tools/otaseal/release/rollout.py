"""Who gets a release when it goes out by percentage, and when it has to stop.

A device's place is a hash of the rollout's salt and its identity: the same at every poll and in every process, and a
higher percentage keeps everyone whom a lower one had. Whether a rollout goes on is decided from counts alone, of
devices whose word counts (`evidence`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from ..errors import counted
from .evidence import WEIGHTS, Evidence

MIN_OUTCOMES = 10
"""Devices that took a release and came back, or failed, before a larger group is judged."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Counts:
    """Devices of one rollout, each counted at most once in each field; or votes, which may be parts of one.

    `eligible` is the size of the group that it reaches at its present percentage; `offered` were answered with the
    release, `delivered` took all of it, `confirmed` came back with its MD5, `failed` came back with the MD5 they had or
    stayed silent for too long.
    """

    eligible: float = 0
    offered: float = 0
    delivered: float = 0
    confirmed: float = 0
    failed: float = 0

    @classmethod
    def total(cls, parts: Iterable[Counts]) -> Counts:
        """Return the sum of `parts`."""
        rows = list(parts)
        return cls(*(sum(getattr(row, one.name) for row in rows) for one in fields(cls)))


@dataclass(frozen=True)
class Tally:
    """What is said of a rollout, by the evidence for who says it.

    `devices` counts each device, `votes` weighs them: one address has at most as many as WEIGHTS gives it, divided as
    its devices' outcomes are. `addresses` is from how many addresses devices that count and prove nothing failed.
    """

    devices: Mapping[Evidence, Counts] = field(default_factory=dict)
    votes: Mapping[Evidence, Counts] = field(default_factory=dict)
    addresses: int = 0

    @property
    def everybody(self) -> Counts:
        """All devices, whether they count or not."""
        return Counts.total(self.devices.values())

    @property
    def heard(self) -> Counts:
        """The devices whose word counts."""
        return Counts.total(counts for kind, counts in self.devices.items() if WEIGHTS[kind].votes != 0)

    @property
    def proven(self) -> Counts:
        """The devices that proved who they are, once MIN_OUTCOMES of them have answered; before that, none."""
        proven = self.devices.get(Evidence.PROVEN, Counts())
        return proven if proven.confirmed + proven.failed >= MIN_OUTCOMES else Counts()

    @property
    def weighed(self) -> Counts:
        """Their votes."""
        return Counts.total(self.votes.values())

    def failures(self) -> str:
        """Return in words on whose failures a halt stands."""
        failed = {kind: int(counts.failed) for kind, counts in self.devices.items() if counts.failed}
        said = [f"{count} {kind.value}" for kind, count in failed.items() if WEIGHTS[kind].votes != 0]
        where = f" at {counted(self.addresses, 'address', 'addresses')}" if self.addresses else ""
        newcomers = failed.get(Evidence.NEWCOMER)
        aside = f"; {counted(newcomers, 'newcomer')} not counted" if newcomers else ""
        return f"{', '.join(said) or 'none'}{where}{aside}"


def place(device: str, salt: str) -> int:
    """Return the place of a device (`protocol.device_id`) in the rollout named `salt`: below 2**64."""
    digest = hashlib.sha256(salted(device, salt).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def salted(device: str, salt: str) -> str:
    """Return the text whose digest tells the place of a device; `store.wave_rows` is that in SQL."""
    return f"{len(salt)}:{salt}{device}"  # the length keeps two pairs of salt and device from being the same text


def in_share(place: int, percent: int) -> bool:
    """Return whether a place is among the first `percent`."""
    return place * 100 < percent * 2**64


def share_end(percent: int) -> bytes:
    """Return the first place behind a share of less than 100 %, as digests begin: those before it are `in_share`."""
    return ((percent * 2**64 + 99) // 100).to_bytes(8, "big")


def must_halt(tally: Tally, max_failed: int) -> bool:
    """Return whether too many failed: of those that proved who they are, or of all that count and of their votes, too.

    No number of others that say they are well hides what proven devices say. Of all that count, one address could halt
    a rollout by number alone, and by votes alone a few addresses that of a fleet behind one router.
    """
    if too_many_failed(tally.proven, max_failed):
        return True
    return too_many_failed(tally.heard, max_failed) and too_many_failed(tally.weighed, max_failed)


def too_many_failed(counts: Counts, max_failed: int) -> bool:
    """Return whether more than `max_failed` per cent of the outcomes are failures.

    There have to be MIN_OUTCOMES, or those of a smaller group all: two devices of two that fail are enough.
    """
    outcomes = counts.confirmed + counts.failed
    enough = outcomes > MIN_OUTCOMES - _ROUNDING or 0 < counts.eligible <= outcomes + _ROUNDING
    return enough and counts.failed * 100 > max_failed * outcomes + _ROUNDING
