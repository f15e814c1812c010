"""Devices that enrol: requests for a certificate as a chip makes them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

MAC = "5C:CF:7F:00:00:01"


def csr(key: ec.EllipticCurvePrivateKey, name: str = MAC) -> bytes:
    """Return a certificate request (DER) of the device `name`."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)
