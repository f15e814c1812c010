"""Endpoints of what happens and happened: hints of changes as a stream, alarms, the audit log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError
from ....names import check_name
from ....release.records import check_version
from .. import audit_page, event_stream
from ..audit_page import Place, Wanted
from ..parameters import LOGGED_SINCE, QUERY
from .context import OperatorContext
from .fields import page_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def events(context: OperatorContext, request: Request) -> Response:
    """Return hints of what changes, of a product or of all, as long as the client listens."""
    product = _product(context, request)
    return event_stream.answer(context.changes, request, event_stream.subscription(context.access, request, product))


async def alarms(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the alarms that stand and those that ended lately, of a product and of the server, or of all products."""
    listed = context.telemetry.alarms.listed(_product(context, request))
    return {"alarms": [alarm._asdict() for alarm in listed]}


async def audit(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return who did what, the latest first, a page at a time; of a product, or of all and the server."""
    product, query = _product(context, request), request.query_params
    wanted = Wanted(product or "", *(_filter(query, name) for name in ("version", "by", "event", "since")))
    after, limit = page_of(query)
    documents, sightings = context.catalog.store.documents, context.fleet.first_seen
    page = await asyncio.to_thread(audit_page.read, documents, sightings, wanted, Place.parse(after), limit)
    return page._asdict()


def _filter(query: Mapping[str, str], name: str) -> str:
    """Return what lines are to have, "" for anything; raises ConfigError, InputError for what none can have."""
    value = query.get(name, "")
    if name == "version" and name in query:
        return check_version(value)
    if len(value) > QUERY[name].get("maxLength", len(value)):
        raise ConfigError(f"{name} '{value[:32]}...' is too long", "otaseal audit shows what there is")
    if name == "since" and name in query and not re.fullmatch(LOGGED_SINCE, value):
        raise ConfigError(f"since '{value[:32]}' is no time", "write 2030-01-31, or 2030-01-31T12:00, in UTC")
    return value


def _product(context: OperatorContext, request: Request) -> str | None:
    """Return the product in the query for who may read it, None for who may read all; raises as `context.product`."""
    name = request.query_params.get("product")
    product = None if name is None else check_name(name, "product")
    context.access.authorise(request, product, None)
    if product is not None:
        context.require(product)
    return product
