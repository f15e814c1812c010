"""Endpoints of products: which there are, and what a release of one is checked against."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ....keys.public import public_pem
from ....names import check_name
from ...catalog import DEFAULT_CHANNEL
from .context import OperatorContext
from .releases import as_json

if TYPE_CHECKING:
    from starlette.requests import Request


async def products(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the products' names."""
    context.access.authorise(request, None, None)
    return {"products": list(context.catalog.store.products())}


async def product(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the keys, the channels, and the current release of one channel: what a release is checked against."""
    name = context.product(request)
    context.require_product(name)
    channel = check_name(request.query_params.get("channel", DEFAULT_CHANNEL), "channel")
    current = context.catalog.current(name, channel)
    groups = await asyncio.to_thread(context.fleet.groups, name, channel)
    return {
        "product": name,
        "keys": {key: public_pem(value).decode() for key, value in context.catalog.keys(name).items()},
        "channels": context.channels(name),
        "current": None if current is None else as_json(current),
        "fleet": [
            {"release": None if group.release is None else as_json(group.release), "count": group.count}
            for group in groups
        ],
        **asdict(context.endpoint),
    }
