"""The devices seen, by filters that stand in the address: a list can be linked, and its pages follow one another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...operator_api.device_list import Query, matching
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PER_PAGE = 50
FILTERS = ("channel", "state", "version")


async def show(page: Page, visit: Visit) -> Response:
    """Return a page of the devices that the query selects."""
    product, context = page.product(visit), page.context
    chosen = {name: value for name in FILTERS if (value := visit.query.get(name))}
    query = Query.parse(chosen)
    after = visit.query.get("after", "")
    listed = await asyncio.to_thread(matching, context.fleet, product, query, (after, PER_PAGE + 1))
    values: dict[str, Any] = {
        "chosen": chosen,
        "devices": listed[:PER_PAGE],
        "next": listed[PER_PAGE - 1].device.device if len(listed) > PER_PAGE else None,
        "after": after,
        "channels": sorted(context.catalog.channels(product)),
        "versions": [release.version for release in context.catalog.releases(product)],
    }
    return page.show(visit, "devices.html", title="Devices", **values)
