"""Who gets a release when it goes out by percentage, and when it has to stop."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counts", "Limits", "includes", "judge"]


@dataclass(frozen=True)
class Counts:
    """Devices of one rollout: `offered` answered with it, `delivered` in full, `confirmed` back with its MD5, `failed`
    known not to be (same MD5 as before, or silent for too long). `eligible` is the size of the whole group."""

    eligible: int = 0
    offered: int = 0
    delivered: int = 0
    confirmed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Limits:
    """When to halt: the share of failures among outcomes, once there are at least `min_outcomes` of them."""

    max_failed_share: float = 0.05
    min_outcomes: int = 10


def includes(device: str, salt: str, percent: float) -> bool:
    """Return whether the device (`protocol.device_id`) is among the first `percent` of the rollout named `salt`."""
    raise NotImplementedError


def judge(counts: Counts, limits: Limits) -> str:
    """Return "continue", "halt" or "complete"; raises InputError for counts that cannot be."""
    raise NotImplementedError
