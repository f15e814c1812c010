"""The devices seen, by filters that stand in the address: a list can be linked, and its pages follow one another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...operator_api import device_list
from ...operator_api.device_list import Query
from ...operator_api.fleet import Fleet
from .. import device_words
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PER_PAGE = 50
FILTERS = ("text", "state", "late", "no_room", "pinned", "channel", "version", "board", "tag", "answered")
QUICK = ("state", "late", "no_room", "pinned")
"""Filters that are always shown; the others can be unfolded."""


async def show(page: Page, visit: Visit) -> Response:
    """Return a page of the devices that the query selects, with how many there are of each kind."""
    product, fleet = page.product(visit), page.context.fleet
    chosen = {name: value for name in FILTERS if (value := visit.query.get(name))}
    values = await asyncio.to_thread(_read, fleet, product, chosen, visit.query.get("after", ""))
    return page.show(visit, "devices.html", title="Devices", **values)


def _read(fleet: Fleet, product: str, chosen: dict[str, str], after: str) -> dict[str, Any]:
    query = Query.parse(chosen)
    listed = device_list.page(fleet, product, query, after, PER_PAGE)
    return {
        **{name: listed[name] for name in ("devices", "next", "total")},
        "counts": device_list.counts(fleet, product, query.channel),
        "chosen": chosen,
        "after": after,
        # A number is that of its filter alone, in the channel that is chosen.
        "counting": not chosen.keys() - {"channel"},
        "unfolded": bool(chosen.keys() - {*QUICK, "text"}),
        "reasons": device_words.REASONS,
    }
