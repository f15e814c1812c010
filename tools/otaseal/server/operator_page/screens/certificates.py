"""What ends by a date: the server's certificates, the authorities of devices, and what devices were given to trust."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from .... import files
from ....certs import certstore
from ....errors import OtasealError
from ....pki.certificate import Certificate, parse_certificates
from ....release import signed_archive
from ...operator_api.handlers.certs import MAX_CHAIN_BYTES
from ...operator_api.handlers.context import OperatorContext
from ..page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

SOON_SECONDS, URGENT_SECONDS = 30 * 86400.0, 7 * 86400.0


class Ending(NamedTuple):
    """A certificate: what it is, whose, what to do in time, and when it ends, in seconds since 1970."""

    what: str
    name: str
    ends: float
    command: str

    def kind(self, now: float) -> str:
        """How near its end is, as the kind of a badge."""
        left = self.ends - now
        return "bad" if left < URGENT_SECONDS else "warn" if left < SOON_SECONDS else "idle"


async def show(page: Page, visit: Visit) -> Response:
    """Return the certificates, those that end first at the top."""
    product = page.product(visit)
    found = await asyncio.to_thread(lambda: sorted(_all(page.context, product), key=lambda one: one.ends))
    return page.show(visit, "certificates.html", title="Certificates", found=found)


def _all(context: OperatorContext, product: str) -> Iterator[Ending]:
    chain = parse_certificates(files.read_bounded(context.chain, MAX_CHAIN_BYTES, "chain"))
    for certificate in chain:
        yield _ending("Of this server", certificate, "otaseal pki renew")
    for certificate in context.device_authorities:
        yield _ending("Authority of devices", certificate, "otaseal pki list")
    for channel in context.catalog.store.archives(product):
        yield from _trusted(context, product, channel)


def _trusted(context: OperatorContext, product: str, channel: str) -> Iterator[Ending]:
    """Yield what devices of a channel are given to trust; nothing where the archive cannot be read."""
    record = context.catalog.store.archive(product, channel)
    if record is None:
        return
    try:
        signed = signed_archive.read(context.catalog.body(record.blob), list(context.catalog.keys(product).values()))
        anchors = certstore.check(signed.archive, datetime.now(timezone.utc)).anchors
    except OtasealError:  # which the overview tells of, and no device takes it
        return
    for anchor in anchors:
        what = f"Trusted by devices of {channel}"
        yield Ending(what, anchor.subject, anchor.not_after.timestamp(), "otaseal certs deploy data/certs.ar")


def _ending(what: str, certificate: Certificate, command: str) -> Ending:
    return Ending(what, certificate.title, certificate.fields.not_after.timestamp(), command)
