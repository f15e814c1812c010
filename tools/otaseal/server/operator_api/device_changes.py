"""What operators do to one device: forget it, let it try again, enrol or accept its key; for API and page alike.

Each needs the right to the device's channel, and is in the audit log before it happens.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ...errors import ConflictError, NotFoundError, SystemFaultError
from ...pki.scope import ANY
from ...release.evidence import UNPROVEN_PREFIX
from ...store.labels import NO_LABEL
from ...store.proof_key_rows import WaitingKey
from ...store.proof_keys import fingerprint
from .auth import Caller
from .fleet import applicant
from .handlers.context import OperatorContext

CLAIM_PREFIX = "mac:"


async def begin(context: OperatorContext, caller: Caller, product: str, device: str) -> tuple[dict[str, Any], str]:
    """Return what the answer to a change of a device begins with, and who makes it; raises Refused.

    One that was not seen yet may turn up in any channel: only who may change them all may speak for it.
    """
    channel = await asyncio.to_thread(context.fleet.channel_of, product, device)
    return _begun(caller, (product, device), channel)


async def forget(context: OperatorContext, caller: Caller, product: str, device: str) -> dict[str, Any]:
    """Forget a device, its key, its request for a certificate and its label: when it asks again, it is a new one.

    Raises ConflictError for one that is pinned, which would get the next release then.
    """
    if context.fleet.labels.is_pinned(product, device):
        raise ConflictError(f"'{device}' is pinned", "otaseal devices unpin ends that; then forget it")
    changed, who = await _announce(context, caller, (product, device), "forget")
    context.fleet.recorder.forget(product, device.replace(CLAIM_PREFIX, UNPROVEN_PREFIX, 1))
    await asyncio.to_thread(context.fleet.keys.forget, product, device)
    await asyncio.to_thread(context.fleet.enrolments.forget, product, applicant(device))
    await asyncio.to_thread(context.fleet.labels.set, product, device, NO_LABEL)
    return await _finish(context, changed, who, "forget", taken=context.fleet.recorder.forget(product, device))


async def retry(context: OperatorContext, caller: Caller, product: str, device: str) -> dict[str, Any]:
    """Let a device that is stuck or in a loop have its release again."""
    changed, who = await _announce(context, caller, (product, device), "retry")
    return await _finish(context, changed, who, "retry", taken=context.fleet.recorder.retry(product, device))


async def accept(context: OperatorContext, changed: dict[str, Any], who: str, chosen: str) -> dict[str, Any]:
    """Enrol the key that a device shows, the `chosen` one by its fingerprint; `changed` and `who` are of `begin`."""
    shown = context.fleet.shown_key(changed["product"], changed["device"], chosen)
    where = {"address": shown.address, "shown": shown.shown} if isinstance(shown, WaitingKey) else {}
    return await enrol(context, "accept", changed | where, who, shown.key)


async def enrol(context: OperatorContext, event: str, changed: dict[str, Any], who: str, key: bytes) -> dict[str, Any]:
    """Make `key` that of a device, once the audit log says who wanted it; return what has `changed`."""
    product, device = changed["product"], changed["device"]
    changed["key"] = fingerprint(key)
    await asyncio.to_thread(context.catalog.store.record_event, {"event": event, **changed, "by": who})
    await asyncio.to_thread(context.fleet.enrol, product, device, key)
    context.fleet.recorder.retry(product, device)  # what was given in its name before may have been somebody else's
    context.log(event, product, changed["channel"] or "", who, device=device, key=changed["key"])
    return changed


def unseen(product: str, device: str) -> NotFoundError:
    """Return the error that no such device was seen."""
    return NotFoundError(f"no device '{device[:64]}' of '{product}' was seen", "otaseal devices lists them")


def _begun(caller: Caller, named: tuple[str, str], channel: str | None) -> tuple[dict[str, Any], str]:
    product, device = named
    who = caller.require(product, channel or ANY)
    return {"product": product, "channel": channel or None, "device": device}, who


async def _announce(
    context: OperatorContext, caller: Caller, named: tuple[str, str], event: str
) -> tuple[dict[str, Any], str]:
    """Let the audit log say what is about to be done to a device that was seen, and return what `begin` does."""
    channel = await asyncio.to_thread(context.fleet.channel_of, *named)
    if channel is None:
        raise unseen(*named)
    changed, who = _begun(caller, named, channel)
    await asyncio.to_thread(context.catalog.store.record_event, {"event": event, **changed, "by": who})
    return changed, who


async def _finish(
    context: OperatorContext, changed: dict[str, Any], who: str, event: str, *, taken: bool
) -> dict[str, Any]:
    """Wait until a change that was `taken` is written, and return what has `changed`."""
    if not taken:
        raise SystemFaultError("the list of devices is too slow to take a change", "try again in a while")
    await asyncio.to_thread(context.fleet.require_written)
    context.log(event, changed["product"], changed["channel"] or "", who, device=changed["device"])
    return changed
