"""The forms of a release: say what it is for, delete it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ....errors import counted
from ....release.notes import SEVERITIES, Notes
from ....release.records import check_version
from ...operator_api import release_changes
from ..forms import Field, Form
from ..page import Page, Visit, address

if TYPE_CHECKING:
    from starlette.responses import Response


async def ask_notes(page: Page, visit: Visit) -> Response:
    """Ask what a release is for."""
    product, version = _named(page, visit)
    form, fields = await _notes(page, product, version)
    return form.ask(page, visit, back=address(product, "releases", version), fields=fields)


async def notes(page: Page, visit: Visit) -> Response | str:
    """Say what a release is for."""
    product, version = _named(page, visit)
    form, fields = await _notes(page, product, version)
    said = Notes(*(visit.form.get(name, "").replace("\r\n", "\n") for name in Notes._fields))

    async def change() -> object:
        return await release_changes.set_notes(page.context, visit.caller, product, version, said)

    back = address(product, "releases", version)
    return await form.run(page, visit, change, back=back, then=back, fields=fields)


async def ask_delete(page: Page, visit: Visit) -> Response:
    """Ask before a release is deleted, and say who runs it."""
    product, version = _named(page, visit)
    form, fields = await _deletion(page, product, version)
    return form.ask(page, visit, back=address(product, "releases", version), fields=fields)


async def delete(page: Page, visit: Visit) -> Response | str:
    """Delete a release."""
    product, version = _named(page, visit)
    form, fields = await _deletion(page, product, version)

    async def change() -> object:
        agreed = "even_if_run" in visit.form
        return await release_changes.delete(page.context, visit.caller, product, version, even_if_run=agreed)

    back, then = address(product, "releases", version), address(product, "releases")
    return await form.run(page, visit, change, back=back, then=then, fields=fields)


async def _notes(page: Page, product: str, version: str) -> tuple[Form, tuple[Field, ...]]:
    said = (await asyncio.to_thread(page.context.notes.of, product)).get(version, Notes())
    fields = (
        Field("severity", "How urgent it is", "select", said.severity, choices=("", *SEVERITIES)),
        Field("notes", "What is new", "area", said.notes, "Devices and Home Assistant are told, too."),
        Field("cves", "What it closes", "text", said.cves, "CVE numbers, separated by blanks."),
        Field("advisory", "Advisory", "area", said.advisory, "What that is, and who is affected."),
    )
    return Form("Notes", f"What is {version} for?", (), "Save"), fields


async def _deletion(page: Page, product: str, version: str) -> tuple[Form, tuple[Field, ...]]:
    release = page.context.catalog.release(product, version)
    running = await asyncio.to_thread(page.context.fleet.running_release, release)
    facts = ["Its files go, and cannot be had back but from a backup."]
    fields: tuple[Field, ...] = ()
    if running:
        facts.append(f"{counted(running, 'device')} run it or were offered it: the server forgets what they run.")
        fields = (Field("even_if_run", "Delete it even so", "check"),)
    return Form("Delete", f"Delete release {version}?", tuple(facts), f"Delete {version}", danger=True), fields


def _named(page: Page, visit: Visit) -> tuple[str, str]:
    """Return product and version in the path; raises InputError, Refused, NotFoundError."""
    product, version = page.product(visit), check_version(visit.request.path_params["version"])
    page.context.catalog.release(product, version)
    return product, version
