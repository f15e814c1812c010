"""Endpoints of devices: list those seen, forget one, let one try again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError, SystemFaultError
from ....names import check_name
from ....release.records import check_version
from ....store.device_rows import STATES, Selection
from ..uploads import read_json
from .context import OperatorContext
from .parameters import device_name, page_size

if TYPE_CHECKING:
    from starlette.requests import Request


async def list_devices(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the devices seen, a page at a time: what each runs, when it asked last, whether it is stuck."""
    product, query = context.product(request), request.query_params
    context.require_product(product)
    selection, limit = _selection(context, product, query), page_size(query.get("limit"))
    return await asyncio.to_thread(_page, context, product, selection, query.get("after", ""), limit)


async def forget_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Forget a device: `{"device": ...}`. When it asks again, it is a new one."""
    return await _change(context, request, "forget", context.devices.recorder.forget)


async def retry_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Let a device that is stuck or in a loop have its release again: `{"device": ...}`."""
    return await _change(context, request, "retry", context.devices.recorder.retry)


def _selection(context: OperatorContext, product: str, query: Mapping[str, str]) -> Selection:
    """Return which devices a query means; raises ConfigError, NotFoundError for a channel that is not there."""
    channel, state, version = query.get("channel"), query.get("state"), query.get("version")
    if channel is not None:
        context.channel_state(product, check_name(channel, "channel"))
    if state is not None and state not in STATES:
        raise ConfigError(f"state '{state[:32]}' is unknown", f"say one of {', '.join(STATES)}")
    if version is None:
        return Selection(channel, state)
    known = context.catalog.known(product)
    md5s = {md5 for md5, running in known.items() if running.release.version == version}
    return Selection(channel, state, check_version(version), frozenset(md5s), frozenset(known))


def _page(context: OperatorContext, product: str, selection: Selection, after: str, limit: int) -> dict[str, Any]:
    """Return `limit` of the selected devices behind the name `after`, and the name to go on behind."""
    known, rows = context.catalog.known(product), []
    selected = context.devices.list(product, selection, after, limit + 1)
    for device in selected[:limit]:
        running = known.get(device.md5)
        version = running.release.version if running else device.version or None
        rows.append({**device._asdict(), "state": device.state, "running": version})
    return {"product": product, "devices": rows, "next": rows[-1]["device"] if len(selected) > limit else None}


async def _change(
    context: OperatorContext, request: Request, event: str, change: Callable[[str, str], bool]
) -> dict[str, Any]:
    """Note a change of a device, which every worker hears of; who asks needs the right to the device's channel."""
    product = context.product(request)
    device = device_name(await read_json(request, ("device",)))
    context.require_product(product)
    known = await asyncio.to_thread(context.devices.get, product, device)
    who = context.access.authorise(request, product, known.channel)
    where = {"product": product, "channel": known.channel, "device": device}
    await asyncio.to_thread(context.catalog.store.record_event, {"event": event, **where, "by": who})
    if not change(product, device):
        raise SystemFaultError("the list of devices is too slow to take a change", "try again in a while")
    await asyncio.to_thread(context.devices.settle)
    context.log(event, product, known.channel, who, device=device)
    return where
