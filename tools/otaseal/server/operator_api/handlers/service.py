"""Endpoints of the server as a whole: its health, its interface, its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import openapi
from .context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def health(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return that the server answers and its store can be read, and what is wrong with a part of it."""
    context.catalog.store.products()
    standing = [message for messages in context.telemetry.problems.values() for message in messages]
    problems = list(dict.fromkeys((*standing, *list(context.catalog.damage.values()))))
    return {"status": "problems", "problems": problems} if problems else {"status": "ok"}


async def describe(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the interface as OpenAPI."""
    return openapi.description()


async def metrics(context: OperatorContext, request: Request) -> Response:
    """Return the counters in Prometheus' text format."""
    from starlette.responses import PlainTextResponse

    context.access.authorise(request, None, None)
    gauges = {"otaseal_products": len(context.catalog.store.products())}
    return PlainTextResponse(context.telemetry.prometheus(gauges), media_type="text/plain; version=0.0.4")
