"""Hints of what changes, for the page's own script, which then reads the screen anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...operator_api import event_stream
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from ...changes import Subscription


async def listen(page: Page, visit: Visit) -> Response:
    """Return hints of a product as long as the browser listens: the API's stream, for who is signed in here."""
    return event_stream.answer(page.context.changes, visit.request, _subscription(page, visit, page.product(visit)))


def _subscription(page: Page, visit: Visit, product: str) -> Subscription:
    """Return what somebody may listen to while signed in."""
    access, sessions, secret = page.context.access, page.sessions, visit.visitor.session
    if not secret:
        return event_stream.subscription(access, visit.request, product)
    of_token = event_stream.of_token(access, visit.caller.identifier, product)
    return replace(of_token, shown=visit.visitor.proof, holds=lambda: sessions.holds(secret) and of_token.holds())
