"""What operators do to a rollout that runs: pause it, go on, approve of the next wave, halt it, give it to one device.

For API and page alike. Each change is in the audit log, and raises what the store, `Fleet` and `stranding` raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...errors import ConflictError, NotFoundError
from ...release.channels import MAX_GRANTS, Channel, Pointer
from ...release.plan_fields import device_name
from ...release.waves import ANYBODY, Plan, is_named
from ...store.store import Store
from .channel_changes import Target, point
from .handlers.context import OperatorContext, no_channel
from .uploads import Refused

RESUME = "let it go on first: otaseal rollout resume"
Change = Callable[[Channel], Pointer]


def begin_next(store: Store, target: Target, state: Channel, why: str, now: float) -> dict[str, Any]:
    """Begin the next wave of a channel that is in this state, and return the event; raises as `Store.point`."""
    product, channel, who, _ = target
    assert state.pointer.plan is not None
    plan = state.pointer.plan.next(now)
    store.point(product, channel, state.pointer.with_plan(plan), expected=state.generation, by=who)
    event = _event("wave", target, state.pointer.version, wave=plan.current + 1, waves=len(plan.waves), reason=why)
    store.record_event(event)
    return event


async def pause(context: OperatorContext, target: Target) -> dict[str, Any]:
    """Give the release to nobody who has it not, until `resume`; raises ConflictError where that is so already."""

    def change(before: Channel) -> Pointer:
        if before.pointer.paused or before.pointer.halted:
            how = "halted" if before.pointer.halted else "paused"
            raise ConflictError(f"the rollout of '{before.pointer.version}' is {how} already", "otaseal rollout show")
        return replace(before.pointer, paused=True)

    return await _change(context, target, change, "pause")


async def resume(context: OperatorContext, target: Target) -> dict[str, Any]:
    """Let a rollout go on that was paused or halted; raises ConflictError also where it would halt at once."""

    def change(before: Channel) -> Pointer:
        pointer = before.pointer
        if not pointer.paused and not pointer.halted:
            raise ConflictError(f"the rollout of '{pointer.version}' is not stopped", "otaseal rollout show tells more")
        after = replace(pointer, paused=False, halted=False)
        if pointer.halted:
            context.fleet.check_rollout(target.product, target.channel, after)
        return after

    return await _change(context, target, change, "resume")


async def halt(context: OperatorContext, target: Target) -> dict[str, Any]:
    """Halt a rollout as the server does where devices fail: it is to be looked at before it goes on."""

    def change(before: Channel) -> Pointer:
        if before.pointer.halted:
            raise ConflictError(f"the rollout of '{before.pointer.version}' is halted already", "otaseal rollout show")
        return replace(before.pointer, halted=True)

    return await _change(context, target, change, "halt")


async def approve(context: OperatorContext, target: Target, *, at_once: bool) -> dict[str, Any]:
    """Approve of the next wave, which begins when the rest of the gate has passed; or `at_once`, whatever that says."""

    def change(before: Channel) -> Pointer:
        plan = _waiting_plan(before.pointer)
        _require_named(plan, target.who)
        if at_once:
            return before.pointer.with_plan(plan.next(context.fleet.clock.read(0.0)[0]))
        if not plan.wave.approval:
            raise ConflictError(
                f"wave {plan.current + 1} waits for nobody's approval",
                "otaseal rollout show tells what it waits for; approve --now begins the next wave all the same",
            )
        return before.pointer.with_plan(replace(plan, approved=target.who))

    return await _change(context, target, change, "approve", at_once=at_once or None)


async def grant(context: OperatorContext, target: Target, device: str) -> dict[str, Any]:
    """Give the release to one device now, whatever the waves and windows say.

    Raises NotFoundError for one that does not ask in this channel, ConflictError where it is pinned, or all is stopped.
    """
    name, state = device_name(device), context.channel_state(target.product, target.channel)
    if is_named(name, state.pointer.granted):  # a broker may ask again and again
        await asyncio.to_thread(_require_grantable, context, target, state.pointer, name)
        return await context.effect(target.product, target.channel, state.pointer.version)

    def change(before: Channel) -> Pointer:
        _require_grantable(context, target, before.pointer, name)
        pointer, granted = before.pointer, before.pointer.granted
        if len(granted) >= MAX_GRANTS:  # those that have it need the grant no more
            granted = tuple(one for one in granted if not _came_back(context, target.product, one, pointer.version))
        return replace(pointer, granted=(*granted, name))

    return await _change(context, target, change, "grant", device=name)


async def _change(
    context: OperatorContext, target: Target, change: Change, event: str, **values: object
) -> dict[str, Any]:
    """Point a channel at what `change` makes of its state, with a line in the audit log that says why."""
    product, channel, *_ = target

    def changed(before: Channel | None) -> Pointer:
        if before is None:
            raise no_channel(product, channel)
        return change(before)

    effect = await point(context, target, changed, event)
    state = context.channel_state(product, channel).pointer
    if state.plan is not None:
        values |= {"wave": state.plan.current + 1, "waves": len(state.plan.waves)}
    said = {name: value for name, value in values.items() if value is not None}
    line = _event(event, target, state.version, **said)
    await asyncio.to_thread(context.catalog.store.record_event, line)
    return effect


def _event(name: str, target: Target, version: str, **values: object) -> dict[str, Any]:
    product, channel, who, _ = target
    return {"event": name, "product": product, "channel": channel, "version": version, **values, "by": who}


def _waiting_plan(pointer: Pointer) -> Plan:
    """Return the plan of a rollout that has another wave; raises ConflictError."""
    if pointer.plan is None or pointer.plan.is_last:
        raise ConflictError(
            f"the rollout of '{pointer.version}' has no other wave",
            "otaseal promote --percent, --ramp or --plan says who gets it",
        )
    _require_running(pointer)
    return pointer.plan


def _require_running(pointer: Pointer) -> None:
    if pointer.halted or pointer.paused:
        how = "halted" if pointer.halted else "paused"
        raise ConflictError(f"the rollout of '{pointer.version}' is {how}", RESUME)


def _require_named(plan: Plan, who: str) -> None:
    """Raise Refused for who is not among those that have to approve; where nobody has to, anybody may."""
    names, (kind, _, name) = plan.wave.approval, who.partition(":")
    # the subject of an issuer's token may be called as one of our operators is
    known = {ANYBODY, who} if kind == "oidc" else {ANYBODY, who, name}
    if names and known.isdisjoint(names):
        raise Refused(403, f"'{who}' cannot approve of this wave, but {' or '.join(names)}", "ask who can")


def _came_back(context: OperatorContext, product: str, device: str, version: str) -> bool:
    row = context.fleet.devices.get(product, device)
    return row is not None and row.offered == version and row.confirmed_at is not None


def _require_grantable(context: OperatorContext, target: Target, pointer: Pointer, device: str) -> None:
    product, channel, *_ = target
    _require_running(pointer)
    if context.fleet.channel_of(product, device) != channel:
        raise NotFoundError(
            f"no device '{device[:64]}' asks in channel '{channel}' of '{product}'", "otaseal devices lists them"
        )
    if context.fleet.labels.is_pinned(product, device):
        raise ConflictError(f"'{device[:64]}' is pinned to what it runs", "unpin it first: otaseal devices unpin")
