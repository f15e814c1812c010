"""Trust anchors: the hashed subject and the key that a device keeps of a CA certificate, and how it looks them up.

The list that a sketch compiles in (`setTrustAnchors`) is here, the archive in the filesystem in `certstore`. Dates,
usage and constraints of an anchor are never checked (F20).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from .der import BOOLEAN, CONTEXT, END, INTEGER, OCTET_STRING, DerError, Reader, check, fail
from .error_numbers import TlsError
from .public_key import PublicKey, looks_like_der, read_key

BASIC_CONSTRAINTS = bytes.fromhex("551d13")
NO_LIMIT = 0xFFFFFF  # BearSSL's decoder is told no length


@dataclass(frozen=True)
class Anchor:
    """A trusted key, and whether it is a CA's; otherwise only the certificate itself is trusted (F18c)."""

    key: PublicKey
    is_ca: bool


class DeviceCrash(Exception):
    """A look-up of an anchor crashes the device: why, and by which device fact."""

    def __init__(self, reason: str, fact: str) -> None:
        super().__init__(reason)
        self.reason, self.fact = reason, fact


class Trust(Protocol):
    """A source of anchors, looked up by the SHA-256 of an encoded name."""

    def find(self, name_hash: bytes) -> Sequence[Anchor]:
        """Return the anchors of this name, in the order in which the device tries them; may raise DeviceCrash."""


@dataclass(frozen=True)
class Decoded:
    """A decoded certificate: its subject, as far as it could be read, and its anchor, None after an error."""

    subject: bytes
    anchor: Anchor | None

    @property
    def name_hash(self) -> bytes:
        """The SHA-256 under which the device indexes it."""
        return hashlib.sha256(self.subject).digest()


class AnchorList:
    """Anchors compiled in, all of them tried; certificates that the core cannot decode are left out."""

    def __init__(self, certificates: Sequence[bytes]) -> None:
        self._decoded = [decode(der) for der in certificates if looks_like_der(der)]

    def find(self, name_hash: bytes) -> Sequence[Anchor]:
        """Return every anchor of that name."""
        return [
            certificate.anchor
            for certificate in self._decoded
            if certificate.anchor and certificate.name_hash == name_hash
        ]


def decode(der: bytes) -> Decoded:
    """Return what BearSSL's decoder (`br_x509_decoder`) makes of `der`, which may be anything."""
    reader, subject, anchor = Reader(der, 0, NO_LIMIT), b"", None
    with suppress(DerError):
        outer = reader.sequence()
        signed = outer.sequence()
        skip_head(signed)
        signed.sequence()  # issuer
        validity = signed.sequence()
        validity.date()
        validity.date()
        validity.close()
        start = signed.at
        try:
            signed.sequence()
            _within(signed)
        finally:
            subject = der[start : signed.at]
        key = read_key(signed.sequence())
        is_ca = _is_ca(signed)
        signed.close()
        outer.sequence().oid()
        outer.bits()
        outer.close()
        _within(outer)
        anchor = Anchor(key, is_ca) if reader.at >= len(der) else None
    return Decoded(subject, anchor)


def _within(reader: Reader) -> None:
    """Raise DerError where skipped content lies behind the end of the data."""
    if reader.at > len(reader.data):
        fail(TlsError.X509_TRUNCATED)


def skip_head(signed: Reader) -> None:
    """Read version, serial number and the inner algorithm of a certificate's signed part."""
    tag = signed.tag()
    if tag[0] == CONTEXT:
        check(tag, CONTEXT, constructed=True)
        version = signed.open()
        check(version.tag(), INTEGER, constructed=False)
        if version.small_integer() > 2:
            fail(TlsError.X509_UNSUPPORTED)
        version.close()
        tag = signed.tag()
    check(tag, INTEGER, constructed=False)
    signed.open()
    signed.sequence()


def _is_ca(signed: Reader) -> bool:
    is_ca = False
    for oid, _, value in each_extension(signed):
        if oid == BASIC_CONSTRAINTS:
            constraints = value.sequence()
            tag = constraints.tag_or_end()
            if tag[0] == BOOLEAN:
                is_ca = constraints.boolean(tag)
            value.close()
    return is_ca


def each_extension(signed: Reader) -> Iterator[tuple[bytes, bool, Reader]]:
    """Give each extension, if there are any: object identifier, whether it is critical, and a reader of its value.

    What encloses a value is closed after the value was looked at: the first error counts. Unique ids are skipped.
    """
    tag = signed.tag_or_end()
    for unique_id in (CONTEXT + 1, CONTEXT + 2):
        if tag[0] == unique_id:
            signed.open()
            tag = signed.tag_or_end()
    if tag[0] == END:
        return
    check(tag, CONTEXT + 3, constructed=True)
    wrapped = signed.open()
    extensions = wrapped.sequence()
    while extensions.left:
        extension = extensions.sequence()
        oid = extension.oid()
        tag, critical = extension.tag(), False
        if tag[0] == BOOLEAN:
            critical = extension.boolean(tag)
            tag = extension.tag()
        check(tag, OCTET_STRING, constructed=False)
        yield oid, critical, extension.open()
        extension.close()
    wrapped.close()
