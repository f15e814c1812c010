"""What a device's word weighs: from the evidence for who speaks to what that may cause. Pure.

Without a client certificate anybody may say any MAC address. So what a device says without proof counts as far as it
was known before a release went out, and only so often from one address; one that is new then is shown and counts for
nothing. docs/adr/0019-evidence.md has the reasons.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

PROVEN_PREFIX = "cert:"
"""What the name of a device begins with that proved it with a client certificate (`protocol.request.device_id`)."""


class Evidence(enum.Enum):
    """How well a device is known, in one rollout."""

    PROVEN = "proven"
    """A client certificate names it."""
    KNOWN = "known"
    """It proves nothing, and was seen before the rollout began."""
    NEWCOMER = "newcomer"
    """It proves nothing, and was seen for the first time since."""


@dataclass(frozen=True)
class Weight:
    """What the word of such a device may cause.

    `votes` are those of one address on whether a rollout halts, None for one of each device. `loop_pause` is how many
    seconds a device waits that came back without a release LOOP_LIMIT times; None for until somebody has looked at it.
    """

    votes: int | None
    loop_pause: float | None


WEIGHTS: Mapping[Evidence, Weight] = {
    Evidence.PROVEN: Weight(votes=None, loop_pause=None),
    Evidence.KNOWN: Weight(votes=3, loop_pause=3600.0),
    Evidence.NEWCOMER: Weight(votes=0, loop_pause=3600.0),
}


def evidence_of(device: str, first_seen: float, began: float | None) -> Evidence:
    """Return how well a device is known in a rollout that began then; None where none has begun. Seconds since 1970."""
    if is_proven(device):
        return Evidence.PROVEN
    return Evidence.KNOWN if began is None or first_seen < began else Evidence.NEWCOMER


def is_proven(device: str) -> bool:
    """Return whether a device proved its name."""
    return device.startswith(PROVEN_PREFIX)
