"""Endpoints of what happens and happened: hints of changes as a stream, alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....names import check_name
from .. import event_stream
from .context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def events(context: OperatorContext, request: Request) -> Response:
    """Return hints of what changes, of a product or of all, as long as the client listens."""
    return event_stream.answer(context.changes, request, _product(context, request))


async def alarms(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the alarms that stand and those that ended lately, of a product and of the server, or of all products."""
    listed = context.telemetry.alarms.listed(_product(context, request))
    return {"alarms": [alarm._asdict() for alarm in listed]}


def _product(context: OperatorContext, request: Request) -> str | None:
    """Return the product in the query for who may read it, None for who may read all; raises as `context.product`."""
    name = request.query_params.get("product")
    product = None if name is None else check_name(name, "product")
    context.access.authorise(request, product, None)
    if product is not None:
        context.require(product)
    return product
