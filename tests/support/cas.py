"""Certificate authorities for tests, good and bad, made at run time; and DER surgery for what no library issues."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from otaseal.certs.pem import children
from support.rsa_keys import make_rsa

NOW = datetime(2030, 6, 1, 12, tzinfo=timezone.utc)
CA = (x509.BasicConstraints(ca=True, path_length=None), True)

_KINDS: dict[str, Callable[[], Any]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),
}


def key(kind: str, index: int = 0) -> Any:
    """Return a private key; the same arguments give the same key."""
    return make_rsa(2048, 10 + index) if kind == "RSA-2048" else _make(kind, index)


@cache
def _make(kind: str, index: int) -> Any:
    return _KINDS[kind]()


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def issue(
    subject: str,
    public_key: Any,
    issuer: tuple[str, Any],
    extensions: tuple[tuple[Any, bool], ...] = (CA,),
    valid: tuple[datetime, datetime] = (NOW - timedelta(days=100), NOW + timedelta(days=5000)),
) -> bytes:
    """Return a certificate in DER, signed by the issuer's private key under the issuer's name."""
    issuer_name, signer = issuer
    builder = x509.CertificateBuilder(name(issuer_name), name(subject), public_key, x509.random_serial_number(), *valid)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer, None if edwards else hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@cache
def root(subject: str = "Workshop of Blinking Things CA", kind: str = "P-256", index: int = 0, **options: Any) -> bytes:
    """Return a self-signed certificate in DER."""
    own = key(kind, index)
    return issue(subject, own.public_key(), (subject, own), **options)


def leaf(issuer: str = "Workshop of Blinking Things CA", kind: str = "P-256", index: int = 0) -> bytes:
    """Return a server certificate from the CA of that name and key."""
    alternative = (x509.SubjectAlternativeName([x509.DNSName("ota.example")]), False)
    return issue("ota.example", key("P-256", 99).public_key(), (issuer, key(kind, index)), (alternative,))


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(der) + f"-----END {label}-----\n".encode()


def tlv(tag: int, contents: bytes) -> bytes:
    """Return one DER element."""
    size = len(contents)
    if size < 0x80:
        return bytes([tag, size]) + contents
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + contents


def surgery(der: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Return `der` with the elements of its signed part changed; the signature of an anchor is never verified."""
    signed, algorithm, signature = (whole for _, _, whole in children(children(der)[0][1]))
    fields = [whole for _, _, whole in children(children(signed)[0][1])]
    return tlv(0x30, tlv(0x30, b"".join(change(fields))) + algorithm + signature)


def version_1(der: bytes) -> bytes:
    """Return the certificate as X.509 v1: no version, no extensions."""
    return surgery(der, lambda fields: fields[1:7])


def with_spki(der: bytes, spki: bytes) -> bytes:
    """Return the certificate with another subjectPublicKeyInfo."""
    return surgery(der, lambda fields: [*fields[:6], spki, *fields[7:]])


def spki_of(request: bytes) -> bytes:
    """Return the public key (DER) of a certificate request (DER)."""
    key = x509.load_der_x509_csr(request).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
