"""The forms of a release: say what it is for, delete it."""

from __future__ import annotations

import asyncio

from ....errors import counted
from ....release.notes import NO_NOTES, SEVERITIES, Notes
from ....release.records import check_version
from ...operator_api import release_changes
from ..forms import Asked, Field, Form
from ..page import Page, Visit, address


async def notes(page: Page, visit: Visit) -> Asked:
    """Ask what a release is for, and say so."""
    product, version = _named(page, visit)
    said = Notes(*(visit.form.get(name, "").replace("\r\n", "\n") for name in Notes._fields))

    async def change() -> object:
        return await release_changes.set_notes(page.context, visit.caller, product, version, said)

    before = (await asyncio.to_thread(page.context.notes.of, product)).get(version, NO_NOTES)
    return Asked(_about(version, before), address(product, "releases", version), change)


async def delete(page: Page, visit: Visit) -> Asked:
    """Ask before a release is deleted, say who runs it, and delete it."""
    product, version = _named(page, visit)

    async def change() -> object:
        agreed = "even_if_run" in visit.form
        return await release_changes.delete(page.context, visit.caller, product, version, even_if_run=agreed)

    back, then = address(product, "releases", version), address(product, "releases")
    return Asked(await _deletion(page, product, version), back, change, then)


def _about(version: str, said: Notes) -> Form:
    fields = (
        Field("severity", "How urgent it is", "select", said.severity, choices=("", *SEVERITIES)),
        Field("notes", "What is new", "area", said.notes, "Devices and Home Assistant are told, too."),
        Field("cves", "What it closes", "text", said.cves, "CVE numbers, separated by blanks."),
        Field("advisory", "Advisory", "area", said.advisory, "What that is, and who is affected."),
    )
    return Form("Notes", f"What is {version} for?", (), "Save", fields)


async def _deletion(page: Page, product: str, version: str) -> Form:
    release = page.context.catalog.release(product, version)
    running = await asyncio.to_thread(page.context.fleet.running_release, release)
    facts = ["Its files go, and cannot be had back but from a backup."]
    fields: tuple[Field, ...] = ()
    if running:
        facts.append(f"{counted(running, 'device')} run it or were offered it: the server forgets what they run.")
        fields = (Field("even_if_run", "Delete it even so", "check"),)
    return Form("Delete", f"Delete release {version}?", tuple(facts), f"Delete {version}", fields, danger=True)


def _named(page: Page, visit: Visit) -> tuple[str, str]:
    """Return product and version in the path; raises InputError, Refused, NotFoundError."""
    product, version = page.product(visit), check_version(visit.request.path_params["version"])
    page.context.catalog.release(product, version)
    return product, version
