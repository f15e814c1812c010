"""The forms that change a device: try again, forget, label, pin, accept its key, give it a release before its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from ....errors import InputError, NotFoundError
from ....pki.scope import ANY
from ....store.labels import Label, chip_of
from ...operator_api import device_changes, label_changes, rollouts
from ...operator_api.channel_changes import Target
from ...operator_api.label_changes import LabelChange
from ..forms import Field, Form
from ..page import Page, Visit, address

if TYPE_CHECKING:
    from starlette.responses import Response


class Named(NamedTuple):
    """A device of a product, as the list names it."""

    product: str
    device: str

    @property
    def place(self) -> str:
        """The address of its screen."""
        return address(self.product, "device", name=self.device)


Run = Callable[[Page, Visit, Named], Awaitable[object]]
Fields = Callable[[Page, Visit, Named], tuple[Field, ...]]


class _Change(NamedTuple):
    form: Form
    run: Run
    fields: Fields = lambda page, visit, named: ()


async def ask(page: Page, visit: Visit) -> Response:
    """Ask before a device is changed."""
    named, change = Named(page.product(visit), visit.query.get("name", "")), _change(visit)
    await asyncio.to_thread(page.context.fleet.channel_of, *named)
    return change.form.ask(page, visit, back=named.place, fields=_fields(change, page, visit, named))


async def change(page: Page, visit: Visit) -> Response | str:
    """Change a device, and return where to look then."""
    named, change = Named(page.product(visit), visit.form.get("name", "")), _change(visit)

    async def run() -> object:
        return await change.run(page, visit, named)

    then = address(named.product, "devices") if change is CHANGES["forget"] else named.place
    fields = _fields(change, page, visit, named)
    return await change.form.run(page, visit, run, back=named.place, then=then, fields=fields)


def _fields(change: _Change, page: Page, visit: Visit, named: Named) -> tuple[Field, ...]:
    return (Field.hidden("name", named.device), *change.fields(page, visit, named))


def _change(visit: Visit) -> _Change:
    change = CHANGES.get(visit.request.path_params["change"])
    if change is None:
        raise NotFoundError("there is no such page", "go back to the device")
    return change


def _label_fields(page: Page, visit: Visit, named: Named) -> tuple[Field, ...]:
    label = page.context.fleet.labels.get(*named)
    return (
        Field("called", "Name", value=label.name),
        Field("tags", "Tags", value=" ".join(sorted(label.tags)), note="Apart by blanks, as in kitchen beta."),
        Field("note", "Note", "area", label.note),
    )


async def _label(page: Page, visit: Visit, named: Named) -> object:
    before: Label = page.context.fleet.labels.get(*named)
    tags = frozenset(visit.form.get("tags", "").replace(",", " ").split())
    note = visit.form.get("note", "").replace("\r\n", "\n")
    said = LabelChange(visit.form.get("called", ""), note, tags - before.tags, before.tags - tags)
    return await label_changes.label(page.context, visit.caller, *named, said)


def _pin(*, pinned: bool) -> Run:
    async def run(page: Page, visit: Visit, named: Named) -> object:
        return await label_changes.label(page.context, visit.caller, *named, LabelChange(pinned=pinned))

    return run


async def _accept(page: Page, visit: Visit, named: Named) -> object:
    changed, who = await device_changes.begin(page.context, visit.caller, named.product, chip_of(named.device))
    return await device_changes.accept(page.context, changed, who, visit.form.get("key", ""))


async def _grant(page: Page, visit: Visit, named: Named) -> object:
    channel = await asyncio.to_thread(page.context.fleet.channel_of, *named)
    who = visit.caller.require(named.product, channel or ANY)
    if not channel:
        raise InputError(f"'{named.device[:64]}' has asked for no channel yet", "wait until it has asked once")
    return await rollouts.grant(page.context, Target(named.product, channel, who), named.device)


CHANGES = {
    "retry": _Change(
        Form(
            "Try again",
            "Give this device its release again when it asks next?",
            ("What was delivered in vain is forgotten: it counts as a failure no more, until it fails again.",),
            "Try again",
        ),
        lambda page, visit, named: device_changes.retry(page.context, visit.caller, *named),
    ),
    "forget": _Change(
        Form(
            "Forget",
            "Forget this device?",
            (
                "Its history, its name and tags, its key and its request for a certificate go.",
                "When it asks again, it is a new device: what it says halts nothing until the next rollout.",
            ),
            "Forget the device",
            danger=True,
        ),
        lambda page, visit, named: device_changes.forget(page.context, visit.caller, *named),
    ),
    "label": _Change(Form("Name and tags", "What do you call this device?", (), "Save"), _label, _label_fields),
    "pin": _Change(
        Form("Pin", "Keep this device with what it runs?", ("It gets no new release until it is unpinned.",), "Pin"),
        _pin(pinned=True),
    ),
    "unpin": _Change(
        Form("Unpin", "Let this device have releases again?", ("It gets its channel's when it asks next.",), "Unpin"),
        _pin(pinned=False),
    ),
    "accept": _Change(
        Form(
            "Accept the key",
            "Is this the key of the device?",
            ("From then on who shows this key is the device, and nobody else.",),
            "Accept the key",
        ),
        _accept,
        lambda page, visit, named: (Field.hidden("key", (visit.form or visit.query).get("key", "")),),
    ),
    "grant": _Change(
        Form(
            "Give it now",
            "Give this device the release of its channel now?",
            ("It gets it when it asks next, whatever waves and windows say.",),
            "Give it now",
        ),
        _grant,
    ),
}
