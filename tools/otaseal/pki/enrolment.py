"""What a device asks for when it wants a certificate: a PKCS#10 request, checked before anybody signs it. Pure.

The private key stays in the chip. Of a request counts the public key, the proof that the device has its private half,
and the common name; nothing else that stands in it is believed (RFC 2986).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ConfigError, InputError
from .profile import check_device

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

ENROLLED_DAYS = 398
"""How long a certificate of an enrolment is valid; the device itself asks for the next one."""
MAX_REQUEST_BYTES = 2048
"""DER: a P-256 key with a name takes 220 to 300, and openssl adds what its configuration says."""
_PEM_BEGIN = b"-----BEGIN "
_ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2"  # RFC 5758 section 3.2
_ASK_AGAIN = "let the device make a new one"


@dataclass(frozen=True)
class Request:
    """A request that holds: `device` is its common name, `public_key` on P-256, `der` the request itself."""

    device: str
    public_key: EllipticCurvePublicKey = field(repr=False)
    der: bytes = field(repr=False)


def decode_request(text: str) -> Request:
    """Return the request in base64 (RFC 4648 section 4, without line breaks); raises as `check_request`."""
    if len(text) > MAX_REQUEST_BYTES * 4 // 3 + 4:
        raise _too_large(f"{len(text)} characters")
    try:
        data = base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except binascii.Error as error:
        # Not quoted: what stands where a request belongs may be a claim code.
        raise InputError(f"the certificate request, of {len(text)} characters, is not in base64", _ASK_AGAIN) from error
    return check_request(data)


def check_request(data: bytes) -> Request:
    """Return the one request in `data`, DER or PEM.

    Raises InputError unless it is signed by ECDSA with SHA-256 and the P-256 key in it, and has one common name, which
    can be a device's.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    is_pem = data.lstrip().startswith(_PEM_BEGIN)
    if len(data) > MAX_REQUEST_BYTES * (2 if is_pem else 1):
        raise _too_large(f"{len(data)} bytes")
    try:
        csr = x509.load_pem_x509_csr(data) if is_pem else x509.load_der_x509_csr(data)
        key, algorithm = csr.public_key(), csr.signature_algorithm_oid.dotted_string
        names = [str(attribute.value) for attribute in csr.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        holds = isinstance(key, ec.EllipticCurvePublicKey) and csr.is_signature_valid
        der = csr.public_bytes(Encoding.DER)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InputError("this is not one whole certificate request (PKCS#10)", _ASK_AGAIN) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputError(
            f"the certificate request is for a key that is not on P-256 ({_kind(key)})",
            "make the key on P-256 (prime256v1): chips sign with no other in reasonable time",
        )
    if algorithm != _ECDSA_WITH_SHA256:
        raise InputError(f"the certificate request is signed by '{algorithm}'", "sign it by ECDSA with SHA-256")
    if not holds:
        raise InputError("the certificate request is not signed by the key in it", _ASK_AGAIN)
    return Request(_device_in(names), key, der)


def _device_in(names: list[str]) -> str:
    if len(names) != 1:
        raise InputError(f"the certificate request has {len(names)} common names", "one belongs there: the device's")
    try:
        return check_device(names[0])
    except ConfigError as error:
        raise InputError(f"'{names[0]}' in the certificate request cannot be a device's name", error.hint) from error


def _too_large(size: str) -> InputError:
    return InputError(f"a certificate request of {size}", f"{MAX_REQUEST_BYTES} bytes of DER are the most")


def _kind(key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name
    return f"RSA, {key.key_size} bits" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__
