"""The client for enrolment: the devices that wait for a certificate, and sending one back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlencode

from ..errors import SystemFaultError
from .client import Client, product_path


@dataclass(frozen=True)
class Enrolment:
    """A device that waits: its `request` (PKCS#10, DER), of which the server says that it checked it.

    `proof` is by what it was asked: "claim", a code, whose id `credential` is; "key", one that an operator enrolled; or
    "certificate", a renewal, by the one with the serial number `credential` (hexadecimal). `asked`: seconds since 1970.
    """

    device: str
    proof: str
    credential: str
    asked: float
    request: bytes = field(repr=False)

    @property
    def renews(self) -> bool:
        """Whether it is to take the place of a certificate that the device has."""
        return self.proof == "certificate"


def waiting(client: Client, product: str) -> Iterator[Enrolment]:
    """Yield the devices of a product that wait for a certificate, by name; raises as `Client.publish`."""
    after: dict[str, str] = {}
    while True:
        answer: Mapping[str, Any] = client.get(f"{product_path(product, 'enrolments')}?{urlencode(after)}")
        for row in answer["enrolments"]:
            values = {field.name: row[field.name] for field in fields(Enrolment)}  # a later server says more
            yield Enrolment(**{**values, "request": _decoded(client, row["request"])})
        if answer["next"] is None:
            return
        after = {"after": answer["next"]}


def answer(client: Client, product: str, device: str, certificate: bytes) -> Mapping[str, str]:
    """Give a device the `certificate` (DER or PEM) that it waits for; return its "serial" and when it "expires".

    Raises InputError where the server refuses it: it is for another key, or not from its --device-ca.
    """
    answered: Mapping[str, str] = client.put(product_path(product, "enrolments", device), certificate)
    return answered


def _decoded(client: Client, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SystemFaultError(f"'{client.url}' sends a request that is not in base64", "update its otaseal") from error
