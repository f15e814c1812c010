"""Requests that devices made over the air, and that wait at the server for the machine with the authorities.

What the server says is checked here again. That a request is a renewal is the server's word, and the certificate that
it names has to be the device's, valid and not revoked, in our own index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from ..client import enrolments
from ..client.enrolments import Enrolment
from ..errors import InputError
from ..pki.enrolment import Request, check_request
from ..pki.index import Entry
from ..pki.profile import Role

if TYPE_CHECKING:
    from ..client.client import Client
    from ..pki.certificate import Certificate
    from ..pki.store import Store

MAX_WAITING = 10_000
"""Requests that one call reads: what is more waits for the next."""


@dataclass(frozen=True)
class Waiting:
    """A device that waits, as the server has it; `request` is None where it is not to be signed: `refusal` says why."""

    enrolment: Enrolment
    request: Request | None = field(repr=False)
    refusal: str = ""

    @property
    def device(self) -> str:
        """Its MAC address."""
        return self.enrolment.device


def fetch(client: Client, product: str, store: Store, now: datetime) -> list[Waiting]:
    """Return the requests that wait; raises as `Client.get`, and InputError for a damaged `store`."""
    valid = {entry.name: entry for entry in store.list() if entry.role == Role.DEVICE.value and entry.valid_at(now)}
    found = (_checked(one) for one in islice(enrolments.waiting(client, product), MAX_WAITING))
    return [_refused_takeover(one, valid.get(one.device), store) for one in found]


def is_renewal(waiting: Waiting, entries: Sequence[Entry], now: datetime) -> bool:
    """Tell whether a device asks for its next certificate and showed one that is valid and not revoked."""
    shown = (Role.DEVICE.value, waiting.device, waiting.enrolment.credential)
    return waiting.enrolment.renews and any(
        (entry.role, entry.name, entry.serial) == shown and entry.valid_at(now) for entry in entries
    )


def answer(client: Client, product: str, store: Store, request: Request, *, now: datetime, days: int) -> Certificate:
    """Sign a request, give the certificate to the server, and return it.

    Where the server refuses it, it is revoked and InputError says so; where the server does not answer, it is kept, and
    the next call sends the same again: raises SystemFaultError.
    """
    before = {entry.serial for entry in store.list()}
    certificate = store.enroll(request, now=now, days=days)
    try:
        enrolments.answer(client, product, request.device, certificate.der)
    except InputError as error:
        if certificate.serial not in before:
            store.revoke(Role.DEVICE, request.device, now=now, serial=certificate.serial)
            error.message += f"; certificate {certificate.serial} of '{request.device}' is revoked"
        raise
    return certificate


def _refused_takeover(waiting: Waiting, valid: Entry | None, store: Store) -> Waiting:
    """Refuse a claim code for a device that has a `valid` certificate: the code may be anybody's, and for any device.

    An answer that was lost is given again.
    """
    if valid is None or waiting.request is None or waiting.enrolment.proof != "claim":
        return waiting
    last = store.last(waiting.device)
    if last is not None and last.key == waiting.request.public_key:
        return waiting
    refusal = f"it asks with a claim code, and has the valid certificate {valid.serial}: first otaseal pki revoke"
    return Waiting(waiting.enrolment, None, f"{refusal} {waiting.device}")


def _checked(enrolment: Enrolment) -> Waiting:
    try:
        request = check_request(enrolment.request)
    except InputError as error:
        return Waiting(enrolment, None, error.message)
    if request.device != enrolment.device:
        return Waiting(enrolment, None, f"its request is for '{request.device}'")
    return Waiting(enrolment, request)
