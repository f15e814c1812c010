"""The first look: each channel in one sentence, which versions run, and who needs attention."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ..page import Page, Visit, address
from ..rollout_view import Channel, channel_view

if TYPE_CHECKING:
    from starlette.responses import Response


async def products(page: Page, visit: Visit) -> Response | str:
    """Return the list of products; where there is one alone, its own screen."""
    names = page.products(visit.caller)
    if len(names) == 1:
        return address(names[0])
    found = [(name, await _channels(page, name)) for name in names]
    return page.show(visit, "products.html", title="Products", found=found)


async def product(page: Page, visit: Visit) -> Response:
    """Return the overview of a product."""
    name, context = page.product(visit), page.context
    channels = sorted(await _channels(page, name), key=lambda channel: -channel.total)
    releases = await asyncio.to_thread(context.catalog.releases, name)
    waiting = await asyncio.to_thread(context.fleet.enrolments.waiting, name, "", 100, time.time())
    values: dict[str, Any] = {
        "channels": channels,
        "releases": releases,
        "waiting": len(waiting),
        "alarms": [alarm for alarm in context.telemetry.alarms.listed(name) if alarm.until is None],
        "damaged": context.catalog.damage_of(name),
        "host": visit.request.url.netloc,
        "keys": list(context.catalog.keys(name)),
    }
    return page.show(visit, "overview.html", title=name, **values)


async def _channels(page: Page, product: str) -> list[Channel]:
    states = page.context.catalog.channels(product)

    def read() -> list[Channel]:
        now = page.context.fleet.clock.read(0.0)[0]
        return [channel_view(page.kinds(product, name), name, state, now) for name, state in states.items()]

    return await asyncio.to_thread(read)
