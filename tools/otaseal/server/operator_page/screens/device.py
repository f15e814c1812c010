"""One device: what it tells, what became of its last update, its key; and what can be done about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from ....errors import NotFoundError
from ....release.device_errors import in_words
from ....release.evidence import PROVEN_PREFIX, UNPROVEN_PREFIX, proof_of
from ....store.device_rows import Device
from ...operator_api import device_changes
from ...operator_api.device_changes import CLAIM_PREFIX
from ..forms import Field, Form
from ..page import Page, Visit, address

if TYPE_CHECKING:
    from starlette.responses import Response


class Moment(NamedTuple):
    """Something that happened to a device: when, in seconds since 1970, in words; `kind` as a badge's."""

    when: float
    words: str
    kind: str = "idle"


async def show(page: Page, visit: Visit) -> Response:
    """Return what is known of a device, which the query names as the list does."""
    product, context, name = page.product(visit), page.context, visit.query.get("name", "")
    bare = name.partition(":")[2]
    names = dict.fromkeys((name, *(f"{prefix}{bare}" for prefix in (CLAIM_PREFIX, PROVEN_PREFIX, UNPROVEN_PREFIX))))
    rows = await asyncio.to_thread(context.fleet.named, product, list(names))
    keys = context.fleet.keys
    key, waiting = keys.get(product, name), keys.waiting(product, name)
    own = next((row for row in rows if row.device.device == name), None)
    if own is None and key is None:
        raise device_changes.unseen(product, name)
    values: dict[str, Any] = {
        "name": name,
        "own": own,
        "others": [row for row in rows if row.device.device != name],
        "key": key,
        "waiting": waiting,
        "accepted": key is not None and keys.accepts(key),
        "proof": None if own is None else proof_of(name, own.device.sequence, own.device.enrolled),
        "moments": [] if own is None else moments(own.device),
        "error": "" if own is None else in_words(own.device.error),
    }
    return page.show(visit, "device.html", title=name, **values)


def moments(device: Device) -> list[Moment]:
    """Return what is known to have happened to a device, the latest first."""
    offered = device.offered or "a release"
    times = f", {device.deliveries} times" if device.deliveries > 1 else ""
    happened = (
        (device.first_seen, "seen for the first time", "idle"),
        (device.offered_at, f"offered {offered}", "busy"),
        (device.delivered_at, f"downloaded {offered}{times}", "busy"),
        (device.confirmed_at, f"came back with {offered}", "good"),
        (device.failed_at, f"came back without {offered}", "bad"),
        (device.elsewhere_at, f"{device.elsewhere} was downloaded in its name from elsewhere", "warn"),
        (device.last_seen, "asked last", "idle"),
    )
    known = [Moment(when, words, kind) for when, words, kind in happened if when is not None]
    return sorted(known, key=lambda one: one.when, reverse=True)


CHANGES = {
    "retry": Form(
        title="Try again",
        question="Give this device its release again when it asks next?",
        facts=("What was delivered in vain is forgotten, and counts as a failure no more until it fails again.",),
        action="Try again",
    ),
    "forget": Form(
        title="Forget",
        question="Forget this device?",
        facts=(
            "Its history here, its key and its request for a certificate go.",
            "When it asks again, it is a new device: what it says counts for nothing until the next rollout.",
        ),
        action="Forget the device",
        danger=True,
    ),
}


async def ask(page: Page, visit: Visit) -> Response:
    """Ask before a device is changed."""
    product, name, form = page.product(visit), visit.query.get("name", ""), _form(visit)
    await asyncio.to_thread(page.context.fleet.channel_of, product, name)
    return form.ask(page, visit, back=address(product, "device", name=name), fields=(Field.hidden("name", name),))


async def change(page: Page, visit: Visit) -> Response | str:
    """Change a device, and return where to look then."""
    product, name, form = page.product(visit), visit.form.get("name", ""), _form(visit)
    run = {"retry": device_changes.retry, "forget": device_changes.forget}[visit.request.path_params["change"]]
    back = address(product, "device", name=name)

    async def change() -> object:
        return await run(page.context, visit.caller, product, name)

    then = address(product, "devices") if form.danger else back
    return await form.run(page, visit, change, back=back, then=then, fields=(Field.hidden("name", name),))


def _form(visit: Visit) -> Form:
    form = CHANGES.get(visit.request.path_params["change"])
    if form is None:
        raise NotFoundError("there is no such page", "go back to the device")
    return form
