"""The releases: what each is, who runs it, and where it is given out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....pki.scope import ANY, NONE
from ....release.records import check_version
from ..page import Page, Visit
from .attached import describe

if TYPE_CHECKING:
    from starlette.responses import Response


async def listed(page: Page, visit: Visit) -> Response:
    """Return the releases of a product, the latest first."""
    product, catalog = page.product(visit), page.context.catalog
    values: dict[str, Any] = {
        "releases": await asyncio.to_thread(catalog.releases, product),
        "given": _given_out(page, product),
        "notes": await asyncio.to_thread(page.context.notes.of, product),
        "damaged": catalog.damage_of(product),
        "may_publish": any(one.product in (ANY, product) and one.channel != NONE for one in visit.caller.scopes),
    }
    return page.show(visit, "releases.html", title="Releases", **values)


async def show(page: Page, visit: Visit) -> Response:
    """Return one release: its images and their forms, its patches, and who runs it."""
    product, context = page.product(visit), page.context
    release = context.catalog.release(product, check_version(visit.request.path_params["version"]))
    channels = context.catalog.channels(product)

    def running() -> dict[str, int]:
        counts = {name: context.fleet.versions(product, name).get(release.version, 0) for name in channels}
        return {name: count for name, count in counts.items() if count}

    values: dict[str, Any] = {
        "release": release,
        "channels": sorted(channels),
        "given": _given_out(page, product).get(release.version, []),
        "running": await asyncio.to_thread(running),
        "notes": (await asyncio.to_thread(context.notes.of, product)).get(release.version),
        "attached": await asyncio.to_thread(describe, page, product, release.version),
        "deletable": not any(release.version in state.versions for state in channels.values()),
        "patches": [made for made in context.patches.made(product) if made.version == release.version],
    }
    return page.show(visit, "release.html", title=release.version, **values)


def _given_out(page: Page, product: str) -> dict[str, list[str]]:
    """Return in which channels each version is given out."""
    given: dict[str, list[str]] = {}
    for name, state in page.context.catalog.channels(product).items():
        for version in state.given_out:
            given.setdefault(version, []).append(name)
    return given
