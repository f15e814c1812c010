"""Who is in a rollout, as tests ask it."""

from __future__ import annotations

from otaseal.release.rollout import in_share, place


def includes(device: str, salt: str, percent: int) -> bool:
    """Return whether a device is among the first `percent` of the rollout named `salt`."""
    return in_share(place(device, salt), percent)
