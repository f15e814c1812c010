"""Endpoints of devices: list, count and show those seen, label one, forget it, let it try again, accept its key."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError
from ....pki.scope import ANY
from ....store.labels import chip_of
from ....store.proof_keys import FINGERPRINT
from ....store.tag_rules import TagRule
from .. import device_changes, device_list, device_view, label_changes
from ..device_changes import CLAIM_PREFIX
from ..device_list import Query
from ..label_changes import LabelChange
from ..parameters import DEVICE_NAME, KEY_FINGERPRINT, MAX_DEVICE, PROOF_KEY
from ..uploads import read_body, read_json
from .context import OperatorContext
from .fields import device_in, flag_in, page_of, tags_in, text_in

if TYPE_CHECKING:
    from starlette.requests import Request

LABEL_FIELDS = ("device", "name", "note", "tag", "untag", "pinned")


async def list_devices(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the devices seen, a page at a time: what each runs, when it asked last, whether it is stuck."""
    product, given = context.product(request), request.query_params
    query, (after, limit) = Query.parse(given), page_of(given)
    return await asyncio.to_thread(device_list.page, context.fleet, product, query, after, limit)


async def count_devices(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return how many devices there are of each kind: each is the total of a list with that filter."""
    product, query = context.product(request), Query.parse(request.query_params)
    return await asyncio.to_thread(device_list.counts, context.fleet, product, query.channel)


async def show_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return what is known of one device and of its key, and what others said in its name."""
    product, device = context.product(request), _any_device(request)
    return await asyncio.to_thread(device_view.show, context.fleet, product, device)


async def forget_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Forget a device: `{"device": ...}`. When it asks again, it is a new one."""
    product, device = await _named(context, request)
    return await device_changes.forget(context, context.access.caller(request), product, device)


async def retry_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Let a device that is stuck or in a loop have its release again: `{"device": ...}`."""
    product, device = await _named(context, request)
    return await device_changes.retry(context, context.access.caller(request), product, device)


async def label_device(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Say something of a device: its name, a note, tags to add or take off, whether it stays with what it runs."""
    product = context.product(request)
    body = await read_json(request, LABEL_FIELDS)
    device = device_in(body)
    said = LabelChange(
        text_in(body, "name"),
        text_in(body, "note"),
        tags_in(body, "tag"),
        tags_in(body, "untag"),
        None if body.get("pinned") is None else flag_in(body, "pinned"),
    )
    return await label_changes.label(context, context.access.caller(request), product, device, said)


async def import_labels(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Take names, tags and notes of devices from a CSV file: all of it, or nothing."""
    product, caller = context.product(request), context.access.caller(request)
    caller.require(product, ANY)
    async with context.uploads.turn(caller.key):
        data = await read_body(request, label_changes.MAX_CSV)
    return await label_changes.import_csv(context, context.access.caller(request), product, data)


async def tag_rules(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the rules by which devices have tags."""
    return label_changes.rules_of(context, context.product(request))


async def set_tag_rule(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Let all devices that fit have a tag: `{"tag": ..., "board": ..., ...}`, patterns with * and ?."""
    product, caller = context.product(request), context.access.caller(request)
    body = await read_json(request, TagRule._fields)
    parts = {name: text_in(body, name) or "" for name in TagRule._fields}
    return await label_changes.set_rule(context, caller, product, TagRule(**parts))


async def drop_tag_rule(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Remove the rule for a tag: `{"tag": ...}`."""
    product, caller = context.product(request), context.access.caller(request)
    tag = text_in(await read_json(request, ("tag",)), "tag") or ""
    return await label_changes.drop_rule(context, caller, product, tag)


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


def _device(request: Request) -> str:
    """Return the device that a path names by its MAC address; raises ConfigError."""
    name = request.path_params["device"]
    if not re.fullmatch(DEVICE_NAME, name):
        raise ConfigError(
            f"'{name[:MAX_DEVICE]}' is no device with a key", "name it by its MAC address, as in 5C:CF:7F:F0:04:CB"
        )
    return CLAIM_PREFIX + str(name).removeprefix(CLAIM_PREFIX).upper()


def _any_device(request: Request) -> str:
    """Return the device that a path names, by its MAC address or as it is listed."""
    name = str(request.path_params["device"])
    return _device(request) if re.fullmatch(DEVICE_NAME, name) else chip_of(name)


async def _named(context: OperatorContext, request: Request) -> tuple[str, str]:
    """Return the product, and the device that the body names; raises ConfigError, Refused."""
    return context.product(request), device_in(await read_json(request, ("device",)))
