"""Endpoints of a product's report, and of how long it is supported."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError
from ....pki.scope import ANY
from .. import report as reports
from ..uploads import read_json
from .context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request


async def report(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return what runs where, how old it is, and how fast the last security release came to devices."""
    return await asyncio.to_thread(reports.make, context, context.product(request))


async def set_support(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Say until when a product is supported; for who may change all its channels."""
    product = context.product(request)
    who = context.access.authorise(request, product, ANY)
    ends = (await read_json(request, ("ends",))).get("ends")
    if not isinstance(ends, str):
        raise ConfigError("it is not said when the support ends", "name the day in the field 'ends', as in 2031-12-31")
    await asyncio.to_thread(context.notes.set_support_ends, product, ends)
    await asyncio.to_thread(
        context.catalog.store.record_event, {"event": "support", "product": product, "ends": ends, "by": who}
    )
    context.log("support", product, "", who, ends=ends)
    return {"product": product, "ends": ends}
