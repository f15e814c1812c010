"""Publishing a release: its files and what comes with them are checked and stored, and a channel is pointed at them.

For API and page alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ConflictError
from ...image.firmware import Firmware
from ...release import attachments, provenance, record_json, release_log
from ...release.admission import Policy, admit
from ...release.channels import Channel
from ...release.records import Origin, Release
from ...release.stranding import Consent, Effect
from ..catalog import Catalog
from .handlers.context import OperatorContext
from .rollout_options import RolloutOptions
from .uploads import Upload

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


@dataclass(frozen=True)
class Publication:
    """What the operator `who` asks for: a release in a channel, for whom, and which of its effects are intended."""

    origin: Origin
    boards: tuple[str, ...]
    channel: str
    options: RolloutOptions
    allow_downgrade: bool
    consent: Consent
    rehearsal: str
    who: str


async def publish(context: OperatorContext, upload: Upload, wanted: Publication) -> dict[str, Any]:
    """Take the files of a release that is `wanted`, and point its channel at them; raises what the checks raise."""
    version, product, channel = wanted.origin.version, wanted.origin.product, wanted.channel
    async with context.publishing:
        release, before, effect = await asyncio.to_thread(_publish, context, upload, wanted)
    percent = 100 if wanted.options.percent is None else wanted.options.percent
    details = {"percent": percent, "downgrade": wanted.allow_downgrade, "rehearsal": wanted.rehearsal or None}
    context.log("publish", product, channel, wanted.who, version=version, before=before, **details)
    change = await context.effect(product, channel, before)
    if context.proven_only:
        change["device_port"] = 0  # where there is one, a release is read back there
    return {"release": record_json.to_json(release), **change, "warnings": effect.warnings()}


def _publish(context: OperatorContext, upload: Upload, wanted: Publication) -> tuple[Release, str | None, Effect]:
    """Check and store a release, point its channel at it; return it, the channel's version before, the effect."""
    fleet, catalog = context.fleet, context.catalog
    origin, product = wanted.origin, wanted.origin.product
    state = catalog.channel(product, wanted.channel)
    current = None if state is None else _current(catalog, product, state, wanted)
    pointer = wanted.options.published(origin.version, state)
    fleet.check_rollout(product, wanted.channel, pointer)
    keys = list(catalog.keys(product).values())
    policy = Policy(product, keys, allow_downgrade=wanted.allow_downgrade)
    release = admit([Firmware(file) for file in upload.files], origin, policy, current, wanted.boards)
    if origin.version in catalog.store.releases(product):
        before = catalog.release(product, origin.version)
        if set(before.files) == set(release.files):  # boards stand in the order of their names, which need not be given
            release = before  # sent once more, after a lost answer or by a repeated CI run: the record stays
    attached = _admit_attachments(context, release, upload, keys)
    effect = fleet.allow(release, wanted.channel, state, wanted.consent, wanted.who)
    catalog.store.publish(release, upload.files, by=wanted.who, rehearsal=wanted.rehearsal, attachments=attached)
    expected = 0 if state is None else state.generation
    catalog.store.point(product, wanted.channel, pointer, expected=expected, by=wanted.who)
    fleet.begin(product, wanted.channel, pointer.version)
    return release, None if current is None else current.version, effect


def _admit_attachments(
    context: OperatorContext, release: Release, upload: Upload, keys: Sequence[RSAPublicKey]
) -> dict[str, bytes]:
    """Check what comes with a release, and return what is to be kept beside it, that of an earlier upload included.

    A release that is in the log already needs no second entry.
    """
    store, product, version = context.catalog.store, release.product, release.version
    for kind, data in upload.attachments.items():
        attachments.parse(kind, data)
    provenance.admit(upload.attachments.get(attachments.PROVENANCE), upload.files, keys, context.builders)
    kinds = store.attachments(product, version) if version in store.releases(product) else ()
    kept = {kind: store.attachment(product, version, kind) for kind in kinds}
    earlier = {kind: data for kind, data in kept.items() if data is not None}
    attached = {**upload.attachments, **earlier}
    if attachments.LOG not in earlier:
        head = store.log_head(product)
        release_log.admit(release, attached, head, keys)
        release_log.refuse_other_files(release, (store.log_entry(product, n) for n in range(1, head.number + 1)))
    return attached


def _current(catalog: Catalog, product: str, state: Channel, wanted: Publication) -> Release | None:
    """Return the release that a channel gives out; None where it is damaged and a downgrade is allowed."""
    current = catalog.sound(product, state.pointer.version)
    if current is None and not wanted.allow_downgrade:
        raise ConflictError(
            f"release '{state.pointer.version}', which channel '{wanted.channel}' gives out, is damaged: nothing can be"
            " compared with it",
            "restore it from a backup, go back with otaseal rollback, or deploy with --allow-downgrade",
        )
    return current
