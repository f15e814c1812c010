"""What a device says beside its claims when it asks for a certificate: the request, and at first a claim code.

    X-Otaseal-Csr     PKCS#10 in base64, up to 700 bytes
    X-Otaseal-Claim   the code, as somebody typed it

No message here quotes a code: it is a secret, and refusals stand in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import InputError
from .request import CLAIM_HEADER, MAX_VALUE

CSR, CLAIM = b"x-otaseal-csr", CLAIM_HEADER.encode()
HEADERS = (CSR, CLAIM)
MAX_CSR = 700
_LIMITS = {CSR: MAX_CSR, CLAIM: MAX_VALUE}


class EnrolmentRequest(NamedTuple):
    """A certificate request, in base64, and the claim code, "" without one."""

    csr: str
    claim: str


def parse_enrolment(headers: Iterable[tuple[bytes, bytes]]) -> EnrolmentRequest:
    """Return what `headers` (their names in lower case) ask for; raises InputError (answer 400)."""
    given: dict[bytes, str] = {}
    for name, value in headers:
        if name not in HEADERS:
            continue
        shown = name.decode()
        if name in given:
            raise InputError(f"header '{shown}' is given twice", "send it once")
        if len(value) > _LIMITS[name]:
            raise InputError(f"header '{shown}' has {len(value)} bytes", f"send at most {_LIMITS[name]}")
        given[name] = value.decode("ascii", "replace").strip()
    if not given.get(CSR):
        raise InputError(f"no header '{CSR.decode()}'", "send a certificate request, PKCS#10 in base64")
    return EnrolmentRequest(given[CSR], given.get(CLAIM, ""))


def others(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that `parse_enrolment` does not read."""
    return [(name, value) for name, value in headers if name not in HEADERS]
