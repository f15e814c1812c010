"""Who gets a release when it goes out by percentage, and when it has to stop.

A device's place is a hash of the rollout's salt and its identity: the same at every poll and in every process, and a
higher percentage keeps everyone whom a lower one had. Whether a rollout goes on is decided from counts alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass

from ..errors import InputError

__all__ = ["COMPLETE", "CONTINUE", "HALT", "Counts", "Limits", "includes", "judge"]

CONTINUE, HALT, COMPLETE = "continue", "halt", "complete"
ROUNDING = 1e-6
_PLACES = 2**64


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


@dataclass(frozen=True)
class Limits:
    """When to halt: the share of failures among outcomes, once there are `min_outcomes` or the whole group's."""

    max_failed_share: float = 0.05
    min_outcomes: int = 10


def includes(device: str, salt: str, percent: float) -> bool:
    """Return whether the device (`protocol.device_id`) is among the first `percent` of the rollout named `salt`.

    Raises InputError for a percentage outside 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise InputError(f"percentage '{percent}' is not 0 to 100", "give the share of devices, such as 10")
    # the length keeps two pairs of salt and device from running into the same text
    digest = hashlib.sha256(f"{len(salt)}:{salt}{device}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") * 100 < percent * _PLACES


def judge(counts: Counts, limits: Limits) -> str:
    """Return HALT, COMPLETE or CONTINUE; raises InputError for counts below zero and limits that mean nothing.

    A group smaller than `min_outcomes` is judged when all of it has answered: two devices of two that fail are enough.
    """
    if min(astuple(counts)) < 0:
        raise InputError(f"counts below zero: {counts}", "recount the devices of this rollout")
    if not 0 <= limits.max_failed_share <= 1 or limits.min_outcomes < 1:
        raise InputError(f"rollout limits '{limits}' mean nothing", "give a share of 0 to 1 and at least one outcome")
    outcomes = counts.confirmed + counts.failed
    enough = outcomes >= limits.min_outcomes or (0 < counts.eligible <= outcomes)
    # 29 of 100 are 29 per cent, whatever 0.29 * 100 is in floating point
    if enough and counts.failed - limits.max_failed_share * outcomes > ROUNDING:
        return HALT
    return COMPLETE if counts.eligible <= outcomes and counts.eligible else CONTINUE
