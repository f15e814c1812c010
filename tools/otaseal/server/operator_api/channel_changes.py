"""What points a channel at a release: promote, roll back, set the share of the devices; for API and page alike.

Each writes the audit log through the store, and an event; each raises what the store, `Fleet` and `stranding` raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import ConflictError, VerificationError
from ...release import attachments, provenance
from ...release.channels import Channel, Pointer
from ...release.records import Release
from ...release.stranding import Consent
from .handlers.context import OperatorContext, no_channel
from .rollout_options import RolloutOptions


class Target(NamedTuple):
    """A channel of a product, who changes it, and the generation in which they saw it; None for whatever it has now."""

    product: str
    channel: str
    who: str
    seen: int | None = None

    def expected(self, before: Channel | None) -> int:
        """Return the generation that is changed, 0 for a channel that is new; the store refuses any other."""
        now = 0 if before is None else before.generation
        return now if self.seen is None else self.seen


async def promote(
    context: OperatorContext, target: Target, version: str, options: RolloutOptions, agreed: Consent
) -> dict[str, Any]:
    """Point a channel at a version, and return the effect; raises also NotFoundError, VerificationError.

    The provenance that the server asks for is asked for here, too: a release may be older than that, or restored. What
    the channel gives out, or gave to all its devices, needs none: nothing may stand in the way back (ADR 0041).
    """
    product, channel, who, _ = target
    release = context.catalog.release(product, version)

    def change(before: Channel | None) -> Pointer:
        pointer = options.pointer(version, before)
        if before is None or version not in before.versions:
            _require_provenance(context, release)
        context.fleet.check_rollout(product, channel, pointer)
        context.fleet.allow(release, channel, before, agreed, who)
        return pointer

    return await point(context, target, change, "promote")


async def set_percent(
    context: OperatorContext, target: Target, options: RolloutOptions, *, set_aside: bool
) -> dict[str, Any]:
    """Set to how many per cent of the devices a channel's release goes; a halted rollout goes on.

    With `set_aside` the failures so far do not count any more.
    """
    product, channel, who, _ = target

    def change(before: Channel | None) -> Pointer:
        if before is None:
            raise no_channel(product, channel)
        pointer = options.pointer(before.pointer.version, before)
        if set_aside:
            context.fleet.set_aside(product, channel, pointer, who)
        context.fleet.check_rollout(product, channel, pointer)
        return pointer

    return await point(context, target, change, "percent")


async def roll_back(context: OperatorContext, target: Target, agreed: Consent) -> dict[str, Any]:
    """Point a channel back at the last version that all its devices had, and return the effect."""
    product, channel, who, _ = target

    def back(before: Channel) -> Channel:
        if before.previous is not None:
            release = context.catalog.release(product, before.previous)
            context.fleet.allow(release, channel, before, agreed, who)
        return context.catalog.store.rollback(product, channel, expected=target.expected(before), by=who)

    async with context.publishing:
        before = context.channel_state(product, channel)
        after = await asyncio.to_thread(back, before)
        await asyncio.to_thread(context.fleet.begin, product, channel, after.pointer.version)
    context.log("rollback", product, channel, who, version=after.pointer.version, before=before.pointer.version)
    return await context.effect(product, channel, before.pointer.version)


def _require_provenance(context: OperatorContext, release: Release) -> None:
    """Raise VerificationError where the server asks for provenance, and this release has not what it asks for."""
    store, builders, product = context.catalog.store, context.builders, release.product
    if not builders.required:
        return
    data = store.attachment(product, release.version, attachments.PROVENANCE)
    if data is None:
        raise VerificationError(
            f"release '{release.version}' has no provenance, and this server gives out none without",
            "deploy its files again with --provenance, or go back to what the channel gave out: otaseal rollback",
        )
    files = (store.read_blob(form.blob) for form in release.files)
    provenance.admit(data, files, list(context.catalog.keys(product).values()), builders)


def proven_version(context: OperatorContext, product: str, channel: str) -> str:
    """Return the version of a channel that is to be given to another one: not one that was halted here."""
    pointer = context.channel_state(product, channel).pointer
    if pointer.halted:
        raise ConflictError(
            f"the rollout of '{pointer.version}' in channel '{channel}' was halted",
            "promote it by --version if that is what you mean",
        )
    return pointer.version


async def point(
    context: OperatorContext, target: Target, change: Callable[[Channel | None], Pointer], event: str
) -> dict[str, Any]:
    """Point a channel at what `change` makes of its state, and return the effect."""
    store, (product, channel, who, _) = context.catalog.store, target
    async with context.publishing:
        before = context.catalog.channel(product, channel)
        pointer = await asyncio.to_thread(change, before)
        expected = target.expected(before)
        await asyncio.to_thread(lambda: store.point(product, channel, pointer, expected=expected, by=who))
        await asyncio.to_thread(context.fleet.begin, product, channel, pointer.version)
    earlier = None if before is None else before.pointer.version
    context.log(event, product, channel, who, version=pointer.version, before=earlier, percent=pointer.percent)
    return await context.effect(product, channel, earlier)
