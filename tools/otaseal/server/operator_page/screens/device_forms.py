"""The forms that change a device: try again, forget, label, pin, accept its key, give it a release before its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from ....errors import InputError, NotFoundError
from ....pki.scope import ANY
from ....store.labels import Label, chip_of
from ...operator_api import device_changes, label_changes, rollouts
from ...operator_api.channel_changes import Target
from ...operator_api.label_changes import LabelChange
from ..forms import Asked, Field, Form
from ..page import Page, Visit, address


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


async def change(page: Page, visit: Visit) -> Asked:
    """Ask before a device is changed, and change it."""
    named, name = Named(page.product(visit), visit.given.get("name", "")), visit.request.path_params["change"]
    change = CHANGES.get(name)
    if change is None:
        raise NotFoundError("there is no such page", "go back to the device")
    form = replace(change.form, fields=(Field.hidden("name", named.device), *change.fields(page, visit, named)))
    then = address(named.product, "devices") if name == "forget" else ""
    return Asked(form, named.place, lambda: change.run(page, visit, named), then)


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
        lambda page, visit, named: (Field.hidden("key", visit.given.get("key", "")),),
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
