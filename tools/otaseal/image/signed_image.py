"""The signed image: payload, signature, and the length of the signature as a little-endian word (F1).

The signature is RSASSA-PKCS1-v1_5 with SHA-256 over the payload, by a key of 2048 to 4096 bits (F2). What is signed is
not looked at here (`firmware`, `signing`), and nothing is returned that was not verified. Where keys live and how they
sign is not known here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..chips.limits import check_size
from ..errors import InputError, KeyRefusedError, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import Signer

MIN_KEY_BITS, MAX_KEY_BITS = 2048, 4096
MIN_SIGNATURE_SIZE, MAX_SIGNATURE_SIZE = MIN_KEY_BITS // 8, MAX_KEY_BITS // 8

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class SignedImage:
    """What was signed, and the signature over it; whether they fit is for `verify` to say."""

    payload: bytes
    signature: bytes


def parse(data: bytes) -> SignedImage:
    """Return payload and signature of a signed image (F1).

    Raises InputError when there is no trailer, its length word is not 256 to 512, the file is cut short, the payload is
    empty or the whole is over MAX_IMAGE_SIZE.
    """
    check_size(len(data))
    if len(data) < _LENGTH.size:
        raise InputError(f"{len(data)} bytes have no signature trailer", "give the file that ends in '.signed'")
    (length,) = _LENGTH.unpack_from(data, len(data) - _LENGTH.size)
    if not MIN_SIGNATURE_SIZE <= length <= MAX_SIGNATURE_SIZE:
        raise InputError(
            f"no signature trailer: last word '{length}' is not {MIN_SIGNATURE_SIZE} to {MAX_SIGNATURE_SIZE} bytes",
            "give the file that ends in '.signed', or sign this one first",
        )
    end = len(data) - _LENGTH.size - length
    if end < 0:
        raise InputError(f"signed image of {len(data)} bytes is cut short", f"its signature alone has {length} bytes")
    if end == 0:
        raise InputError("signed image has an empty payload", "sign the firmware again")
    return SignedImage(data[:end], data[end : -_LENGTH.size])


def serialise(image: SignedImage) -> bytes:
    """Return the bytes that a device is given: payload, signature, length word (F1)."""
    return image.payload + image.signature + _LENGTH.pack(len(image.signature))


def sign(payload: bytes, signer: Signer) -> bytes:
    """Return `payload` signed, whatever it is, and verified before it is returned.

    Raises KeyRefusedError for a key outside 2048 to 4096 bits (F2), InputError and VerificationError when the signer's
    signature does not fit its own public key.
    """
    public_key = signer.public_key
    check_key(public_key)
    signed = serialise(SignedImage(payload, signer.sign(payload)))
    verify(signed, public_key)
    return signed


def verify(data: bytes, public_key: RSAPublicKey) -> bytes:
    """Return the payload of a signed image whose signature `public_key` confirms (F1).

    Raises InputError when `data` is not a signed image, VerificationError as `check_signature`.
    """
    image = parse(data)
    check_signature(image, public_key)
    return image.payload


def check_signature(image: SignedImage, public_key: RSAPublicKey) -> None:
    """Raise VerificationError when the signature is another key's or the bytes were changed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    if len(image.signature) != signature_size(public_key):
        raise VerificationError(
            f"signature has {len(image.signature)} bytes, the key makes {signature_size(public_key)}",
            "another key signed this image: the device refuses it with error 12",
        )
    try:
        public_key.verify(image.signature, image.payload, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise VerificationError(
            "signature does not fit image and key",
            "the image was changed after it was signed, or another key signed it",
        ) from error


def signature_size(public_key: RSAPublicKey) -> int:
    """Return the length of a signature by `public_key`, that of its modulus, in bytes."""
    return (public_key.key_size + 7) // 8


def check_key(public_key: RSAPublicKey) -> None:
    """Raise KeyRefusedError unless devices can use the key, and nobody can break it: 2048 to 4096 bits (F2)."""
    if not MIN_KEY_BITS <= public_key.key_size <= MAX_KEY_BITS:
        raise KeyRefusedError(
            f"RSA key of {public_key.key_size} bits is not within {MIN_KEY_BITS} to {MAX_KEY_BITS}",
            "make a new one of 2048 bits: devices cannot use larger ones, and smaller ones can be broken",
        )
