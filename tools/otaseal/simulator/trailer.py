"""The end of a signed payload, as BearSSL's cores read it: the signature and its length (F1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .error_numbers import UpdateError
from .public_key import EcKey, PublicKey, RsaKey, load_public_key, opens_to
from .report import Fault

WORD = 4
LARGEST_KEY = 512  # bytes of the modulus that BearSSL verifies with


@dataclass(frozen=True)
class AssumedKey:
    """The key of whoever signed bytes with this SHA-256 `digest`: not at hand, and taken to have signed just them.

    `size` is the length of its signatures in bytes.
    """

    size: int
    digest: bytes


@dataclass(frozen=True)
class Trailer:
    """A stored file's payload and signature, and the `keys` that may verify it; `fault` where it is refused."""

    payload: bytes = field(repr=False)
    signature: bytes = b""
    keys: tuple[PublicKey | AssumedKey, ...] = ()
    fault: Fault | None = None


def read_trailer(stored: bytes, key_text: bytes | AssumedKey, next_key: bytes | None) -> Trailer:
    """Read the length word behind what is `stored`, and the signature in front of it, as every core does (F1)."""
    key = key_text if isinstance(key_text, AssumedKey) else load_public_key(key_text)
    if key is None:
        reason = "the key in the firmware cannot be used: nothing that is sent can be verified"
        return Trailer(stored, fault=Fault(UpdateError.SIGN, reason, "F2"))
    length, keys = int.from_bytes(stored[-WORD:], "little"), (key, *_usable(next_key))
    if length not in [known_key.size for known_key in keys]:
        reason = f"the last word is {length}, the device's key makes {key.size}: unsigned?"
        return Trailer(stored, fault=Fault(UpdateError.SIGN, reason, "F1"))
    size = len(stored) - WORD - length
    if size < 0:
        return Trailer(stored, fault=Fault(UpdateError.SIGN, "the file is shorter than its signature", "F1"))
    trailer = Trailer(stored[:size], stored[size:-WORD], keys)
    if isinstance(key, EcKey):
        reason = "the key in the firmware is on a curve: every update is refused"
        return replace(trailer, fault=Fault(UpdateError.SIGN, reason, "F2"))
    return trailer


def _usable(text: bytes | None) -> list[PublicKey]:
    key = load_public_key(text) if text is not None else None
    return [key] if key else []


def holds(signature: bytes, key: PublicKey | AssumedKey, digest: bytes, *, digest_info: bool = True) -> bool:
    """Tell whether `key` made `signature` over a SHA-256 `digest`, in its DigestInfo or bare (F3)."""
    if isinstance(key, AssumedKey):
        return digest_info and digest == key.digest
    return isinstance(key, RsaKey) and opens_to(signature, key, digest, "sha256" if digest_info else None)


def no_key_fits(trailer: Trailer) -> Fault:
    """Return the fault of a signature that none of the keys made."""
    if any(key.size > LARGEST_KEY for key in trailer.keys):
        return Fault(UpdateError.SIGN, "the key is larger than 4096 bits: every update is refused", "F2")
    return Fault(UpdateError.SIGN, "the signature does not fit these bytes and the device's key", "F1")


def taken_by(key: bytes | AssumedKey | None) -> tuple[str, str]:
    """Return what is to be said of an update that a device with this key takes, and the fact behind it."""
    if key is None:
        return "nothing is verified: any image is accepted", "F5"
    if isinstance(key, AssumedKey):
        return "if it has the key that made the signature, which covers neither version nor board", "F11"
    return "the signature holds; it covers neither version nor board", "F11"
