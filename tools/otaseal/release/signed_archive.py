"""A certificate archive that devices take over the air: `certs.ar`, a manifest and a signature like a firmware's.

    certs.ar | manifest of 64 bytes, of the kind CERTIFICATES | signature | length of the signature (F1)

Devices with the OtaSeal library fetch it over the channel that they verify, so that an authority is replaced without a
filesystem update, which would overwrite the old one before it is verified (F14). Because an archive without the
server's own authority locks out all who take it, such a one is refused before anybody is given it. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..certs import certstore
from ..errors import InputError, VerificationError
from ..image import manifest, signed_image
from ..image.manifest import Claim, Kind, Manifest
from ..keys import public
from .archive_record import MAX_SIGNED_ARCHIVE, ArchiveRecord

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import Signer

MAX_CERTIFICATE = 8 * 1024
"""Bytes of one certificate: the device's library loads it whole into the heap (F19)."""
_HINT = "give the file that otaseal certs sign makes"


@dataclass(frozen=True)
class SignedArchive:
    """A signed archive whose signature holds: the bytes of `certs.ar`, what its manifest says, and by which key."""

    archive: bytes = field(repr=False)
    manifest: Manifest
    key_fingerprint: str


@dataclass(frozen=True)
class PresentedChain:
    """What a server shows to devices: its chain (DER, leaf first, as sent), and the names by which they call it."""

    chain: Sequence[bytes] = field(repr=False)
    names: Sequence[str]


def sign(archive: bytes, claim: Claim, signer: Signer, now: datetime) -> bytes:
    """Return the `archive` signed for devices of the claim's product, verified before it is returned.

    Raises InputError for an archive that devices could not use in full at the time `now` (aware), or that is larger
    than MAX_SIGNED_ARCHIVE with its signature; KeyRefusedError for a key that devices cannot use (F2).
    """
    _check_archive(archive, now)
    attached = replace(manifest.make(claim), kind=Kind.CERTIFICATES)
    signed = signed_image.sign(archive + manifest.serialise(attached), signer)
    if len(signed) > MAX_SIGNED_ARCHIVE:
        raise _too_large(len(signed))
    return signed


def read(data: bytes, keys: Sequence[RSAPublicKey]) -> SignedArchive:
    """Return what is in a signed archive that one of `keys` signed.

    Raises InputError for what is none, VerificationError when none of the keys made the signature.
    """
    payload, attached = _parse(data)
    for key in keys:
        try:
            signed_image.verify(data, key)
        except VerificationError:
            continue
        return SignedArchive(payload[: -manifest.SIZE], attached, public.fingerprint(key))
    raise VerificationError(
        f"none of the product's {len(keys)} public keys made this signature",
        "sign with one of its keys, or register the new public key first",
    )


def admit(
    data: bytes,
    product: str,
    keys: Sequence[RSAPublicKey],
    current: ArchiveRecord | None,
    presented: PresentedChain | None,
    now: datetime,
) -> ArchiveRecord:
    """Return the record of a signed archive that devices of `product` may be given after `current`.

    With `presented`, a device that trusts the archive alone must accept that server by each of its names at the time
    `now` (aware). Raises as `read` does, and InputError for an archive of another product, with errors, older than the
    current one, or that would lock devices out.
    """
    verified = read(data, keys)
    attached = verified.manifest
    if not attached.is_for(product):
        raise InputError(f"the archive is signed for another product than '{product}'", "sign it for this one")
    anchors = _check_archive(verified.archive, now)
    _check_age(attached, current)
    if presented is not None:
        _check_server(anchors, presented, now)
    return ArchiveRecord(
        blob=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        size=len(data),
        archive=hashlib.sha256(verified.archive).hexdigest(),
        certificates=len(anchors),
        counter=attached.counter,
        built=attached.build_time,
        key_fingerprint=verified.key_fingerprint,
    )


def looks_signed(data: bytes) -> bool:
    """Tell whether `data` is a signed archive, whatever its signature is worth."""
    try:
        _parse(data)
    except InputError:
        return False
    return True


def _parse(data: bytes) -> tuple[bytes, Manifest]:
    if len(data) > MAX_SIGNED_ARCHIVE:
        raise _too_large(len(data))
    payload = signed_image.parse(data).payload
    try:
        attached = manifest.parse(payload[-manifest.SIZE :])
    except InputError as error:
        raise InputError(f"no signed archive: {error.message}", _HINT) from error
    if attached.kind is not Kind.CERTIFICATES:
        raise InputError("the manifest is that of a firmware", _HINT)
    return payload, attached


def _check_archive(archive: bytes, now: datetime) -> list[bytes]:
    """Return the archive's anchors (DER); raises InputError unless a device can use all of it."""
    report = certstore.check(archive, now)
    if report.errors:
        first = report.errors[0]
        raise InputError(f"'{first.name}' in the archive: {first.message}", first.hint)
    large = next((anchor for anchor in report.anchors if len(anchor.der) > MAX_CERTIFICATE), None)
    if large is not None:
        raise InputError(
            f"'{large.name}' has {len(large.der)} bytes, devices take {MAX_CERTIFICATE} at most over the air",
            "a root that large is unusual: ship it with uploadfs, or leave it out",
        )
    if not report.anchors:
        raise InputError("the archive has no certificate that a device can use", "pack it with otaseal certs pack")
    return [anchor.der for anchor in report.anchors]


def _check_age(attached: Manifest, current: ArchiveRecord | None) -> None:
    if current is None:
        return
    for what, new, old in (
        ("security counter", attached.counter, current.counter),
        ("build time", attached.build_time, current.built),
    ):
        if new < old:
            raise InputError(
                f"the archive's {what} {new} is below {old}, that of the one devices have",
                "devices refuse it: sign the certificates again",
            )


def _check_server(anchors: Sequence[bytes], presented: PresentedChain, now: datetime) -> None:
    from ..pki.chain import Stack
    from ..pki.check import predict

    for name in presented.names:
        verdict = predict(presented.chain, anchors, name, now)[Stack.BEARSSL]
        if not verdict.accepted:
            raise InputError(
                f"a device with these certificates would not accept this server as '{name}': "
                f"{verdict.findings[0].message}",
                "it would be locked out for good: keep the server's present authority in the archive beside the new "
                "one, until the server has its new certificate",
            )


def _too_large(size: int) -> InputError:
    return InputError(
        f"a signed archive of {size} bytes is over {MAX_SIGNED_ARCHIVE}",
        "pack only the authorities that the server may ever need",
    )
