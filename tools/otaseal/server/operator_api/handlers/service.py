"""Endpoints of the server and its products: health, description, counters, and what a release is checked against."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ....keys.public import public_pem
from ....release.record_json import to_json
from ...telemetry import labelled
from .. import openapi
from ..gauges import Gauges, of_alarms, of_rollouts
from .context import OperatorContext, channel_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def health(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return that the server answers and its store can be read, and what is wrong with a part of it."""
    context.catalog.store.products()
    problems = context.problems()
    return {"status": "problems", "problems": problems} if problems else {"status": "ok"}


async def describe(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the API as OpenAPI."""
    return openapi.description()


async def metrics(context: OperatorContext, request: Request) -> Response:
    """Return the counters in Prometheus' text format."""
    from starlette.responses import PlainTextResponse

    context.access.authorise(request, None, None)
    gauges: Gauges = {labelled("otaseal_products"): len(context.catalog.store.products())}
    gauges[labelled("otaseal_listeners")] = context.changes.listening
    gauges |= of_alarms(context.telemetry.alarms)
    gauges |= await asyncio.to_thread(of_rollouts, context.fleet)
    for kind, count in context.fleet.keys.counts().items():
        gauges[labelled("otaseal_proof_keys", kind=kind)] = count
    waiting = await asyncio.to_thread(context.fleet.enrolments.count_waiting, time.time())
    gauges[labelled("otaseal_enrolments_waiting")] = waiting
    return PlainTextResponse(context.telemetry.prometheus(gauges), media_type="text/plain; version=0.0.4")


async def products(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the products' names."""
    context.access.authorise(request, None, None)
    return {"products": list(context.catalog.store.products())}


async def product(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the keys, the channels, and the current release and devices of one channel."""
    name, channel = context.product(request), channel_of(request)
    current = context.catalog.current(name, channel)
    groups = await asyncio.to_thread(context.fleet.groups, name, channel)
    return {
        "product": name,
        "keys": {key: public_pem(value).decode() for key, value in context.catalog.keys(name).items()},
        "channels": context.channels(name),
        "current": None if current is None else to_json(current),
        "fleet": [
            {"release": None if group.release is None else to_json(group.release), "count": group.count}
            for group in groups
        ],
        **asdict(context.endpoint),
    }
