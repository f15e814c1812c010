"""The row of a device, and what it is in SQL. What a device says is a claim, of bounded length."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, NamedTuple

from ..protocol.decisions import LOOP_LIMIT
from ..release.device_errors import POSTPONED
from ..release.evidence import PROVEN_PREFIX, UNPROVEN_PREFIX

MAX_CLAIM = 128
"""Characters of any one thing that a device says; longer ones are cut."""
LATE_PACES = 3
"""So many times as long as a device waits between two polls it has to be silent until it is late."""
UNKNOWN_PACE = 8 * 3600.0
"""Of a device that has asked once."""
LATE = f"(? - last_seen > {LATE_PACES} * coalesce(pace, {UNKNOWN_PACE}))"
"""`Device.is_late` in SQL."""
STATES = ("seen", "offered", "updating", "updated", "postponed", "stuck", "looping")
_SIGNS = {
    "looping": f"deliveries >= {LOOP_LIMIT}",
    "stuck": "failed_at IS NOT NULL",
    "postponed": f"coalesce(error, 0) BETWEEN {min(POSTPONED)} AND {max(POSTPONED)}"
    " AND (delivered_at IS NULL OR confirmed_at IS NOT NULL)",
    "updated": "confirmed_at IS NOT NULL",
    "updating": "delivered_at IS NOT NULL",
    "offered": "offered IS NOT NULL",
    "seen": "true",
}
"""What a state is told by, the first that holds."""
IN_STATE = {
    state: " AND ".join((*(f"NOT ({before})" for before in list(_SIGNS.values())[:number]), sign))
    for number, (state, sign) in enumerate(_SIGNS.items())
}
"""`Device.state` in SQL: the condition that a device is in each state."""
CERTIFIED = f"substr(device, 1, {len(PROVEN_PREFIX)}) = '{PROVEN_PREFIX}'"
PROVEN = f"({CERTIFIED} OR enrolled IS NOT NULL)"
"""`is_proven` in SQL."""
UNPROVEN = f"substr(device, 1, {len(UNPROVEN_PREFIX)}) = '{UNPROVEN_PREFIX}'"
"""Who says the name of a device that has a key, and does not prove it."""
NEW_SECONDS = 86400.0
"""How long a device that proves nothing has to be heard of until it is none that anybody may just have invented."""
IS_NEW = f"(NOT {PROVEN} AND ({UNPROVEN} OR last_seen - first_seen < {NEW_SECONDS}))"
IN_JSON = "(SELECT value FROM json_each(?))"


class Hardware(NamedTuple):
    """What a device says of its chip and its flash: the id of its `board` as in the manifest, which the library says;
    the family of its `chip` (`chips.families`); bytes; and the version of the SDK in its core. "" or None for what was
    not said.
    """

    board: str = ""
    chip: str = ""
    free_space: int | None = None
    sketch_size: int | None = None
    chip_size: int | None = None
    sdk: str = ""


NO_HARDWARE = Hardware()


@dataclass(frozen=True, slots=True)
class Sighting:
    """One request: `device` is its `device_id`, `md5` that of the running sketch; "" or None for what was not said.

    `address` is the network that it came from, "" where a certificate proves the name. `proven`: it was proved by that
    or by a key, and it does not matter from where; `enrolled` is when that key was enrolled, None for one that was not.
    """

    product: str
    channel: str
    device: str
    md5: str = ""
    version: str = ""
    mac: str = ""
    counter: int | None = None
    error: int | None = None
    certs: str = ""
    address: str = ""
    enrolled: float | None = None
    proven: bool = False
    hardware: Hardware = NO_HARDWARE


class Asking(NamedTuple):
    """Who asks, and from where: as in a Sighting."""

    product: str
    device: str
    address: str = ""
    proven: bool = False


class Device(NamedTuple):
    """What is known of one device. Times are seconds since 1970.

    `offered` is the version that it was last answered with, `expected_md5` the sketch MD5 it should come back with,
    `deliveries` how often that went out in full since the device's own MD5 last changed, `confirmed_at` when it came
    back with it. `failed_at`: it came back after a full delivery with what it ran before, or says that the release gave
    way to that.
    `address` is where it is at home: another one takes that place only after AT_HOME_SECONDS without a word from there.
    What went out in full to others in its name is `elsewhere`: of which version, how often, and when last.
    `sequence` is the number of its last proof by a key, None where it did not prove what it said last; `enrolled` is
    when that key was. From `board` to `sdk` it is its `Hardware`. `answered` is why its polls are answered as they are,
    one of `protocol.answers.REASONS`; `events` counts its `history`, and `pace` how long it waits between two polls.
    """

    product: str
    device: str
    channel: str
    md5: str
    version: str
    mac: str
    first_seen: float
    last_seen: float
    offered: str | None = None
    expected_md5: str | None = None
    offered_at: float | None = None
    deliveries: int = 0
    delivered_at: float | None = None
    confirmed_at: float | None = None
    failed_at: float | None = None
    counter: int | None = None
    error: int | None = None
    certs: str = ""
    address: str = ""
    elsewhere: str | None = None
    elsewhere_deliveries: int = 0
    elsewhere_at: float | None = None
    other_mac: str | None = None
    """The MAC address of another chip that showed its certificate, or in lists its enrolled key, None for none."""
    enrolled: float | None = None
    sequence: int | None = None
    board: str = ""
    chip: str = ""
    free_space: int | None = None
    sketch_size: int | None = None
    chip_size: int | None = None
    sdk: str = ""
    answered: str = ""
    events: int = 0
    pace: float | None = None

    @property
    def next_poll(self) -> float | None:
        """When it is expected to ask again, by its own pace; None where it has not asked twice."""
        return None if self.pace is None else self.last_seen + self.pace

    def is_late(self, now: float) -> bool:
        """Return whether it should have asked again long ago."""
        return now - self.last_seen > LATE_PACES * (UNKNOWN_PACE if self.pace is None else self.pace)

    @property
    def state(self) -> str:
        """How its last update goes: one of STATES."""
        if self.deliveries >= LOOP_LIMIT:
            return "looping"
        if self.failed_at is not None:
            return "stuck"
        if self.error in POSTPONED and (self.delivered_at is None or self.confirmed_at is not None):
            return "postponed"
        if self.confirmed_at is not None:
            return "updated"
        if self.delivered_at is not None:
            return "updating"
        return "seen" if self.offered is None else "offered"


CLAIM_FIELDS = tuple(field.name for field in fields(Sighting) if field.name not in ("proven", "hardware"))
CLAIMS = attrgetter(*CLAIM_FIELDS)
"""Returns what a sighting says, or a device said last, but for its hardware."""


def bounded(sighting: Sighting) -> Sighting:
    """Return a sighting with its texts cut to MAX_CLAIM characters."""
    claims: tuple[Any, ...] = CLAIMS(sighting)
    hardware = sighting.hardware
    texts = [value for value in (*claims, hardware.sdk) if isinstance(value, str)]
    together = "".join(texts)
    if max(map(len, texts)) <= MAX_CLAIM and together.isascii() and "\0" not in together:
        return sighting
    bounded_claims: list[Any] = [_bounded_text(value) if isinstance(value, str) else value for value in claims]
    bounded_hardware = hardware._replace(sdk=_bounded_text(hardware.sdk))
    return replace(sighting, **dict(zip(CLAIM_FIELDS, bounded_claims, strict=True)), hardware=bounded_hardware)


def _bounded_text(text: str) -> str:
    if len(text) <= MAX_CLAIM and text.isascii() and "\0" not in text:
        return text
    return text[:MAX_CLAIM].encode(errors="replace").decode().replace("\0", "?")  # which PostgreSQL has no place for


def device_key(product: str, device: str) -> tuple[str, str]:
    """Return the primary key of a device."""
    return _bounded_text(product), _bounded_text(device)


def change_name(key: tuple[str, str]) -> str:
    """Return by which text one server tells others of a device: a product has no blanks."""
    return " ".join(key)


def changed_key(name: str) -> tuple[str, str]:
    """Return the primary key of the device that a `change_name` tells of."""
    product, _, device = name.partition(" ")
    return product, device
