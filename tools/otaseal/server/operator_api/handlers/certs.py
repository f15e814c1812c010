"""Endpoints of certificate archives: which one a channel gives out, and giving out another."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..uploads import read_files
from .context import OperatorContext
from .parameters import rehearsal

if TYPE_CHECKING:
    from starlette.requests import Request


async def certs(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return which certificate archive a channel gives out."""
    product, channel, _ = context.channel(request)
    context.require_product(product)
    return {"certs": asdict(context.archives.current(product, channel))}


async def publish_certs(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Take a signed certificate archive, check it, and give it out in a channel."""
    product, channel, who = context.channel(request)
    rehearsed = rehearsal(request.query_params.get("rehearsal"))
    noted = {"by": who, **({"rehearsal": rehearsed} if rehearsed else {})}
    context.require_product(product)
    async with context.uploads.turn(who):
        data = b"".join(await read_files(request))
        async with context.publishing:
            record = await asyncio.to_thread(lambda: context.archives.publish(product, channel, data, **noted))
    details = {"archive": record.archive, "certificates": record.certificates, "rehearsal": rehearsed or None}
    context.log("certs", product, channel, who, **details)
    return {"certs": asdict(record), **asdict(context.endpoint)}
