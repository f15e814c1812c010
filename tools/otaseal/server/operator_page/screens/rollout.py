"""The rollout of a channel: how far it is, wave by wave, and who failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....release.channels import Channel
from ....release.device_errors import in_words
from ...operator_api import device_list, rollout_status
from ...operator_api.device_list import Query
from ...operator_api.rollout_options import outcomes
from ..page import Page, Visit
from ..rollout_view import FAILED, channel_view, wave_parts

if TYPE_CHECKING:
    from starlette.responses import Response

FAILED_SHOWN = 20


async def show(page: Page, visit: Visit) -> Response:
    """Return how the rollout of a channel goes."""
    product, channel = page.channel(visit)
    state = page.context.channel_state(product, channel)
    values = await asyncio.to_thread(_read, page, product, channel, state)
    return page.show(visit, "rollout.html", title=channel, **values)


def _read(page: Page, product: str, channel: str, state: Channel) -> dict[str, Any]:
    """Return what the screen shows; waves are counted where there is a plan."""
    context, plan = page.context, state.pointer.plan
    kinds = page.kinds(product, channel)
    there = [kind for kind in FAILED if kind in kinds["states"]]  # to find none of a state takes a pass over all
    failed = [
        one for kind in there for one in device_list.first(context.fleet, product, Query(channel, kind), FAILED_SHOWN)
    ]
    found = outcomes(context.fleet.devices, product, channel, state.pointer, context.fleet.clock)
    standing = rollout_status.status(context, product, channel, found) if plan is not None else None
    return {
        "counts": found.everybody,
        "heard": found.heard,
        "channel": channel_view(kinds, channel, state, context.fleet.clock.read(0.0)[0]),
        "standing": standing,
        "waves": [(wave, wave_parts(wave)) for wave in standing["waves"]] if standing else [],
        "failed": failed,
        "in_words": in_words,
    }
