"""Taking a release: checked, held against the devices that are out there, stored, and a channel pointed at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ConflictError
from ...image.firmware import Firmware
from ...release.admission import Policy, admit
from ...release.channels import Channel
from ...release.records import Origin, Release
from ...release.stranding import Consent, Effect
from ..catalog import Catalog
from .fleet import Fleet
from .rollout_options import RolloutOptions


@dataclass(frozen=True)
class PublishRequest:
    """What an operator asks for: a release of `origin` in a channel, for whom, and what of its effects is meant.

    `rehearsal` is what became of the rehearsal at the operator's: only the operator knows.
    """

    origin: Origin
    channel: str
    options: RolloutOptions
    allow_downgrade: bool
    consent: Consent
    rehearsal: str = ""


@dataclass(frozen=True)
class Published:
    """A published release: the record, the channel's version before, and the effect on the devices seen."""

    release: Release
    before: str | None
    effect: Effect


def publish(fleet: Fleet, parts: Sequence[bytes], wanted: PublishRequest, who: str) -> Published:
    """Check and store a release, and point its channel at it; one at a time.

    Raises what `admit`, `stranding.check` and the store raise; then nothing of it is stored.
    """
    catalog, origin = fleet.catalog, wanted.origin
    product = origin.product
    state = catalog.channel(product, wanted.channel)
    current = None if state is None else _current(catalog, product, state, wanted)
    pointer = wanted.options.published(origin.version, state)
    fleet.devices.check_rollout(product, wanted.channel, pointer)
    policy = Policy(product, list(catalog.keys(product).values()), allow_downgrade=wanted.allow_downgrade)
    release = admit([Firmware(part) for part in parts], origin, policy, current)
    if origin.version in catalog.store.releases(product):
        before = catalog.release(product, origin.version)
        if before.forms == release.forms:
            release = before  # sent once more, after a lost answer or by a repeated CI run: the record stays
    effect = fleet.allow(release, wanted.channel, state, wanted.consent, who)
    catalog.store.publish(release, list(parts), by=who, rehearsal=wanted.rehearsal)
    expected = 0 if state is None else state.generation
    catalog.store.point(product, wanted.channel, pointer, expected=expected, by=who)
    return Published(release, None if current is None else current.version, effect)


def _current(catalog: Catalog, product: str, state: Channel, wanted: PublishRequest) -> Release | None:
    """Return the release that a channel gives out; None where it is damaged and a downgrade is allowed."""
    current = catalog.sound(product, state.pointer.version)
    if current is None and not wanted.allow_downgrade:
        raise ConflictError(
            f"release '{state.pointer.version}', which channel '{wanted.channel}' gives out, is damaged: nothing can be"
            " compared with it",
            "restore it from a backup, go back with otaseal rollback, or deploy with --allow-downgrade",
        )
    return current
