"""What came with a release beside its images: who built it, what it is made of, and its entry in the log.

All of it was checked when the release was published, and is shown as it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ....errors import NotFoundError, OtasealError
from ....release import attachments, provenance
from ....release.attachments import PROVENANCE, SBOM
from ....release.records import check_version
from ..page import HEADERS, Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

MAX_PARTS = 200
"""Parts of an SBOM that are listed; the file has all."""
MAX_DEPTH = 8
"""How deep parts are within parts that are listed: JSON may go deeper than Python calls can."""


async def download(page: Page, visit: Visit) -> Response:
    """Give out an attachment as a file."""
    from starlette.responses import Response

    product, kind = page.product(visit), visit.request.path_params["kind"]
    version = check_version(visit.request.path_params["version"])
    data = await asyncio.to_thread(page.context.catalog.store.attachment, product, version, kind)
    if data is None:
        raise NotFoundError(f"release '{version}' of '{product}' has no {kind}", "it comes with a deployment")
    name = f"{product}-{version}.{kind}.json"
    headers = {**HEADERS, "content-disposition": f'attachment; filename="{name}"'}
    return Response(data, headers=headers, media_type="application/json")


def describe(page: Page, product: str, version: str) -> dict[str, Any]:
    """Return the kinds of a release's attachments, who built it ("" where that is not said), and what it is made of."""
    store = page.context.catalog.store
    kinds = store.attachments(product, version)
    found: dict[str, Any] = {"kinds": kinds, "builder": "", "parts": []}
    for kind in kinds:
        data = store.attachment(product, version, kind) or b""
        try:
            if kind == PROVENANCE:
                found["builder"] = provenance.read(data).builder
            elif kind == SBOM:
                found["parts"] = list(_parts(attachments.parse(kind, data).get("components")))[:MAX_PARTS]
        except OtasealError:
            continue  # `store check` tells of damage; the release is shown without
    return found


def _parts(components: object, depth: int = MAX_DEPTH) -> Iterator[tuple[str, str]]:
    """Yield name and version of each component, of those of several boards below each."""
    for component in components if depth and isinstance(components, list) else ():
        if isinstance(component, dict):
            if isinstance(component.get("name"), str) and "components" not in component:
                yield component["name"], str(component.get("version") or "version unknown")
            yield from _parts(component.get("components"), depth - 1)
