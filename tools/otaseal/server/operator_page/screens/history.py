"""Who did what: the audit log of a product, by person, release and kind, the latest first."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...operator_api import audit_page
from ...operator_api.audit_page import Place, Wanted
from .. import audit_words
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PER_PAGE = 50
FILTERS = ("by", "version", "event")


async def show(page: Page, visit: Visit) -> Response:
    """Return a page of what was done to a product."""
    product = page.product(visit)
    chosen = {name: value for name in FILTERS if (value := visit.query.get(name))}
    wanted = Wanted(product, **chosen)
    documents, after = page.context.catalog.store.documents, Place.parse(visit.query.get("after", ""))
    found = await asyncio.to_thread(audit_page.read, documents, page.first_seen, wanted, after, PER_PAGE)
    rows = [(row, audit_words.in_words(row), audit_words.details(row), _moment(row["at"])) for row in found.rows]
    values: dict[str, Any] = {"rows": rows, "chosen": chosen, "next": found.next, "after": str(after)}
    return page.show(visit, "history.html", title="History", **values)


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # nothing that otaseal wrote
        return 0.0
