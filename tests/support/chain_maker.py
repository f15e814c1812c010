"""Certificates of every make, good and bad, for the matrix: everything that `otaseal.pki` itself would never issue."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache, cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from otaseal.certs.pem import children
from support.cas import tlv
from support.rsa_keys import make_rsa

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SHA256_RSA, SHA1_RSA = (bytes.fromhex(f"06092a864886f70d0101{last}") for last in ("0b", "05"))
NOW = datetime.now(timezone.utc).replace(microsecond=0)  # python and curl have no other clock


@cache
def make_ec(curve: str = "secp256r1", index: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(
        {"secp256r1": ec.SECP256R1, "secp384r1": ec.SECP384R1, "secp521r1": ec.SECP521R1}[curve]()
    )


@cache
def make_ed(index: int = 0) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def usage(*bits: str) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    every += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # type: ignore[assignment]
    return x509.KeyUsage(**{bit: bit in bits for bit in every})


def san(*names: str) -> x509.SubjectAlternativeName:
    """Names as `dns:...` or `ip:...`."""
    split = [name.split(":", 1) for name in names]
    made = [x509.DNSName(v) if k == "dns" else x509.IPAddress(ipaddress.ip_address(v)) for k, v in split]
    return x509.SubjectAlternativeName(made)


@dataclass(frozen=True)
class Made:
    der: bytes
    key: Any = field(repr=False)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate, if `cryptography` can read it."""
        return x509.load_der_x509_certificate(self.der)


@dataclass(frozen=True)
class Plan:
    """What differs from a good certificate; `without` leaves extensions out, `critical` makes some critical."""

    key: Any = None
    ca: bool = False
    path_length: int | None = None
    names: x509.SubjectAlternativeName | None = None
    usage: x509.KeyUsage | None = None
    uses: tuple[x509.ObjectIdentifier, ...] = ()
    constraints: x509.NameConstraints | None = None
    without: tuple[type, ...] = ()
    critical: tuple[type, ...] = (x509.BasicConstraints, x509.KeyUsage)
    start: timedelta = timedelta(days=-10)
    end: timedelta = timedelta(days=100)
    rsa_padding: Any = None
    others: tuple[x509.ExtensionType, ...] = ()


def make(common_name: str, issuer: Made | None = None, plan: Plan | None = None, **options: Any) -> Made:
    """Issue a certificate for `common_name` under `issuer`, or a self-signed one; `options` are those of `Plan`."""
    plan = plan or Plan(**options)
    key = plan.key or make_ec(index=hash(common_name))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    signer = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + plan.start)
        .not_valid_after(NOW + plan.end)
    )
    for extension in extensions(plan, key.public_key(), signer.public_key()):
        if not isinstance(extension, plan.without):
            builder = builder.add_extension(extension, isinstance(extension, plan.critical))
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signer, algorithm, rsa_padding=plan.rsa_padding).public_bytes(Encoding.DER), key)


def extensions(plan: Plan, public: Any, above: Any) -> list[x509.ExtensionType]:
    default = usage("key_cert_sign", "crl_sign") if plan.ca else usage("digital_signature", "key_encipherment")
    found: list[x509.ExtensionType | None] = [
        x509.BasicConstraints(plan.ca, plan.path_length),
        plan.usage or default,
        x509.SubjectKeyIdentifier.from_public_key(public),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(above),
        plan.names,
        x509.ExtendedKeyUsage(plan.uses) if plan.uses else None,
        plan.constraints,
        *plan.others,
    ]
    return [one for one in found if one is not None]


def rebuilt(made: Made, issuer: Made, change: Callable[[list[bytes]], list[bytes]]) -> Made:
    """Return `made` with the elements of its signed part changed, signed anew by `issuer`, whose key is on a curve.

    They are version, serial number, algorithm, issuer, validity, subject, key and extensions, each as encoded.
    """
    _, body, _ = children(children(made.der)[0][1])[0]
    inner = tlv(0x30, b"".join(change([whole for _, _, whole in children(body)])))
    signature = issuer.key.sign(inner, ec.ECDSA(hashes.SHA256()))
    return signed(inner, bytes.fromhex("300a06082a8648ce3d040302"), signature, made.key)


def without_version(made: Made, issuer: Made) -> Made:
    """Return `made`, a certificate without extensions, as version 1, signed anew by `issuer`."""
    return rebuilt(made, issuer, lambda fields: fields[1:])


def respelled(made: Made, issuer: Made, old: bytes, new: bytes) -> Made:
    """Return `made` with other bytes of the same length in the names and extensions where `old` is, signed anew."""
    assert len(old) == len(new)
    changed = rebuilt(made, issuer, lambda fields: [*fields[:3], *(one.replace(old, new) for one in fields[3:])])
    assert old not in changed.der
    return changed


def named(tag: int, text: bytes) -> bytes:
    """Return a name that is one common name, in a string of any type."""
    return tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403") + tlv(tag, text))))


def raw_extension(oid: str, value: str) -> x509.UnrecognizedExtension:
    """Return an extension with a value that no library would write, in hexadecimal."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))


def with_sha1(made: Made, issuer: Made) -> Made:
    """Return `made`, whose issuer has an RSA key, signed anew over SHA-1."""
    tbs = made.certificate.tbs_certificate_bytes
    assert tbs.count(SHA256_RSA) == 1
    inner = tbs.replace(SHA256_RSA, SHA1_RSA)
    signature = issuer.key.sign(inner, padding.PKCS1v15(), hashes.SHA1())
    return signed(inner, tlv(0x30, SHA1_RSA + b"\x05\x00"), signature, made.key)


def signed(tbs: bytes, algorithm: bytes, signature: bytes, key: Any) -> Made:
    data = tlv(0x30, tbs + algorithm + tlv(0x03, b"\x00" + signature))
    return Made(data, key)


__all__ = [
    "CLIENT_AUTH",
    "NOW",
    "SERVER_AUTH",
    "Made",
    "Plan",
    "make",
    "make_ec",
    "make_ed",
    "make_rsa",
    "named",
    "raw_extension",
    "rebuilt",
    "respelled",
    "san",
    "usage",
]
