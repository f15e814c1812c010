"""The report of a product: what runs, how old it is, how fast the last security release arrived, what standards ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...operator_api import report
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


async def show(page: Page, visit: Visit) -> Response:
    """Return the report."""
    product = page.product(visit)
    made = await asyncio.to_thread(report.make, page.context, product)
    return page.show(visit, "report.html", title="Report", report=made)
