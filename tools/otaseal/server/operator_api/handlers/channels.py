"""Endpoints that point a channel at a release: promote, roll back, set the share of the devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError, ConflictError
from ....names import check_name
from ....release.channels import Channel, Pointer
from ....release.records import check_version
from ....release.stranding import Consent
from ..rollout_options import NAMES, RolloutOptions
from ..uploads import read_json
from .context import OperatorContext, no_channel

if TYPE_CHECKING:
    from starlette.requests import Request

SET_ASIDE = "set_aside"
CONSENT = tuple(field.name for field in fields(Consent))


async def promote(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Point a channel at what another one points at, or at a version: `{"from": ...}` or `{"version": ...}`."""
    product, channel, who = context.channel(request)
    body = await read_json(request, ("from", "version", *NAMES, *CONSENT))
    if ("from" in body) is ("version" in body):
        raise ConfigError("neither or both of 'from' and 'version'", "give the channel or the version to promote")
    if "from" in body:
        version = _proven_version(context, product, check_name(str(body["from"]), "channel"))
    else:
        version = check_version(str(body["version"]))
    options, agreed, release = RolloutOptions.parse(body), _consent(body), context.catalog.release(product, version)

    def change(before: Channel | None) -> Pointer:
        pointer = options.pointer(version, before)
        context.fleet.check_rollout(product, channel, pointer)
        context.fleet.allow(release, channel, before, agreed, who)
        return pointer

    return await _point(context, product, channel, who, change, "promote")


async def percent(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Set to how many per cent of the devices a channel's release goes; a halted rollout goes on.

    With `set_aside` the failures so far do not count any more.
    """
    product, channel, who = context.channel(request)
    body = await read_json(request, (*NAMES, SET_ASIDE))
    set_aside = _flag(body, SET_ASIDE)
    options = RolloutOptions.parse({"percent": None, **{name: body[name] for name in NAMES if name in body}})

    def change(before: Channel | None) -> Pointer:
        if before is None:
            raise no_channel(product, channel)
        pointer = options.pointer(before.pointer.version, before)
        if set_aside:
            context.fleet.set_aside(product, channel, pointer, who)
        context.fleet.check_rollout(product, channel, pointer)
        return pointer

    return await _point(context, product, channel, who, change, "percent")


async def rollback(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Point a channel back at the last version that all its devices had."""
    product, channel, who = context.channel(request)
    agreed = _consent(await read_json(request, CONSENT))

    def back(before: Channel) -> Channel:
        if before.previous is not None:
            release = context.catalog.release(product, before.previous)
            context.fleet.allow(release, channel, before, agreed, who)
        return context.catalog.store.rollback(product, channel, expected=before.generation, by=who)

    async with context.publishing:
        before = context.channel_state(product, channel)
        after = await asyncio.to_thread(back, before)
        await asyncio.to_thread(context.fleet.begin, product, channel, after.pointer.version)
    context.log("rollback", product, channel, who, version=after.pointer.version, before=before.pointer.version)
    return await context.effect(product, channel, before.pointer.version)


async def _point(
    context: OperatorContext,
    product: str,
    channel: str,
    who: str,
    change: Callable[[Channel | None], Pointer],
    event: str,
) -> dict[str, Any]:
    """Point a channel at what `change` makes of its state, and return the effect."""
    store = context.catalog.store
    async with context.publishing:
        before = context.catalog.channel(product, channel)
        expected = 0 if before is None else before.generation
        pointer = await asyncio.to_thread(change, before)
        await asyncio.to_thread(lambda: store.point(product, channel, pointer, expected=expected, by=who))
        await asyncio.to_thread(context.fleet.begin, product, channel, pointer.version)
    earlier = None if before is None else before.pointer.version
    context.log(event, product, channel, who, version=pointer.version, before=earlier, percent=pointer.percent)
    return await context.effect(product, channel, earlier)


def _consent(body: Mapping[str, Any]) -> Consent:
    """Return what the operator agrees to: the fields of CONSENT, each true or false; raises ConfigError."""
    return Consent(**{name: _flag(body, name) for name in CONSENT})


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if type(value) is not bool:
        raise ConfigError(f"{name} is '{str(value)[:32]}'", "use true or false")
    return value


def _proven_version(context: OperatorContext, product: str, channel: str) -> str:
    """Return the version of a channel that is to be given to another one: not one that was halted here."""
    pointer = context.channel_state(product, channel).pointer
    if pointer.halted:
        raise ConflictError(
            f"the rollout of '{pointer.version}' in channel '{channel}' was halted",
            "promote it by --version if that is what you mean",
        )
    return pointer.version
