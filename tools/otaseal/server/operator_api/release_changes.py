"""What operators do to a release that is there: say what it is for, delete it; for API and page alike."""

from __future__ import annotations

import asyncio
from typing import Any

from ...errors import ConflictError, counted
from ...pki.scope import ANY
from ...release.notes import Notes
from ...release.records import check_version
from ...store import prune
from .auth import Caller
from .handlers.context import OperatorContext


async def set_notes(
    context: OperatorContext, caller: Caller, product: str, version: str, notes: Notes
) -> dict[str, str]:
    """Say what a release is for; for who may change every channel that gives it out. Raises NotFoundError, Refused.

    Raises InputError for what cannot be said.
    """
    context.catalog.release(product, check_version(version))
    giving = [name for name, state in context.catalog.channels(product).items() if version in state.given_out]
    who = ""
    for name in giving or [ANY]:
        who = caller.require(product, name)
    said = await asyncio.to_thread(context.notes.set, product, version, notes)
    event: dict[str, object] = {"event": "notes", "product": product, "version": version, "severity": said.severity}
    if said.cves:
        event["cves"] = said.cves
    await asyncio.to_thread(context.catalog.store.record_event, {**event, "by": who})
    context.changes.tell("releases", product)
    context.log("notes", product, "", who, version=version, severity=said.severity)
    return {"product": product, "version": version, **said._asdict()}


async def delete(
    context: OperatorContext, caller: Caller, product: str, version: str, *, even_if_run: bool
) -> dict[str, Any]:
    """Delete a release that no channel needs, `even_if_run` by devices; for who may change all channels.

    Raises NotFoundError, Refused, ConflictError. Devices that run it go on, and get other releases, but what they run
    is unknown then: they get no patches, and nobody can say whether the next release would strand them.
    """
    who = caller.require(product, ANY)
    release = context.catalog.release(product, check_version(version))
    async with context.publishing:
        running = await asyncio.to_thread(context.fleet.running_release, release)
        if running and not even_if_run:
            raise ConflictError(
                f"{counted(running, 'device')} run or were offered release '{version}'",
                "give them another release first; or, if the server may forget what they run: --even-if-run",
            )
        await asyncio.to_thread(prune.delete, context.catalog.store, product, version, who)
        await asyncio.to_thread(context.catalog.known, product)  # which lets go of it
    await asyncio.to_thread(context.notes.set, product, version, Notes())
    context.log("delete", product, "", who, version=version, devices=running)
    return {"product": product, "version": version, "devices": running}
