"""The devices seen, by filters that stand in the address: a list can be linked, and its pages follow one another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ...operator_api import device_list
from ...operator_api.device_list import Query
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
    product = page.product(visit)
    chosen = {name: value for name in FILTERS if (value := visit.query.get(name))}
    values = await asyncio.to_thread(_read, page, product, chosen, visit.query.get("after", ""))
    return page.show(visit, "devices.html", title="Devices", **values)


def _read(page: Page, product: str, chosen: dict[str, str], after: str) -> dict[str, Any]:
    query = Query.parse(chosen)
    listed = device_list.page(page.context.fleet, product, query, after, PER_PAGE)
    return {
        **{name: listed[name] for name in ("devices", "next", "total")},
        "counts": page.counts(product, query.channel),
        "chosen": chosen,
        "toggled": partial(toggled, chosen),
        "after": after,
        # A number is that of its filter alone, in the channel that is chosen.
        "counting": not chosen.keys() - {"channel"},
        "unfolded": bool(chosen.keys() - {*QUICK, "text"}),
        "reasons": device_words.REASONS,
        "states": device_words.STATES,
    }


def toggled(chosen: Mapping[str, str], name: str, value: str) -> tuple[bool, dict[str, str]]:
    """Return whether a filter has a value, and the filters once that is changed: a device has to have all tags."""
    before = chosen.get(name, "").split(",")
    is_on, others = value in before, [one for one in before if one and one != value] if name == "tag" else []
    after = others if is_on else [*others, value]
    rest = {key: text for key, text in chosen.items() if key != name}
    return is_on, {**rest, name: ",".join(after)} if after else rest
