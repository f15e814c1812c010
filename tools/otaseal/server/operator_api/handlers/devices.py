"""Endpoints of devices: list those seen, forget one, let one try again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError, SystemFaultError
from ....names import check_name
from ....release.records import check_version
from ....store.device_rows import STATES, Selection
from ..schemas import MAX_DEVICE, MAX_DEVICES
from ..uploads import read_json
from .context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request


async def list_devices(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the devices seen, a page at a time: what each runs, when it asked last, whether it is stuck."""
    product, query = context.product(request), request.query_params
    selection, limit = _selection(context, product, query), _page_size(query.get("limit"))
    listed = await asyncio.to_thread(context.fleet.page, product, selection, query.get("after", ""), limit + 1)
    rows = [
        {**device._asdict(), "state": device.state, "running": version, "evidence": evidence.value}
        for device, version, evidence in listed[:limit]
    ]
    return {"product": product, "devices": rows, "next": rows[-1]["device"] if len(listed) > limit else None}


async def forget_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Forget a device: `{"device": ...}`. When it asks again, it is a new one."""
    return await _change(context, request, "forget", context.fleet.recorder.forget)


async def retry_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Let a device that is stuck or in a loop have its release again: `{"device": ...}`."""
    return await _change(context, request, "retry", context.fleet.recorder.retry)


def _selection(context: OperatorContext, product: str, query: Mapping[str, str]) -> Selection:
    """Return which devices a query means; raises ConfigError, NotFoundError for a channel that does not exist."""
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


def _page_size(text: str | None) -> int:
    if text is None:
        return MAX_DEVICES
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_DEVICES:
        raise ConfigError(
            f"limit '{text[:32]}' is not a valid number of devices", f"use a whole number from 1 to {MAX_DEVICES}"
        )
    return int(text)


async def _change(
    context: OperatorContext, request: Request, event: str, change: Callable[[str, str], bool]
) -> dict[str, Any]:
    """Change a device, for who has the right to its channel, and wait until every worker would see that."""
    product = context.product(request)
    device = (await read_json(request, ("device",))).get("device")
    if not isinstance(device, str) or not 0 < len(device) <= MAX_DEVICE:
        raise ConfigError("no device is named", "name it in the field 'device', as otaseal devices lists it")
    known = await asyncio.to_thread(context.fleet.get, product, device)
    who = context.access.authorise(request, product, known.channel)
    changed = {"product": product, "channel": known.channel, "device": device}
    await asyncio.to_thread(context.catalog.store.record_event, {"event": event, **changed, "by": who})
    if not change(product, device):
        raise SystemFaultError("the list of devices is too slow to take a change", "try again in a while")
    await asyncio.to_thread(context.fleet.require_written)
    context.log(event, product, known.channel, who, device=device)
    return changed
