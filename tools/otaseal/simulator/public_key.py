"""Public keys with BearSSL's decoder rules and limits, and the verification of signatures.

RSA is computed here with `pow` and compared byte for byte, independent of the library that signed; `cryptography`
verifies ECDSA.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .der import DerError, Reader, fail
from .error_numbers import TlsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve

MAX_KEY_BYTES = 520  # modulus and exponent together (BR_X509_BUFSIZE_KEY)
MAX_RSA_BYTES = 4096 // 8
RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")
EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
CURVES = {bytes.fromhex("2a8648ce3d030107"): 23, bytes.fromhex("2b81040022"): 24, bytes.fromhex("2b81040023"): 25}
"""Object identifier to TLS's number: P-256, P-384, P-521."""
_LABELS = (b"PUBLIC KEY", b"RSA PUBLIC KEY", b"EC PUBLIC KEY")
_BEGIN, _END = b"-----BEGIN ", b"-----END "
_SPACES = bytes(set(range(0x21)) - {0x0A})

# Object identifiers of the digests, as they stand in a DigestInfo, with BearSSL's numbers.
_DIGEST_OIDS = {
    "sha1": bytes.fromhex("2b0e03021a"),
    "sha224": bytes.fromhex("608648016503040204"),
    "sha256": bytes.fromhex("608648016503040201"),
    "sha384": bytes.fromhex("608648016503040202"),
    "sha512": bytes.fromhex("608648016503040203"),
}


@dataclass(frozen=True)
class RsaKey:
    """Modulus and exponent; `size` is the length of a signature in bytes."""

    modulus: int
    exponent: int

    @property
    def size(self) -> int:
        """Bytes of the modulus."""
        return (self.modulus.bit_length() + 7) // 8


@dataclass(frozen=True)
class EcKey:
    """A point, uncompressed as in the certificate, on the curve of this TLS number."""

    curve: int
    point: bytes

    @property
    def size(self) -> int:
        """Bytes of the point: what the core takes for a signature's length."""
        return len(self.point)


PublicKey = RsaKey | EcKey


def load_public_key(text: bytes) -> PublicKey | None:
    """Return the key in `text`, None where the core can make nothing of it (F2: PKCS#1 among others).

    The core reads it as text, up to the first zero byte: so a key in DER, which has such bytes, is none (F30d).
    """
    text = text.partition(b"\0")[0]
    der = text if looks_like_der(text) else _first_pem(text)
    if der is None:
        return None
    reader = Reader.whole(der)
    try:
        key = read_key(reader.sequence())
        reader.close()
    except DerError:
        return None
    return key


def looks_like_der(data: bytes) -> bool:
    """Return whether the core takes `data` for DER: a SEQUENCE whose length ends exactly where the data does (F18b)."""
    if len(data) < 2 or data[0] != 0x30 or data[1] == 0x80:
        return False
    if data[1] < 0x80:
        return data[1] == len(data) - 2
    count = data[1] - 0x80
    return len(data) >= count + 4 and int.from_bytes(data[2 : 2 + count], "big") == len(data) - 2 - count


def read_key(info: Reader) -> PublicKey:
    """Read the content of a SubjectPublicKeyInfo to its end; raises DerError with BearSSL's number."""
    algorithm = info.sequence()
    kind = algorithm.oid()
    if kind == RSA_ENCRYPTION:
        algorithm.rest()
        bits = info.bits()
        numbers = bits.sequence()
        modulus = numbers.big_integer(MAX_KEY_BYTES)
        exponent = numbers.big_integer(MAX_KEY_BYTES - len(modulus))
        numbers.close()
        bits.close()
        info.close()
        return RsaKey(int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"))
    if kind != EC_PUBLIC_KEY:
        fail(TlsError.X509_UNSUPPORTED)
    curve = CURVES.get(algorithm.oid())
    if curve is None:
        fail(TlsError.X509_UNSUPPORTED)
    algorithm.close()
    point = info.bits().rest()
    if len(point) > MAX_KEY_BYTES:
        fail(TlsError.X509_LIMIT_EXCEEDED)
    info.close()
    return EcKey(curve, point)


def opens_to(signature: bytes, key: RsaKey, digest: bytes, name: str | None) -> bool:
    """Return whether an RSA PKCS#1 v1.5 signature is over `digest`, made by the hash `name`; None: bare (F3).

    As `br_rsa_pkcs1_vrfy`: a DigestInfo with NULL parameters or without any, at least eight bytes of filling, no
    modulus over 4096 bits (F2).
    """
    if len(signature) != key.size or key.size > MAX_RSA_BYTES:
        return False
    opened = _opened(signature, key)
    if opened is None:
        return False
    return any(
        (filling := len(opened) - len(tail) - 3) >= 8 and opened == b"\0\1" + b"\xff" * filling + b"\0" + tail
        for tail in _tails(digest, name)
    )


def curve_of(number: int) -> EllipticCurve:
    """Return the curve of a TLS number: 23, 24 or 25."""
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[int, EllipticCurve] = {23: ec.SECP256R1(), 24: ec.SECP384R1(), 25: ec.SECP521R1()}
    return curves[number]


def _ecdsa_holds(signature: bytes, key: EcKey, data: bytes, name: str) -> bool:
    """Return whether an ECDSA signature (DER) is over `data`, hashed by `name`; BearSSL takes no compressed point."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    if not key.point.startswith(b"\x04"):
        return False
    try:
        public = ec.EllipticCurvePublicKey.from_encoded_point(curve_of(key.curve), key.point)
        public.verify(signature, data, ec.ECDSA(getattr(hashes, name.upper())()))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def signature_holds(signature: bytes, key: PublicKey, data: bytes, name: str) -> bool:
    """Return whether `signature` over `data`, hashed by `name` ("sha256"), is by `key`."""
    if isinstance(key, EcKey):
        return _ecdsa_holds(signature, key, data, name)
    digest = hashlib.new(name, data, usedforsecurity=False).digest()
    return opens_to(signature, key, digest, name)


def _tails(digest: bytes, name: str | None) -> tuple[bytes, ...]:
    """Return what may stand at the end of an opened signature: the bare digest, or DigestInfo with and without NULL."""
    if name is None:
        return (digest,)
    oid = _der(0x06, _DIGEST_OIDS[name])
    return tuple(_der(0x30, _der(0x30, oid + null) + _der(0x04, digest)) for null in (b"\x05\0", b""))


def _der(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


@lru_cache(maxsize=8)
def _opened(signature: bytes, key: RsaKey) -> bytes | None:
    value = int.from_bytes(signature, "big")
    if value >= key.modulus or not key.modulus & 1:
        return None
    return pow(value, key.exponent, key.modulus).to_bytes(key.size, "big")


def _first_pem(text: bytes) -> bytes | None:
    """Return the first key that the cores' BearSSL finds, None where there is none, or anything in `text` is damaged.

    Their BearSSL, other than upstream's, skips every carriage return (src/codec/pemdec.t0, F2).
    """
    keys: list[bytes] = []
    lines = iter((text.replace(b"\r", b"") + b"\n").split(b"\n")[:-1])
    for line in lines:
        if not line.upper().startswith(_BEGIN):  # indented: no banner
            continue
        der = _pem_body(lines)
        if der is None:
            return None
        if line[len(_BEGIN) :].upper().rstrip(b"-") in _LABELS:
            keys.append(der)
    return keys[0] if keys else None


def _pem_body(lines: Iterator[bytes]) -> bytes | None:
    """Return the bytes up to the trailer; None where there is none, or a line is no Base64 in whole quartets."""
    out, padded = b"", False
    for line in lines:
        if line.startswith(b"-"):
            return out if line.upper().startswith(_END) else None
        quartets = line.translate(None, _SPACES)
        if (padded and line) or len(quartets) % 4 or b"=" in quartets[:-2]:
            return None
        try:
            out += base64.b64decode(quartets, validate=True)
        except binascii.Error:
            return None
        padded |= quartets.endswith(b"=")
    return None
