"""What a device's word weighs: from the evidence for who speaks to what that may cause. Pure.

Anybody may say any MAC address. So what a device says without proof counts as far as it was known before a release went
out, and only so often from one address; one that is new then is shown and counts for nothing. A key that the server
took from whom it heard first proves that a device is the one it was, and no more. docs/adr/0019-evidence.md and
docs/adr/0020-proof.md have the reasons.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

PROVEN_PREFIX = "cert:"
"""What the name of a device begins with that proved it with a client certificate (`protocol.request.device_id`)."""
UNPROVEN_PREFIX = "unproven:"
"""What the name of whoever cannot prove to be the device that he says begins with, where that one can."""
DEVICE_PREFIXES = ("mac:", PROVEN_PREFIX, UNPROVEN_PREFIX)
"""What the name of every device begins with."""


class Evidence(enum.Enum):
    """How well a device is known, in one rollout."""

    PROVEN = "proven"
    """A client certificate names it, or it has a key that was enrolled before the rollout began."""
    KNOWN = "known"
    """It was seen before the rollout began, and proves nothing, or no more than that it is still the same."""
    NEWCOMER = "newcomer"
    """It was seen for the first time since, or says the name of a device that could prove it."""


class Proof(enum.Enum):
    """By what a device proves its name."""

    CERTIFICATE = "certificate"
    ENROLLED = "enrolled key"
    AGREED = "key agreed at first contact"
    NONE = "none"
    REFUSED = "none, and the device has a key"


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


def evidence_of(device: str, first_seen: float, began: float | None, enrolled: float | None = None) -> Evidence:
    """Return how well a device is known in a rollout that began then; None where none has begun. Seconds since 1970.

    `enrolled` is since when its key is an operator's word; None where it proves none such.
    """
    if is_proven(device, enrolled if began is None or enrolled is None or enrolled < began else None):
        return Evidence.PROVEN
    if device.startswith(UNPROVEN_PREFIX):
        return Evidence.NEWCOMER
    return Evidence.KNOWN if began is None or first_seen < began else Evidence.NEWCOMER


def is_proven(device: str, enrolled: float | None = None) -> bool:
    """Return whether a device proved its name by what an operator gave it, or took from it."""
    return enrolled is not None or device.startswith(PROVEN_PREFIX)


def proof_of(device: str, sequence: int | None, enrolled: float | None) -> Proof:
    """Return by what a device proves its name: `sequence` is that of its last proof by a key."""
    if device.startswith(PROVEN_PREFIX):
        return Proof.CERTIFICATE
    if device.startswith(UNPROVEN_PREFIX):
        return Proof.REFUSED
    if sequence is None:
        return Proof.NONE
    return Proof.AGREED if enrolled is None else Proof.ENROLLED
