"""Endpoints of a rollout that runs: where it stands, what a plan would be, and what operators do to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....names import check_name
from ....release.plan_fields import parse_waves
from .. import rollout_status, rollouts
from ..channel_changes import Target
from ..uploads import read_json
from .context import OperatorContext
from .fields import device_in, flag_in

if TYPE_CHECKING:
    from starlette.requests import Request


async def rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return where the rollout of a channel stands."""
    product = context.product(request)
    channel = check_name(request.path_params["channel"], "channel")
    return await asyncio.to_thread(rollout_status.status, context, product, channel)


async def preview_rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return what the waves of a plan would be for the devices of a channel: `{"waves": [...]}`."""
    product, channel, _ = context.channel(request)
    waves = parse_waves((await read_json(request, ("waves",))).get("waves"))
    return await asyncio.to_thread(rollout_status.preview, context, product, channel, waves)


async def pause_rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Give the release to nobody who has it not."""
    target = Target(*context.channel(request))
    await read_json(request, ())
    return await rollouts.pause(context, target)


async def resume_rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Let a rollout go on that was paused or halted."""
    target = Target(*context.channel(request))
    await read_json(request, ())
    return await rollouts.resume(context, target)


async def halt_rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Halt a rollout."""
    target = Target(*context.channel(request))
    await read_json(request, ())
    return await rollouts.halt(context, target)


async def approve_rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Approve of the next wave; with `{"now": true}` it begins whatever else its gate waits for."""
    target = Target(*context.channel(request))
    at_once = flag_in(await read_json(request, ("now",)), "now")
    return await rollouts.approve(context, target, at_once=at_once)


async def grant_rollout(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Give the release to one device now: `{"device": ...}`."""
    target = Target(*context.channel(request))
    return await rollouts.grant(context, target, device_in(await read_json(request, ("device",))))
