"""The rollout of a channel: how far it is, and who failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....store.device_rows import Selection
from ..page import Page, Visit
from ..rollout_view import channel_view

if TYPE_CHECKING:
    from starlette.responses import Response

FAILED_SHOWN = 20


async def show(page: Page, visit: Visit) -> Response:
    """Return how the rollout of a channel goes."""
    (product, channel), context = page.channel(visit), page.context
    state = context.channel_state(product, channel)
    view = await asyncio.to_thread(channel_view, context, product, channel, state)
    failed = [
        one
        for kind in ("stuck", "looping")
        for one in await asyncio.to_thread(context.fleet.page, product, Selection(channel, kind), "", FAILED_SHOWN)
    ]
    values: dict[str, Any] = {"channel": view, "failed": failed, "release": context.catalog.current(product, channel)}
    return page.show(visit, "rollout.html", title=channel, **values)
