"""Who gets a release when it goes out by percentage, and when it has to stop.

A device's place is a hash of the rollout's salt and its identity: the same at every poll and in every process, and a
higher percentage keeps everyone whom a lower one had. Whether a rollout goes on is decided from counts alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

MIN_OUTCOMES = 10
"""Devices that took a release and came back, or failed, before a larger group is judged."""


@dataclass(frozen=True)
class Counts:
    """Devices of one rollout, each counted at most once in each field.

    `eligible` is the size of the group that it reaches at its present percentage; `offered` were answered with the
    release, `delivered` took all of it, `confirmed` came back with its MD5, `failed` came back with the MD5 they had or
    stayed silent for too long.
    """

    eligible: int = 0
    offered: int = 0
    delivered: int = 0
    confirmed: int = 0
    failed: int = 0


def includes(device: str, salt: str, percent: int) -> bool:
    """Return whether the device (`protocol.device_id`) is among the first `percent` of the rollout named `salt`."""
    # the length keeps two pairs of salt and device from running into the same text
    digest = hashlib.sha256(f"{len(salt)}:{salt}{device}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") * 100 < percent * 2**64


def must_halt(counts: Counts, max_failed: int) -> bool:
    """Return whether more than `max_failed` per cent of the outcomes are failures.

    There have to be MIN_OUTCOMES, or those of a smaller group all: two devices of two that fail are enough.
    """
    outcomes = counts.confirmed + counts.failed
    enough = outcomes >= MIN_OUTCOMES or 0 < counts.eligible <= outcomes
    return enough and counts.failed * 100 > max_failed * outcomes
