"""The X.509 revocation list of an authority, for servers that read one (nginx, OpenSSL). Pure.

It does not expire before its authority: an authority that is offline cannot renew it every week, and a list that has
run out locks out every device at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .index import Entry

if TYPE_CHECKING:
    from .authority import Authority

__all__ = ["make_crl"]


def make_crl(authority: Authority, entries: Iterable[Entry], now: datetime) -> bytes:
    """Return the list (PEM) of those `entries` that `authority` issued and that are revoked, as of `now`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    moment = now.replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(moment)
        .next_update(max(authority.validity.not_after, moment + timedelta(seconds=1)))
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1_000_000)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    for entry in entries:
        if entry.revoked and entry.issuer == identifier.digest.hex():
            revoked = x509.RevokedCertificateBuilder(int(entry.serial, 16), datetime.fromisoformat(entry.revoked))
            builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(authority.key, SHA256()).public_bytes(Encoding.PEM)
