"""Requests that devices made over the air, and that wait at the server for the machine with the authorities.

What the server says is checked here again. That a request is a renewal is the server's word, and the certificate that
it names has to be the device's, valid and not revoked, in our own index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..client.client import product_path
from ..errors import InputError, SystemFaultError
from ..pki.enrolment import Request, decode_request
from ..pki.index import Entry
from ..pki.profile import Role

if TYPE_CHECKING:
    from ..client.client import Client
    from ..pki.certificate import Certificate
    from ..pki.store import Store

MAX_WAITING = 10_000
"""Requests that one call reads: what is more waits for the next."""
CERTIFICATE = "certificate"
"""The `proof` of a request that was made with the certificate before; else "claim" or "key"."""


@dataclass(frozen=True)
class Waiting:
    """A request at the server: what the device showed for it (`proof`, and its number in `credential`).

    `request` is None where it is not to be signed, and `refusal` says why.
    """

    device: str
    proof: str
    credential: str
    request: Request | None = field(repr=False)
    refusal: str = ""


def fetch(client: Client, product: str) -> list[Waiting]:
    """Return the requests that wait; raises as `Client.get`, SystemFaultError for an answer that is none."""
    waiting: list[Waiting] = []
    for row in _rows(client, product):
        waiting.append(_read(row))
        if len(waiting) == MAX_WAITING:
            break
    return waiting


def is_renewal(waiting: Waiting, entries: Sequence[Entry], now: datetime) -> bool:
    """Tell whether a device asks for its next certificate and showed one that is valid and not revoked."""
    serial = waiting.credential.lower().lstrip("0")
    return waiting.proof == CERTIFICATE and any(
        (entry.role, entry.name, entry.serial) == (Role.DEVICE.value, waiting.device, serial) and entry.valid_at(now)
        for entry in entries
    )


def answer(client: Client, product: str, store: Store, waiting: Waiting, *, now: datetime, days: int) -> Certificate:
    """Sign a request, give the certificate to the server, and return it.

    Where the server refuses it, it is revoked and InputError says so; where the server does not answer, it is kept, and
    the next call sends the same again: raises SystemFaultError.
    """
    assert waiting.request is not None
    before = {entry.serial for entry in store.list()}
    certificate = store.enroll(waiting.request, now=now, days=days)
    try:
        client.put(product_path(product, "enrolments", waiting.device), certificate.der)
    except InputError as error:
        if certificate.serial not in before:
            store.revoke(Role.DEVICE, waiting.device, now=now, serial=certificate.serial)
            error.message += f"; certificate {certificate.serial} of '{waiting.device}' is revoked"
        raise
    return certificate


def _rows(client: Client, product: str) -> Iterator[Mapping[str, Any]]:
    path, after = product_path(product, "enrolments"), ""
    while True:
        reply = client.get(f"{path}?{urlencode({'after': after})}" if after else path)
        rows, following = reply.get("enrolments"), reply.get("next")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SystemFaultError(f"'{client.url}' lists no enrolments", "update otaseal on the server")
        yield from rows
        if not isinstance(following, str) or not rows or following <= after:
            return
        after = following


def _read(row: Mapping[str, Any]) -> Waiting:
    device, proof, credential, text = (str(row.get(name, "")) for name in ("device", "proof", "credential", "request"))
    try:
        request = decode_request(text)
        if request.device != device:
            raise InputError(f"the request is for '{request.device}'", "")
    except InputError as error:
        return Waiting(device, proof, credential, None, error.message)
    return Waiting(device, proof, credential, request)
