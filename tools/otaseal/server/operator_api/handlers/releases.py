"""Endpoints of releases: list them, publish one, read one's firmware back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ....names import check_name
from ....release import records
from ....release.records import Origin, Release, check_version
from ....release.stranding import Consent
from ...catalog import DEFAULT_CHANNEL
from ..publishing import PublishRequest
from ..publishing import publish as publish_release
from ..rollout_options import RolloutOptions
from ..uploads import read_files
from .context import OperatorContext
from .parameters import flag, rehearsal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def releases(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return a product's releases, the latest first, and its channels."""
    product = context.product(request)
    context.require_product(product)
    return await asyncio.to_thread(_list, context, product)


async def publish(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Take the signed files of a release, check them, store them, and point a channel at them."""
    product = check_name(request.path_params["product"], "product")
    version = check_version(request.path_params["version"])
    channel = check_name(request.query_params.get("channel", DEFAULT_CHANNEL), "channel")
    who = context.access.authorise(request, product, channel)
    wanted = _wanted(request, product, version, channel)
    async with context.uploads.turn(who):
        parts = await read_files(request)
        async with context.publishing:
            context.require_product(product)
            published = await asyncio.to_thread(publish_release, context.fleet, parts, wanted, who)
    percent = 100 if wanted.options.percent is None else wanted.options.percent
    details = {"percent": percent, "downgrade": wanted.allow_downgrade, "rehearsal": wanted.rehearsal or None}
    context.log("publish", product, channel, who, version=version, before=published.before, **details)
    effect = await context.effect(product, channel, published.before)
    return {"release": as_json(published.release), **effect, "warnings": published.effect.warnings()}


async def firmware(context: OperatorContext, request: Request) -> Response:
    """Return the bytes of a release, for who publishes to compare."""
    from starlette.responses import Response

    product = context.product(request)
    release = context.catalog.release(product, check_version(request.path_params["version"]))
    form = release.form("raw") or release.forms[0]
    body = context.catalog.body(form.blob)
    return Response(body, headers={"x-MD5": form.md5}, media_type="application/octet-stream")


def as_json(release: Release) -> Any:
    """Return a release as JSON, as its record has it."""
    return json.loads(records.serialise(release))


def _list(context: OperatorContext, product: str) -> dict[str, Any]:
    return {
        "product": product,
        "releases": [as_json(release) for release in context.catalog.releases(product)],
        "channels": context.channels(product),
        "damaged": context.catalog.damage_of(product),
    }


def _wanted(request: Request, product: str, version: str, channel: str) -> PublishRequest:
    query = request.query_params
    return PublishRequest(
        origin=Origin(
            product=product,
            version=version,
            created=query.get("created", ""),
            board=query.get("board", ""),
            git_commit=query.get("commit", ""),
            dirty=flag(query, "dirty"),
        ),
        channel=channel,
        consent=Consent(raise_counter=flag(query, "raise_counter"), strand_devices=flag(query, "strand_devices")),
        options=RolloutOptions.parse(query),
        allow_downgrade=flag(query, "downgrade"),
        rehearsal=rehearsal(query.get("rehearsal")),
    )
