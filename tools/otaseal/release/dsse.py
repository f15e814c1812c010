"""DSSE envelopes: a JSON value, its type, and signatures over both, as firmware is signed (RSASSA-PKCS1-v1_5, SHA-256).

Pure. Source: github.com/secure-systems-lab/dsse, protocol and envelope 1.0. The key id is a hint and is not looked at.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError, VerificationError
from ..keys.public import fingerprint, short_fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import Signer

MAX_SIGNATURES = 16
_URL_SAFE = str.maketrans("-_", "+/")
"""Signers may write either alphabet of base64, and verifiers take both."""


def seal(value: object, kind: str, signer: Signer) -> bytes:
    """Return the envelope, as JSON, in which `signer` signs a JSON value of the media type `kind`."""
    payload = json.dumps(value, separators=(",", ":")).encode()
    signature = {"keyid": fingerprint(signer.public_key), "sig": _text(signer.sign(_pre_authentication(kind, payload)))}
    envelope = {"payload": _text(payload), "payloadType": kind, "signatures": [signature]}
    return json.dumps(envelope, indent=2).encode() + b"\n"


def payload_of(data: bytes, kind: str, what: str) -> bytes:
    """Return what is in an envelope of the media type `kind`, unverified; raises InputError, which calls it `what`."""
    return _parse(data, kind, what)[0]


def verify(data: bytes, kind: str, keys: Sequence[RSAPublicKey], what: str) -> bytes:
    """Return what one of `keys` signed in an envelope of the media type `kind`; messages call it `what`.

    Raises InputError for what is no such envelope, VerificationError where none of the keys signed it.
    """
    payload, signatures = _parse(data, kind, what)
    message = _pre_authentication(kind, payload)
    if not any(_is_signed(message, signature, key) for signature in signatures for key in keys):
        known = ", ".join(map(short_fingerprint, keys)) or "none"
        raise VerificationError(
            f"{what} is signed by none of these keys: {known}",
            "sign it with a key of the product, or give the public key that belongs to it",
        )
    return payload


def _parse(data: bytes, kind: str, what: str) -> tuple[bytes, list[bytes]]:
    """Return payload and signatures."""
    try:
        envelope: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON", _hint(what)) from error
    if not isinstance(envelope, dict):
        raise InputError(f"{what} is not a JSON object", _hint(what))
    if envelope.get("payloadType") != kind:
        raise InputError(f"{what} is of type '{str(envelope.get('payloadType'))[:80]}'", f"it has to be {kind}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or not 0 < len(signatures) <= MAX_SIGNATURES:
        raise InputError(f"{what} has no signature", _hint(what))
    encoded = [entry.get("sig") if isinstance(entry, dict) else None for entry in signatures]
    return _bytes(envelope.get("payload"), what), [_bytes(signature, what) for signature in encoded]


def _pre_authentication(kind: str, payload: bytes) -> bytes:
    encoded = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(encoded), encoded, len(payload), payload)


def _is_signed(message: bytes, signature: bytes, key: RSAPublicKey) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object, what: str) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except ValueError:  # binascii.Error is one, and what is not ASCII another
        pass
    raise InputError(f"{what} is not base64 where it has to be", _hint(what))


def _hint(what: str) -> str:
    return f"make {what} again, as otaseal writes it"
