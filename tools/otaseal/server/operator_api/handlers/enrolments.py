"""Endpoints of enrolment: which devices wait for a certificate, and the certificate of one, signed elsewhere."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError
from ....pki.enrolled import check_enrolled, key_id
from ....pki.scope import ANY
from ..device_changes import CLAIM_PREFIX
from ..parameters import DEVICE_NAME, MAX_DEVICE
from ..uploads import read_body
from .context import OperatorContext
from .fields import page_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from ....pki.certificate import Certificate

MAX_BODY = 16 * 1024
"""Of a certificate in PEM, with what people write above it."""


async def enrolments(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Return the requests that wait, by device, a page at a time."""
    product, (after, limit) = context.product(request), page_of(request.query_params)
    waiting = await asyncio.to_thread(context.fleet.enrolments.waiting, product, after, limit + 1, time.time())
    rows = [
        {
            "device": one.device,
            "request": base64.b64encode(one.csr).decode(),
            "proof": one.proof,
            "credential": one.credential,
            "asked": one.asked,
        }
        for one in waiting[:limit]
    ]
    return {"product": product, "enrolments": rows, "next": rows[-1]["device"] if len(waiting) > limit else None}


async def answer_enrolment(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Take the certificate that a device asked for: a device may turn up in any channel, so for who may change all."""
    product, name = context.product(request), request.path_params["device"]
    who = context.access.authorise(request, product, ANY)
    if not re.fullmatch(DEVICE_NAME, name):
        raise ConfigError(f"'{name[:MAX_DEVICE]}' is no device that enrols", "name it by its MAC address")
    device = name.removeprefix(CLAIM_PREFIX).upper()
    data = await read_body(request, MAX_BODY)
    return await asyncio.to_thread(_answer, context, product, device, data, who)


def _answer(context: OperatorContext, product: str, device: str, data: bytes, who: str) -> dict[str, Any]:
    """Keep a certificate for the device that waits for it; the audit log says so first."""
    certificate = check_enrolled(data, device, context.device_authorities, datetime.now(timezone.utc))
    key = key_id(certificate.key)
    request = context.fleet.enrolments.require(product, device, key)
    named = {"device": device, **_shown(certificate), "proof": request.proof, "credential": request.credential}
    context.catalog.store.record_event({"event": "certify", "product": product, **named, "by": who})
    context.fleet.enrolments.answer(product, device, key, certificate.der, certificate.fields.not_after.timestamp())
    context.telemetry.event("certify", product=product, by=who, **named)
    return {"product": product, "device": device, **_shown(certificate)}


def _shown(certificate: Certificate) -> dict[str, str]:
    fields = certificate.fields
    return {"serial": f"{fields.serial:x}", "expires": fields.not_after.isoformat(timespec="seconds")}
