"""The list of what was issued: one small JSON file, read whole and written whole. Pure: bytes in, bytes out.

An entry is never removed and changes once at most, when it is revoked. A holder's renewed certificates share one key,
so that revoking the holder revokes them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import InputError
from ..formats import format_of, refuse_later
from .certificate import Certificate
from .profile import Role

if TYPE_CHECKING:
    from .authority import Authority

FORMAT = 1
MAX_INDEX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One certificate: serial number (hexadecimal), whose, from when to when (ISO 8601, UTC), revoked when, or None.

    `issuer` is the authority's subject key identifier in hexadecimal.
    """

    serial: str
    role: str
    name: str
    issuer: str
    not_before: str
    not_after: str
    revoked: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no number, no role, no name, or no time in UTC."""
        int(self.serial, 16)
        bytes.fromhex(self.issuer)
        Role(self.role)
        times = [self.not_before, self.not_after, *([self.revoked] if self.revoked is not None else [])]
        if not self.name or any(datetime.fromisoformat(time).utcoffset() != timedelta(0) for time in times):
            raise ValueError("an entry without a name, or a time that is not in UTC")

    def valid_at(self, now: datetime) -> bool:
        """Whether it is neither expired nor revoked at `now` (aware)."""
        return self.revoked is None and now <= datetime.fromisoformat(self.not_after)

    def renewal_due(self, now: datetime) -> bool:
        """Whether two thirds of its life are over."""
        start, end = datetime.fromisoformat(self.not_before), datetime.fromisoformat(self.not_after)
        return start + (end - start) * 2 / 3 <= now

    def revoked_at(self, now: datetime) -> Entry:
        """Return this entry, revoked at `now` unless it was before."""
        return self if self.revoked else replace(self, revoked=now.isoformat(timespec="seconds"))


def entry_of(certificate: Certificate, role: Role, name: str) -> Entry:
    """Return the entry for `certificate`, which was issued to `name`."""
    issuer = certificate.authority_key.key if certificate.authority_key else None
    parsed = certificate.fields
    return Entry(
        serial=certificate.serial,
        role=role.value,
        name=name,
        issuer=(issuer or b"").hex(),
        not_before=parsed.not_before.isoformat(timespec="seconds"),
        not_after=parsed.not_after.isoformat(timespec="seconds"),
    )


def parse_index(data: bytes) -> tuple[Entry, ...]:
    """Return the entries in `data`; raises LaterFormatError, InputError when this is not a whole index."""
    try:
        document = json.loads(data)
        refuse_later(document["format"], FORMAT, "the index of certificates")
        if document["format"] != FORMAT:
            raise ValueError("no format of an index")
        entries = tuple(Entry(**values) for values in document["certificates"])
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise InputError("the index of certificates is damaged", "restore it from a backup") from error
    return entries


def serialize_index(entries: tuple[Entry, ...]) -> bytes:
    """Return the index as JSON, one entry a line: a difference reads well."""
    lines = ",\n".join("  " + json.dumps(asdict(entry)) for entry in entries)
    return f'{{"format": {FORMAT}, "certificates": [\n{lines}\n]}}\n'.encode()


def revoked_json(entries: tuple[Entry, ...]) -> bytes:
    """Return what a server has to refuse: serial numbers (hexadecimal) by role, JSON."""
    revoked: dict[str, list[str]] = {role.value: [] for role in Role}
    for entry in entries:
        if entry.revoked:
            revoked[entry.role].append(entry.serial)
    return (json.dumps({"format": FORMAT, "revoked": revoked}, indent=1) + "\n").encode()


def check_revoked(data: bytes) -> None:
    """Raise LaterFormatError when a later otaseal wrote what a server has to refuse."""
    refuse_later(format_of(data), FORMAT, "the list of revoked certificates")


def make_crl(authority: Authority, entries: Iterable[Entry], now: datetime) -> bytes:
    """Return the X.509 revocation list (PEM) of `authority`, for servers that read one (nginx, OpenSSL), as of `now`.

    It does not expire before its authority: an authority that is offline cannot renew it every week, and a list that
    has run out locks out every device at once.
    """
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
