"""Devices that ask for a certificate: 200 with that for the very key in the request, 202 while it waits, 403.

The work takes signatures and a disk that is flushed: one thread does it, for a bounded number of devices at a time, and
no poll waits for it. What it answers depends on nothing but the request and the store, and is kept by nobody.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ...errors import InputError, OtasealError
from ...pki.enrolled import key_id
from ...pki.enrolment import decode_request
from ...pki.profile import MAC_ADDRESS
from ...protocol.enrolment import parse_enrolment
from ...protocol.request import Route
from ...store.enrolments import Applicant, Asking, Enrolments, NotAllowedError, Request, UnknownClaimError
from ...store.proof_keys import ProofKeys
from ..catalog import Catalog
from ..failures import FAILURES, FailureCounter
from ..telemetry import Telemetry
from ..tls import ClientCertificate
from .answers import Answer, DeviceRequest, LaterError, fault, plain

MAX_WAITING = 64
"""Devices that may wait for the thread; others come back."""
NO_STORE = (("Cache-Control", "no-store"),)


class Enrolment:
    """Answers `client.crt`, in a thread of its own."""

    def __init__(self, catalog: Catalog, enrolments: Enrolments, keys: ProofKeys, telemetry: Telemetry) -> None:
        self._catalog, self._enrolments, self._telemetry = catalog, enrolments, telemetry
        self._keys = keys
        self._failures = FailureCounter()
        self._thread = ThreadPoolExecutor(1, "enrolment")
        self._places = threading.BoundedSemaphore(MAX_WAITING)

    def answer(self, request: DeviceRequest, target: Route, device: str | None, *, proven: bool) -> Answer:
        """Raise LaterError for the answer to a request of `device`; return one where too many wait for theirs.

        `proven`: a key that is known here made the MAC of the request, so that it comes from `device`.
        """
        if not self._places.acquire(blocking=False):
            return plain(503, "busy", f"{MAX_WAITING} devices wait for their certificates", NO_STORE)
        raise LaterError(partial(self._work, request, target, device, proven), self._thread)

    def _work(self, request: DeviceRequest, target: Route, device: str | None, proven: bool) -> Answer:
        try:
            answer = self._decide(request, target, device if proven else None)
        except OtasealError as error:
            answer = fault(error)
        finally:
            self._places.release()
        return answer._replace(device=device, headers=(*answer.headers, *NO_STORE))

    def _decide(self, request: DeviceRequest, target: Route, proven: str | None) -> Answer:
        product = self._catalog.product_of(target.product)
        if product is None:
            return plain(404, "missing", "there is no such product")
        try:
            said = parse_enrolment(request.head.headers)
            asked = decode_request(said.csr)
        except InputError as error:
            return plain(400, "request", error.message)
        if not MAC_ADDRESS.fullmatch(asked.device):
            return plain(400, "request", f"a request for '{asked.device}', which is no MAC address in capital letters")
        asking = Asking(product, asked.device, key_id(asked.public_key), asked.der)
        name = f"mac:{asked.device}"
        serial = _serial(request.certificate, asked.device)
        applicant = Applicant(serial, self._keys.get(product, name), proven == name, said.claim)
        try:
            made = self._enrolments.ask(asking, applicant, now := time.time())
        except NotAllowedError as error:
            if isinstance(error, UnknownClaimError):
                self._count_failure(request.address)
            return plain(403, "claim", error.message)
        if made.asked == now:
            self._telemetry.event(
                "enrolment", product=product, device=made.device, proof=made.proof, credential=made.credential or None
            )
        return _standing(made)

    def _count_failure(self, address: str | None) -> None:
        """Tell once a minute of an address where codes are guessed; 80 random bits cannot be."""
        if self._failures.add(address or "") == FAILURES + 1:
            self._telemetry.alarm("claims", address=address, message="somebody guesses claim codes")


def _serial(certificate: ClientCertificate | None, device: str) -> str:
    """Return the serial number of a device's own certificate in hexadecimal; "" for none, and for another's."""
    return f"{certificate.serial:x}" if certificate is not None and certificate.name == device else ""


def _standing(made: Request) -> Answer:
    if made.certificate is None:
        return plain(202, "waits", "the request waits for its certificate: otaseal pki enroll signs it")
    headers = (("Content-Type", "application/pkix-cert"), ("Content-Length", str(len(made.certificate))))
    return Answer(200, headers, made.certificate, "certificate", "the certificate of this key")
