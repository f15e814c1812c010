"""Endpoints of devices: list those seen, forget one, let one try again, enrol or accept its key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError
from ....names import check_name
from ....release.evidence import PROVEN_PREFIX, UNPROVEN_PREFIX, proof_of
from ....release.records import check_version
from ....store.device_rows import STATES, Selection
from ....store.proof_key_rows import ProofKey, WaitingKey
from ....store.proof_keys import FINGERPRINT, fingerprint
from .. import device_changes
from ..device_changes import CLAIM_PREFIX
from ..fleet import Listed
from ..schemas import DEVICE_NAME, KEY_FINGERPRINT, MAX_DEVICE, MAX_DEVICES, PROOF_KEY
from ..uploads import read_json
from .context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request


async def list_devices(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the devices seen, a page at a time: what each runs, when it asked last, whether it is stuck."""
    product, query = context.product(request), request.query_params
    selection, (after, limit) = selection_of(context, product, query), page_of(query)
    listed = await asyncio.to_thread(context.fleet.page, product, selection, after, limit + 1)
    rows = [_as_json(one) for one in listed[:limit]]
    return {"product": product, "devices": rows, "next": rows[-1]["device"] if len(listed) > limit else None}


async def show_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return what is known of one device and of its key, and what others said in its name."""
    product, device = context.product(request), _device(request)
    names = [device.replace(CLAIM_PREFIX, prefix, 1) for prefix in (CLAIM_PREFIX, PROVEN_PREFIX, UNPROVEN_PREFIX)]
    rows = await asyncio.to_thread(context.fleet.named, product, names)
    keys = context.fleet.keys
    key, waiting = keys.get(product, device), keys.waiting(product, device)
    if not rows and key is None:
        raise device_changes.unseen(product, device)
    return {
        "product": product,
        "device": device,
        "key": None if key is None else _shown(key, accepted=keys.accepts(key)),
        "waiting": None if waiting is None else _shown(waiting, accepted=False),
        "rows": [_as_json(row) for row in rows],
    }


async def forget_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Forget a device: `{"device": ...}`. When it asks again, it is a new one."""
    product, device = await _named(context, request)
    return await device_changes.forget(context, context.access.caller(request), product, device)


async def retry_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Let a device that is stuck or in a loop have its release again: `{"device": ...}`."""
    product, device = await _named(context, request)
    return await device_changes.retry(context, context.access.caller(request), product, device)


async def enrol_key(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Make a key that of a device, as read from it at the bench: `{"key": <64 hex digits>}`."""
    product, device = context.product(request), _device(request)
    changed, who = await device_changes.begin(context, context.access.caller(request), product, device)
    key = (await read_json(request, ("key",))).get("key")
    if not isinstance(key, str) or not re.fullmatch(PROOF_KEY, key):
        raise ConfigError("no key is given", "give the 64 hex digits that the device says, in the field 'key'")
    return await device_changes.enrol(context, "enrol", changed, who, bytes.fromhex(key))


async def accept_key(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Enrol the key that a device shows: a new one, or the one that was agreed at first contact.

    `{"key": <fingerprint>}` says which one; `{}` where it can be only one.
    """
    product, device = context.product(request), _device(request)
    changed, who = await device_changes.begin(context, context.access.caller(request), product, device)
    chosen = (await read_json(request, ("key",))).get("key", "")
    if not isinstance(chosen, str) or (chosen and not re.fullmatch(KEY_FINGERPRINT, chosen)):
        raise ConfigError("that is no key's fingerprint", f"give its {FINGERPRINT} hex digits: otaseal devices show")
    return await device_changes.accept(context, changed, who, chosen)


def _as_json(listed: Listed) -> dict[str, Any]:
    device, version, evidence = listed
    proof = proof_of(device.device, device.sequence, device.enrolled)
    shown = {"state": device.state, "running": version, "evidence": evidence.value, "proof": proof.value}
    return {**device._asdict(), **shown}


def _shown(key: ProofKey | WaitingKey, *, accepted: bool) -> dict[str, Any]:
    """Return what people may see of a key."""
    if isinstance(key, WaitingKey):
        how, since, address = "shown in place of the known one", key.shown, key.address
    elif key.enrolled is not None:
        how, since, address = "enrolled", key.enrolled, ""
    else:
        how, since, address = "agreed at first contact", key.agreed or 0.0, ""
    return {"key": fingerprint(key.key), "how": how, "since": since, "accepted": accepted, "address": address}


def _device(request: Request) -> str:
    """Return the device that a path names by its MAC address; raises ConfigError."""
    name = request.path_params["device"]
    if not re.fullmatch(DEVICE_NAME, name):
        raise ConfigError(
            f"'{name[:MAX_DEVICE]}' is no device with a key", "name it by its MAC address, as in 5C:CF:7F:F0:04:CB"
        )
    return CLAIM_PREFIX + str(name).removeprefix(CLAIM_PREFIX).upper()


async def _named(context: OperatorContext, request: Request) -> tuple[str, str]:
    """Return the product, and the device that the body names; raises ConfigError, Refused."""
    product = context.product(request)
    device = (await read_json(request, ("device",))).get("device")
    if not isinstance(device, str) or not 0 < len(device) <= MAX_DEVICE:
        raise ConfigError("no device is named", "name it in the field 'device', as otaseal devices lists it")
    return product, device


def selection_of(context: OperatorContext, product: str, query: Mapping[str, str]) -> Selection:
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


def page_of(query: Mapping[str, str]) -> tuple[str, int]:
    """Return which page of a list is meant: behind which name, and of how many rows at most; raises ConfigError."""
    after, limit = query.get("after", ""), query.get("limit", str(MAX_DEVICES))
    if len(after) > MAX_DEVICE:
        raise ConfigError(f"after '{after[:32]}...' is no device's name", "give the `next` of the page before")
    if not re.fullmatch("[0-9]{1,9}", limit) or not 1 <= int(limit) <= MAX_DEVICES:
        raise ConfigError(
            f"limit '{limit[:32]}' is not a valid number of devices", f"use a whole number from 1 to {MAX_DEVICES}"
        )
    return after, int(limit)
