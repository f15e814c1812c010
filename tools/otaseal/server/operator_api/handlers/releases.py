"""Endpoints of releases: list them, publish one, read one's firmware back."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError, NotFoundError
from ....release import record_json
from ....release.notes import Notes
from ....release.records import Origin, check_version
from ....release.stranding import Consent
from .. import publishing, release_changes
from ..openapi import JSON
from ..parameters import REHEARSALS
from ..rollout_options import RolloutOptions
from ..uploads import read_json, read_upload
from .context import OperatorContext
from .fields import flag_of, page_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


MAX_ENTRIES = 500
"""Of the log in one answer."""


async def releases(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return a product's releases, the latest first, its channels, and the patches that were made."""
    product = context.product(request)
    return await asyncio.to_thread(_listed, context, product)


async def publish(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Take the signed files of a release, check them, store them, and point a channel at them."""
    product, channel, who = context.channel(request)
    version, query = check_version(request.path_params["version"]), request.query_params
    publication = publishing.Publication(
        origin=Origin(
            product=product,
            version=version,
            created=query.get("created", ""),
            git_commit=query.get("commit", ""),
            dirty=flag_of(query, "dirty"),
        ),
        boards=tuple(query.get("board", "").split(",")),
        channel=channel,
        consent=Consent(raise_counter=flag_of(query, "raise_counter"), strand_devices=flag_of(query, "strand_devices")),
        options=RolloutOptions.parse(query),
        allow_downgrade=flag_of(query, "downgrade"),
        rehearsal=rehearsal(request),
        who=who,
    )
    async with context.uploads.turn(context.access.caller(request).key):
        upload = await read_upload(request)
        context.channel(request)
        return await publishing.publish(context, upload, publication)


async def firmware(context: OperatorContext, request: Request) -> Response:
    """Return the bytes of a release, for who publishes to compare."""
    from starlette.responses import Response

    product = context.product(request)
    release = context.catalog.release(product, check_version(request.path_params["version"]))
    image = release.for_board(request.query_params.get("board_id"))
    if image is None:
        boards = ", ".join(str(image.board_key) for image in release.images)
        raise NotFoundError(f"release '{release.version}' has no image for that board", f"give board_id: {boards}")
    form = image.form("raw") or image.forms[0]
    body = context.catalog.body(form.blob)
    return Response(body, headers={"x-MD5": form.md5}, media_type="application/octet-stream")


async def attachment(context: OperatorContext, request: Request) -> Response:
    """Return an attachment of a release as it was sent."""
    from starlette.responses import Response

    product, kind = context.product(request), request.path_params["kind"]
    version = check_version(request.path_params["version"])
    context.catalog.release(product, version)
    data = await asyncio.to_thread(context.catalog.store.attachment, product, version, kind)
    if data is None:
        raise NotFoundError(
            f"release '{version}' of '{product}' has no {kind}", "it comes with a deployment that has one to send"
        )
    return Response(data, headers={"cache-control": "no-store"}, media_type=JSON)


async def log(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the log of a product's releases, a page at a time, and where it ends."""
    product, (after, limit) = context.product(request), page_of(request.query_params)
    return await asyncio.to_thread(_log_page, context, product, after, min(limit, MAX_ENTRIES))


def _log_page(context: OperatorContext, product: str, after: str, limit: int) -> dict[str, Any]:
    if after and not re.fullmatch(r"[0-9]{1,8}", after):
        raise ConfigError(f"'{after[:32]}' is no entry of the log", "give the `next` of the page before")
    store, first = context.catalog.store, int(after or 0) + 1
    head = store.log_head(product)
    last = min(head.number, first + limit - 1)
    return {
        "product": product,
        "head": head._asdict(),
        "entries": [store.log_entry(product, number).decode() for number in range(first, last + 1)],
        "next": str(last) if last < head.number else None,
    }


async def set_notes(context: OperatorContext, request: Request) -> dict[str, str]:
    """Say what a release is for; what is not in the body stays as it was."""
    product, caller = context.product(request), context.access.caller(request)
    version, body = check_version(request.path_params["version"]), await read_json(request, Notes._fields)
    for name, value in body.items():
        if not isinstance(value, str):
            raise ConfigError(f"{name} is '{str(value)[:32]}'", "use a text")
    before = (await asyncio.to_thread(context.notes.of, product)).get(version, Notes())
    return await release_changes.set_notes(context, caller, product, version, before._replace(**body))


async def delete_release(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Delete a release that no channel needs."""
    product, caller = context.product(request), context.access.caller(request)
    version, agreed = check_version(request.path_params["version"]), flag_of(request.query_params, "even_if_run")
    return await release_changes.delete(context, caller, product, version, even_if_run=agreed)


def rehearsal(request: Request) -> str:
    """Return the outcome of the rehearsal before an upload, "" where the query has none; raises ConfigError."""
    value = request.query_params.get("rehearsal", "")
    if "rehearsal" in request.query_params and value not in REHEARSALS:
        raise ConfigError(f"rehearsal '{value[:32]}' is unknown", f"say one of {', '.join(REHEARSALS)}")
    return value


def _listed(context: OperatorContext, product: str) -> dict[str, Any]:
    return {
        "product": product,
        "releases": [record_json.to_json(release) for release in context.catalog.releases(product)],
        "channels": context.channels(product),
        "notes": {version: said._asdict() for version, said in context.notes.of(product).items()},
        "attachments": _attachments(context, product),
        "patches": [made._asdict() for made in context.patches.made(product)],
        "damaged": context.catalog.damage_of(product),
        "alarms": [alarm._asdict() for alarm in context.telemetry.alarms.listed(product) if alarm.until is None],
    }


def _attachments(context: OperatorContext, product: str) -> dict[str, list[str]]:
    """Return the kinds of attachments by version, of the releases that have any."""
    store = context.catalog.store
    found = ((version, list(store.attachments(product, version))) for version in store.releases(product))
    return {version: kinds for version, kinds in found if kinds}
