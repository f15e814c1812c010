"""A device's certificate as it comes back from who signed it: whether it is what was asked for, and is of use. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import InputError
from .certificate import Certificate, parse_certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MAX_BYTES = 900
"""DER: 1,200 characters of base64, for which devices have room."""
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"  # RFC 5280, 4.2.1.12


def check_enrolled(data: bytes, device: str, authorities: Sequence[Certificate], now: datetime) -> Certificate:
    """Return the certificate (DER or PEM) for a device, valid at `now` (aware), from one of the `authorities`.

    Without any authority its issuer is not looked at. Raises InputError; of its key it says nothing (`key_id`).
    """
    certificate = parse_certificate(data)
    if certificate.common_names != (device,):
        raise InputError(
            f"the certificate is that of '{certificate.title}', not of '{device}'", "send the device's own"
        )
    if len(certificate.der) > MAX_BYTES:
        raise InputError(f"a certificate of {len(certificate.der)} bytes", f"devices have room for {MAX_BYTES}")
    if certificate.is_ca or (certificate.uses is not None and CLIENT_AUTH not in certificate.uses):
        raise InputError(f"the certificate of '{device}' is none of a client", "issue it with otaseal pki enroll")
    if not certificate.valid_at(now):
        raise InputError(f"the certificate of '{device}' is not valid now", "check the clocks, and issue it again")
    if authorities and not any(_issued(certificate, authority, now) for authority in authorities):
        raise InputError(
            f"the certificate of '{device}' is not from the server's --device-ca", "sign it with that authority"
        )
    return certificate


def key_id(key: PublicKeyTypes | None) -> str:
    """Return the SHA-256 of a public key (SubjectPublicKeyInfo, DER) in hexadecimal; "" for none."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if key is None:
        return ""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _issued(certificate: Certificate, authority: Certificate, now: datetime) -> bool:
    return certificate.issuer == authority.subject and authority.valid_at(now) and certificate.signed_by(authority)
