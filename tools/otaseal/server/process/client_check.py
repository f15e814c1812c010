"""Which client certificates are accepted: dates and revocation, looked at when a connection stands."""

from __future__ import annotations

import time
from typing import Any

from ...errors import InputError, OtasealError
from ..telemetry import Telemetry
from ..tls import ClientCertificate, Inspect, Revocations, client_certificate
from .options import ServerOptions


def revocations(options: ServerOptions, role: str) -> Revocations | None:
    """Return the list that clients of a role, "device" or "operator", are held against; None without an authority.

    It is the one that was named, else that of the PKI store the authority lies in. Raises InputError for a list that is
    not there or damaged, unless the options say that there is none.
    """
    authority = options.device_ca if role == "device" else options.operator_ca
    if authority is None:
        return None
    path = options.revoked or authority.resolve().parent.parent / "revoked.json"
    revoked = Revocations(None if options.no_revocations else path, role)
    revoked.load()
    return revoked


def client_check(revoked: Revocations | None, telemetry: Telemetry) -> Inspect:
    """Return the check of each connection's client; `revoked` is None where no certificate is asked for."""

    def inspect(connection: Any) -> ClientCertificate | None:
        certificate = None if revoked is None else client_certificate(connection)
        if revoked is None or certificate is None:
            return None
        serial = f"{certificate.serial:x}"
        try:
            certificate.check_dates(time.time())
        except InputError as error:
            telemetry.event("expired", name=certificate.name, serial=serial, message=error.message)
            raise
        try:
            is_revoked = revoked.holds(certificate)
        except OtasealError as error:
            telemetry.alarm("revocations", message=error.message)
            raise
        if is_revoked:
            telemetry.event("revoked", name=certificate.name, serial=serial)
            raise InputError(f"the certificate of '{certificate.name}' is revoked", "issue it a new one")
        return certificate

    return inspect
