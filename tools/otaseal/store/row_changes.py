"""How the row of a device changes by what it asks and is answered; what came of that is noted by `history`. Pure."""

from __future__ import annotations

from typing import Any

from ..pki.profile import MAC_ADDRESS
from ..protocol.answers import OFFERED
from ..protocol.decisions import LOOP_LIMIT
from ..release.evidence import PROVEN_PREFIX, WEIGHTS, Evidence, is_proven
from ..release.trial import GAVE_WAY
from .device_rows import CLAIM_FIELDS, CLAIMS, Asking, Device, Hardware, Sighting

CLOCK_SECONDS = 5.0
"""How far a clock may be set back as if nothing had happened."""
LAST_SEEN_RESOLUTION = 60.0
"""Seconds within which a device that says the same again costs no write."""
PACE_SHARE = 4
"""The last interval counts for one part of so many in a pace, and as so many times the pace at most."""
AT_HOME_SECONDS = 6 * 3600.0
"""How long a device may be silent where it is at home: an address may change once a day."""
_NOTHING_OFFERED = {
    **dict.fromkeys(("offered", "expected_md5", "offered_at", "delivered_at", "confirmed_at", "failed_at")),
    "deliveries": 0,
}
"""Of a device that got firmware of another channel by cable: it will not come back with what it was offered before."""
_LAST_SEEN, _SEQUENCE, _PACE = map(Device._fields.index, ("last_seen", "sequence", "pace"))
_HARDWARE = slice(Device._fields.index(Hardware._fields[0]), Device._fields.index(Hardware._fields[-1]) + 1)


def is_recent(known: Device, now: float) -> bool:
    """Return whether a device was seen so lately that only what is new of it is written."""
    return 0 <= now - known.last_seen < LAST_SEEN_RESOLUTION


def at_home(known: Device, who: Sighting | Asking, now: float) -> bool:
    """Return whether who asks speaks for a device that is known: by proof, or from its address."""
    if who.proven or known.address in ("", who.address) or is_proven(known.device):
        return True
    return not -CLOCK_SECONDS < now - known.last_seen < AT_HOME_SECONDS


def in_vain(known: Device, claim: Sighting, version: str, now: float) -> int:
    """Return how often a device was given a version in vain, or others in its name where this is said.

    Who proves nothing is slowed by that, and never held back for good: others may have downloaded in its name.
    """
    if not (known.deliveries or known.elsewhere_deliveries):  # as of nearly every poll
        return 0
    if at_home(known, claim, now):
        given, count, last = known.offered, known.deliveries, known.delivered_at
    else:
        given, count, last = known.elsewhere, known.elsewhere_deliveries, known.elsewhere_at
    if given != version:
        return 0
    proven = is_proven(known.device, claim.enrolled)
    pause = WEIGHTS[Evidence.PROVEN if proven else Evidence.KNOWN].loop_pause
    waited = pause is not None and last is not None and not 0 <= now - last < pause
    return min(count, LOOP_LIMIT - 1) if waited else count


def delivered_to(known: Device, asking: Asking, version: str, now: float) -> Device:
    """Return the row of a device after a delivery in full; at home one that was not offered does not count."""
    if at_home(known, asking, now):
        if known.offered != version:
            return known
        return known._replace(deliveries=known.deliveries + 1, delivered_at=now)
    before = known.elsewhere_deliveries if known.elsewhere == version else 0
    return known._replace(elsewhere=version, elsewhere_deliveries=before + 1, elsewhere_at=now)


def says_nothing_new(known: Device, claim: Sighting, now: float) -> bool:
    """Return whether `seen` would change nothing that is worth a write."""
    if not at_home(known, claim, now):
        return seen(known, claim, now) == known
    if not is_recent(known, now):
        return False
    if repeats(known, claim, now):
        return True
    proves = claim.proven and known.sequence is None and not is_proven(known.device)
    return not proves and seen(known, claim, now, known.sequence) == known._replace(last_seen=now)


def repeats(known: Device, claim: Sighting, now: float) -> bool:
    """Return whether `seen` would change nothing but when that was, and the number of the proof.

    Nearly every poll is so: it says at home what it said before, and nothing is awaited, or it has been confirmed.
    """
    settled = known.confirmed_at is not None and known.failed_at is None
    return (
        CLAIMS(known) == CLAIMS(claim)
        and known[_HARDWARE] == claim.hardware  # type: ignore[comparison-overlap]  # both are tuples
        and not known.deliveries
        and (settled or known.md5 != known.expected_md5)
        and (known.sequence is not None or not claim.proven or is_proven(known.device))
        and at_home(known, claim, now)
    )


def touched(known: Device, now: float, sequence: int | None) -> Device:
    """Return the row of a device after it said what `repeats`, with the number of its proof."""
    values = list(known)  # a third of `_replace`
    values[_LAST_SEEN], values[_SEQUENCE], values[_PACE] = now, sequence, _pace(known, now)
    return Device._make(values)


def _pace(known: Device, now: float) -> float | None:
    """Return how long a device waits between two polls, now that it asks.

    Smoothed, so that a night offline counts little. `pace` is the same in SQL.
    """
    waited = now - known.last_seen
    if waited < LAST_SEEN_RESOLUTION:
        return known.pace
    if known.pace is None:
        return waited
    return known.pace + (min(waited, PACE_SHARE * known.pace) - known.pace) / PACE_SHARE


def pace(new: str) -> str:
    """Return `_pace` in SQL, as part of an UPDATE of devices by a table `new` with their `last_seen`."""
    waited = f"({new}.last_seen - devices.last_seen)"
    most = f"CASE WHEN {waited} < {PACE_SHARE} * devices.pace THEN {waited} ELSE {PACE_SHARE} * devices.pace END"
    return f"""pace = CASE WHEN {waited} < {LAST_SEEN_RESOLUTION} THEN devices.pace
        WHEN devices.pace IS NULL THEN {waited} ELSE devices.pace + ({most} - devices.pace) / {PACE_SHARE} END"""


def seen(known: Device | None, claim: Sighting, now: float, sequence: int | None = None) -> Device:
    """Return the row of a device after it said `claim`; without an MD5 that is no news of an update.

    `sequence` is that of the proof by a key, if there was one; it alone is no news either.
    """
    claims: dict[str, Any] = dict(zip(CLAIM_FIELDS, CLAIMS(claim), strict=True))
    claims["sequence"] = sequence if claim.proven else None
    claims["other_mac"] = _other_mac(known, claim)
    claims.update(claim.hardware._asdict())
    if known is None:
        return Device(**claims, first_seen=now, last_seen=now)
    claims["pace"] = _pace(known, now)
    claims["mac"] = claim.mac or known.mac
    if not at_home(known, claim, now):
        return _from_elsewhere(known, claim, now)
    if not claim.md5:
        return known._replace(**{**claims, "md5": known.md5}, last_seen=now)
    news: dict[str, Any] = {}
    if known.expected_md5 and claim.md5 == known.expected_md5:
        news = {"deliveries": 0, "failed_at": None, "confirmed_at": known.confirmed_at or now}
    elif claim.error in GAVE_WAY and known.delivered_at is not None:  # also of one that had come back with the release
        deliveries = max(known.deliveries, 1)
        news = {"deliveries": deliveries, "failed_at": known.failed_at or now, "confirmed_at": None}
    elif claim.md5 != known.md5:
        news = {"deliveries": 0, "confirmed_at": None} if claim.channel == known.channel else dict(_NOTHING_OFFERED)
    elif known.deliveries:
        news = {"failed_at": known.failed_at or now, "confirmed_at": None}
    return known._replace(**claims, **news, last_seen=now)


def _other_mac(known: Device | None, claim: Sighting) -> str | None:
    """Return the MAC address of another chip than the one that asks, where both show one certificate.

    A certificate that was enrolled names its chip; of another the first one counts.
    """
    before = claim.device.removeprefix(PROVEN_PREFIX) if known is None else known.mac
    known_other = None if known is None else known.other_mac
    if not is_proven(claim.device) or not MAC_ADDRESS.fullmatch(before) or claim.mac in ("", before):
        return known_other
    return before


def _from_elsewhere(known: Device, claim: Sighting, now: float) -> Device:
    """Return the row of a device in whose name somebody speaks elsewhere: no word from home is undone by that.

    Its own address may have changed while it was updating: that it is back is believed, until it says at home that it
    is not. So its deliveries stay, which tell `seen` that it came back without the release.
    """
    awaited = known.delivered_at is not None and known.confirmed_at is None and known.failed_at is None
    if awaited and claim.md5 and claim.md5 == known.expected_md5:
        return known._replace(confirmed_at=now)
    return known


def offered_to(known: Device, asking: Asking, version: str, expected_md5: str, now: float) -> Device:
    """Return the row of a device that is answered with a release whose sketch has that MD5."""
    if not at_home(known, asking, now):
        return known
    if (known.offered, known.expected_md5) == (version, expected_md5):
        return known if known.answered == OFFERED else known._replace(answered=OFFERED)
    offer = {"answered": OFFERED, "offered": version, "expected_md5": expected_md5, "offered_at": now}
    return known._replace(**offer, deliveries=0, delivered_at=None, confirmed_at=None, failed_at=None)  # type: ignore[arg-type]


def answered_to(known: Device, asking: Asking, reason: str, now: float) -> Device:
    """Return the row of a device whose poll was answered for a reason."""
    return known._replace(answered=reason) if reason != known.answered and at_home(known, asking, now) else known


def retried(known: Device) -> Device:
    """Return the row of a device that is to have its release again, as if it had never been delivered."""
    again = known._replace(deliveries=0, delivered_at=None, failed_at=None)
    return again._replace(elsewhere=None, elsewhere_deliveries=0, elsewhere_at=None)
