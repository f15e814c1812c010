"""Hints of what changes, for the page's own script, which then reads the screen anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...operator_api import event_stream
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


async def listen(page: Page, visit: Visit) -> Response:
    """Return hints of a product as long as the browser listens: the API's stream, for who is signed in here."""
    product = page.product(visit)
    return event_stream.answer(page.context.changes, visit.request, product)
