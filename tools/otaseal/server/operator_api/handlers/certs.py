"""Endpoints of certificate archives: taken when devices would still accept this server with them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .... import files
from ....errors import NotFoundError
from ....release import signed_archive
from ....release.archive_record import ArchiveRecord
from ....release.signed_archive import PresentedChain
from ..uploads import read_upload
from .context import OperatorContext
from .releases import rehearsal

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_CHAIN_BYTES = 256 * 1024
MAX_NAMES = 8


async def certs(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return which certificate archive a channel gives out."""
    product, channel, _ = context.channel(request)
    record = context.catalog.store.archive(product, channel)
    if record is None:
        raise NotFoundError(
            f"channel '{channel}' of '{product}' gives out no certificates", "otaseal certs deploy gives it some"
        )
    return {"certs": asdict(record)}


async def publish_certs(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Take a signed certificate archive, check it, and give it out in a channel."""
    product, channel, who = context.channel(request)
    rehearsed = rehearsal(request)
    logged = {"by": who, **({"rehearsal": rehearsed} if rehearsed else {})}
    async with context.uploads.turn(context.access.caller(request).key):
        data = b"".join((await read_upload(request)).files)
        context.channel(request)
        async with context.publishing:
            record = await asyncio.to_thread(_publish, context, product, channel, data, logged)
    details = {"archive": record.archive, "certificates": record.certificates, "rehearsal": rehearsed or None}
    context.log("certs", product, channel, who, **details)
    return {"certs": asdict(record), **asdict(context.endpoint)}


def _publish(
    context: OperatorContext, product: str, channel: str, data: bytes, logged: dict[str, str]
) -> ArchiveRecord:
    """Give out the signed archive `data` in a channel; raises what `signed_archive.admit` and the store raise."""
    store = context.catalog.store
    current = store.archive(product, channel)
    keys = list(context.catalog.keys(product).values())
    presented = presented_chain(context.chain, context.names)
    record = signed_archive.admit(data, product, keys, current, presented, datetime.now(timezone.utc))
    if current is not None and current.blob == record.blob:
        return current  # sent once more, after a lost answer or by a repeated CI run
    expected = 0 if current is None else current.generation
    return store.publish_archive(product, channel, record, data, expected=expected, **logged)


def presented_chain(chain: Path, names: tuple[str, ...]) -> PresentedChain:
    """Return the certificates in the file `chain`, and the `names` by which devices call it, else those in it (F22)."""
    from ....pki.certificate import parse_certificates

    certificates = parse_certificates(files.read_bounded(chain, MAX_CHAIN_BYTES, "chain"))
    alternatives = certificates[0].alternatives
    hosts = alternatives.hosts[:MAX_NAMES] if alternatives else ()
    return PresentedChain([certificate.der for certificate in certificates], names or hosts)
