"""Signatures as mbedTLS verifies them for the OtaSeal library: RSA PKCS#1 v1.5, SHA-256, padded in one way (F89)."""

from __future__ import annotations

from ..library import LibraryError
from ..public_key import RsaKey, load_public_key
from ..report import Fault
from ..trailer import AssumedKey, Trailer, holds, read_trailer

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
LARGEST = 4096 // 8
"""Bytes of a signature that the library holds back with the manifest."""


def verifies(signature: bytes, key: object, digest: bytes) -> bool:
    """Tell whether `key` made `signature` over a SHA-256 `digest`; an assumed one did, of its own digest."""
    if isinstance(key, AssumedKey):
        return holds(signature, key, digest)
    if not isinstance(key, RsaKey) or len(signature) != key.size:
        return False
    value = int.from_bytes(signature, "big")
    if value >= key.modulus or not key.modulus & 1 or not key.exponent & 1 or key.exponent < 3:
        return False
    tail = b"\0" + SHA256_INFO + digest
    expected = b"\0\1" + b"\xff" * (key.size - 2 - len(tail)) + tail
    return key.size >= len(tail) + 10 and pow(value, key.exponent, key.modulus) == int.from_bytes(expected, "big")


def read(stored: bytes, key: bytes | AssumedKey, next_key: bytes | None) -> Trailer:
    """Return payload and signature of a file as the library takes it apart, by its own number where it does not."""
    trailer = read_trailer(stored, key, next_key)
    if trailer.fault is not None:
        fault = Fault(LibraryError.SIGNATURE, trailer.fault.reason, trailer.fault.fact)
        return Trailer(trailer.payload, trailer.signature, trailer.keys, fault)
    if len(trailer.signature) > LARGEST:
        return Trailer(trailer.payload, fault=Fault(LibraryError.SIGNATURE, "the key is larger than 4096 bits", "F89"))
    return trailer


def length(text: bytes | AssumedKey | None) -> int:
    """Return how long signatures by this key are, 0 where it is no RSA key that can be read."""
    if text is None or isinstance(text, AssumedKey):
        return 0 if text is None else text.size
    key = load_public_key(text)
    return key.size if isinstance(key, RsaKey) else 0
