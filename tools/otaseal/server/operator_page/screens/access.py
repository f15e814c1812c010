"""Who may do what: the tokens for a product, as far as who looks may know of them.

Secrets are nowhere to be shown: the store has their SHA-256.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


async def show(page: Page, visit: Visit) -> Response:
    """Return the tokens that are good for a product, those that end first at the top."""
    product = page.product(visit)
    good = [one for one in page.context.access.tokens.list() if one.scope.covers(product, None)]
    tokens = [one for one in good if visit.caller.sees(one)]
    ends = {one.id: datetime.fromisoformat(one.expires).timestamp() for one in tokens}
    tokens.sort(key=lambda one: ends[one.id])
    used = await asyncio.to_thread(page.context.access.uses.all)
    values: dict[str, Any] = {"tokens": tokens, "ends": ends, "used": used}
    return page.show(visit, "access.html", title="Access", **values)
