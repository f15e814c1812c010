"""One device: what it tells, what became of it, its key, and what operators say of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....release.device_errors import in_words
from ....release.evidence import UNPROVEN_PREFIX
from ....store.labels import chip_of
from ...operator_api import device_view
from ...operator_api.handlers.context import OperatorContext
from .. import device_words
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


async def show(page: Page, visit: Visit) -> Response:
    """Return what is known of a device, which the query names as the list does."""
    product, context, name = page.product(visit), page.context, visit.query.get("name", "")
    shown = await asyncio.to_thread(device_view.show, context.fleet, product, chip_of(name))
    rows = shown["rows"]
    own = next((row for row in rows if not row["device"].startswith(UNPROVEN_PREFIX)), None)
    values: dict[str, Any] = {
        "name": name if own is None else own["device"],
        "own": own,
        "others": [row for row in rows if row is not own],
        "label": shown["label"],
        "keys": [key for key in (shown["key"], shown["waiting"]) if key is not None],
        "moments": [device_words.moment(event) for event in shown["history"]],
        "error": "" if own is None else in_words(own["error"]),
        "advice": ("", "") if own is None else device_words.advice(own),
        "reason": "" if own is None else device_words.REASONS.get(own["answered"], ""),
        "grantable": None if own is None else _grantable(context, product, own),
    }
    return page.show(visit, "device.html", title=shown["label"]["name"] or name, **values)


def _grantable(context: OperatorContext, product: str, row: dict[str, Any]) -> str | None:
    """Return the release that a device could be given before its turn, None for none."""
    state = context.catalog.channel(product, row["channel"])
    if state is None or state.pointer.unconditional or state.pointer.halted or state.pointer.paused or row["pinned"]:
        return None
    return None if row["running"] == state.pointer.version else state.pointer.version
