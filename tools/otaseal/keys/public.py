"""Public keys as a device wants them: RSA, 2048 to 4096 bits, SubjectPublicKeyInfo (F2). Pure: bytes in, keys out.

Whatever else a person may name by mistake is refused by name: PKCS#1, EC, a certificate, and above all a private key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import KeyRefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MIN_RSA_BITS = 2048
"""The device itself would take RSA-512 (F2): this bound is ours."""
MAX_RSA_BITS = 4096
"""BearSSL's limit on the device (F2, F26)."""
KEY_SIZES = (2048, 3072, 4096)
NEW_KEY_HINT = "make one with 'otaseal key new <path>'"
FIRST_KEY_HINT = f"if no device has this product's firmware yet, {NEW_KEY_HINT}"
OWN_KEY_HINT = f"bring it from where it was made: devices take updates from that key only; {FIRST_KEY_HINT}"
"""For a key that is not there: a new one in its place would lock out every device that knows the old one."""


def load_public_key(data: bytes, what: str) -> RSAPublicKey:
    """Return the RSA key in `data`, SPKI as PEM or DER, the only form that a device reads (F2).

    Raises KeyRefusedError by name for PKCS#1, a private key (F4), a certificate, EC and sizes that do not work.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        load_der_private_key,
        load_der_public_key,
        load_pem_public_key,
    )
    from cryptography.x509 import load_der_x509_certificate

    if b"PRIVATE KEY-----" in data or _is_loaded(lambda der: load_der_private_key(der, None), data):
        raise KeyRefusedError(f"{what} is a private key", "name the .pub file: a private key must never be in firmware")
    if b"-----BEGIN RSA PUBLIC KEY" in data:
        raise KeyRefusedError(
            f"{what} is in PKCS#1 form, which makes a device refuse every update",
            "convert it: openssl rsa -RSAPublicKey_in -in <it> -pubout -out signing.pub",
        )
    if b"-----BEGIN CERTIFICATE" in data or _is_loaded(load_der_x509_certificate, data):
        raise KeyRefusedError(f"{what} is a certificate", "take its key: openssl x509 -in <it> -pubkey -noout")
    load = load_pem_public_key if data.lstrip().startswith(b"-----") else load_der_public_key
    try:
        key = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyRefusedError(
            f"{what} is not a public key", "it must read BEGIN PUBLIC KEY, or be its DER form"
        ) from error
    checked = check_rsa(key, what)
    if load is load_der_public_key and public_der(checked) != data:
        raise KeyRefusedError(
            f"{what} is not in SPKI form", "convert it: openssl pkey -pubin -in <it> -out signing.pub"
        )
    return checked


def _is_loaded(load: Callable[[bytes], object], data: bytes) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        load(data)
    except TypeError:
        return True  # encrypted, and therefore a private key
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def check_rsa(key: object, what: str) -> RSAPublicKey:
    """Return `key` if a device can verify with it: RSA of 2048 to 4096 bits (F2), else raise KeyRefusedError."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if not isinstance(key, RSAPublicKey):
        kind = type(key).__name__.removeprefix("_").removesuffix("PublicKey").removesuffix("PublicNumbers")
        raise KeyRefusedError(f"{what} is of type {kind}, and devices verify RSA only", NEW_KEY_HINT)
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        reason = "is too weak" if key.key_size < MIN_RSA_BITS else "is more than a device can verify"
        raise KeyRefusedError(f"{what} has {key.key_size} bits, which {reason}", f"use RSA of {KEY_SIZES} bits")
    return key


def public_der(key: RSAPublicKey) -> bytes:
    """Return the key as SubjectPublicKeyInfo in DER (RFC 5280 4.1)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_pem(key: RSAPublicKey) -> bytes:
    """Return the key as SPKI in PEM, the very bytes that are compiled into firmware (F2, F5)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: RSAPublicKey) -> str:
    """Return `SHA256:` and the hex digest over the SPKI encoding, as `openssl pkey -pubin -outform der` hashes to."""
    return "SHA256:" + hashlib.sha256(public_der(key)).hexdigest()


def short_fingerprint(key: RSAPublicKey) -> str:
    """Return the fingerprint's first 64 bits, enough to tell one's own keys apart in a build's output."""
    return fingerprint(key)[: len("SHA256:") + 16]
