"""Certificates as the stacks see them: parsed once, bounded, and the path that each stack builds from what it
is sent.

Pure. A path is built from names and signatures alone, so that every other fault on it can be named by a rule.
The stacks differ: BearSSL takes the certificates strictly in the order sent, mbedTLS looks only further down
the list, OpenSSL (Python, curl) looks anywhere. The root never has to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    Extension = TypeVar("Extension", bound=x509.ExtensionType)

__all__ = ["Certificate", "Path", "Stack", "build_path", "parse_certificate", "parse_certificates"]

MAX_CERTIFICATES = 500  # the largest trust stores hold about 150
MAX_CERTIFICATE_BYTES = 64 * 1024


class Stack(Enum):
    """Who verifies: the device, or what people have beside it."""

    BEARSSL = "bearssl"  # the ESP8266, by BearSSL's minimal engine
    MBEDTLS = "mbedtls"  # the ESP32, by mbedTLS 2.28 and its defaults
    OPENSSL = "openssl"  # Python 3.13's default context: strict, partial chains, security level 2
    CURL = "curl"  # curl on OpenSSL: not strict, security level 2


class Certificate:
    """One certificate: its DER, and what the rules ask of it. Equal if the bytes are."""

    def __init__(self, der: bytes) -> None:
        """Parse `der`; raises InputError unless it is exactly one certificate with well-formed extensions."""
        from cryptography import x509

        if len(der) > MAX_CERTIFICATE_BYTES:
            raise InputError(f"a certificate of {len(der)} bytes", f"at most {MAX_CERTIFICATE_BYTES} are looked at")
        self.der = bytes(der)
        try:
            self.x509 = x509.load_der_x509_certificate(self.der)
            self._extensions = list(self.x509.extensions)
            self.key: CertificatePublicKeyTypes | None = self._load_key()
            self.subject = self.x509.subject.public_bytes()
            self.issuer = self.x509.issuer.public_bytes()
            if self.der[-len(self.x509.signature) - 1]:
                raise ValueError("a signature of a fraction of bytes")
        except (ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion) as error:
            raise InputError(
                "this is not one whole X.509 certificate in DER", "convert it with openssl x509"
            ) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def _load_key(self) -> CertificatePublicKeyTypes | None:
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            return self.x509.public_key()
        except UnsupportedAlgorithm:
            return None

    @property
    def extensions(self) -> list[x509.Extension[x509.ExtensionType]]:
        """All extensions, in their order."""
        return self._extensions

    def extension(self, kind: type[Extension]) -> Extension | None:
        """Return the value of the extension of class `kind`, None if there is none."""
        return next((one.value for one in self._extensions if isinstance(one.value, kind)), None)

    @cached_property
    def title(self) -> str:
        """The subject as people read it."""
        return self.x509.subject.rfc4514_string() or "an empty subject"

    @cached_property
    def hash_name(self) -> str:
        """What the signature is over, such as "sha256"; empty if that is unknown, or part of the algorithm."""
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            found = self.x509.signature_hash_algorithm
        except UnsupportedAlgorithm:
            return ""
        return found.name if found else ""

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are the same."""
        return self.subject == self.issuer

    @property
    def is_ca(self) -> bool:
        """Whether the basic constraints say so."""
        from cryptography import x509

        found = self.extension(x509.BasicConstraints)
        return found is not None and found.ca

    @property
    def is_version_3(self) -> bool:
        """Whether it can have extensions at all."""
        from cryptography import x509

        return self.x509.version is x509.Version.v3

    def valid_at(self, now: datetime) -> bool:
        """Whether `now` (aware) lies within the validity, ends included."""
        return self.x509.not_valid_before_utc <= now <= self.x509.not_valid_after_utc

    def issued_by(self, issuer: Certificate) -> bool:
        """Whether `issuer` has the right name and a key that verifies this certificate's signature."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        if self.issuer != issuer.subject:
            return False
        try:
            self._verify(issuer.key)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    def _verify(self, key: CertificatePublicKeyTypes | None) -> None:
        """Verify the signature, SHA-1 included: whether that is good enough is for a rule to say."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        signature, signed = self.x509.signature, self.x509.tbs_certificate_bytes
        how, hashed = self.x509.signature_algorithm_parameters, self.x509.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and isinstance(how, padding.PKCS1v15 | padding.PSS) and hashed:
            key.verify(signature, signed, how, hashed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(signature, signed, how)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            raise TypeError("another kind of key than the signature's")


@dataclass(frozen=True)
class Path:
    """What a stack verifies: the certificates sent, leaf first, and the anchor above the last (None: no
    trust).

    `direct`: the leaf itself is the anchor. `gap` says where the search ended when there is no anchor.
    """

    sent: tuple[Certificate, ...]
    anchor: Certificate | None
    direct: bool = False
    gap: str = ""

    @property
    def leaf(self) -> Certificate:
        """The server's own certificate."""
        return self.sent[0]

    @property
    def all(self) -> tuple[Certificate, ...]:
        """Leaf, intermediates and anchor."""
        return self.sent if self.anchor is None or self.direct else (*self.sent, self.anchor)


def parse_certificate(data: bytes) -> Certificate:
    """Return the one certificate in `data`, DER or PEM; raises InputError."""
    found = parse_certificates(data)
    if len(found) != 1:
        raise InputError(f"{len(found)} certificates where one belongs", "split the file")
    return found[0]


def parse_certificates(data: bytes) -> tuple[Certificate, ...]:
    """Return the certificates in `data`, one in DER or up to 500 in PEM, in their order; raises InputError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    if b"-----BEGIN" not in data:
        return (Certificate(data),)
    if data.count(b"-----BEGIN") > MAX_CERTIFICATES or len(data) > MAX_CERTIFICATES * MAX_CERTIFICATE_BYTES:
        raise InputError("too many certificates in one file", f"at most {MAX_CERTIFICATES} are looked at")
    try:
        loaded = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise InputError("no certificate can be read from this PEM", "it has to say BEGIN CERTIFICATE") from error
    return tuple(Certificate(one.public_bytes(Encoding.DER)) for one in loaded)


def build_path(stack: Stack, chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """Return the path that `stack` builds from `chain` (as sent, leaf first) to one of `anchors`.

    Raises InputError for an empty chain.
    """
    if not chain:
        raise InputError("a chain without a certificate", "the server's own certificate comes first")
    return _BUILDERS[stack](chain, anchors, now)


def _build_in_order(chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """BearSSL: each certificate has to issue the one before it, until an anchor issues the last."""
    leaf = chain[0]
    for anchor in anchors:
        if not anchor.is_ca and anchor.subject == leaf.subject and anchor.key == leaf.key:
            return Path((leaf,), anchor, direct=True)
    for index, one in enumerate(chain):
        if index and not chain[index - 1].issued_by(one):
            gap = f"number {index + 1} of the chain, '{one.title}', does not issue the one before it"
            return Path(tuple(chain[:index]), None, gap=gap)
        for anchor in anchors:
            if one.issued_by(anchor):
                return Path(tuple(chain[: index + 1]), anchor)
    return Path(tuple(chain), None, gap=_no_issuer(chain[-1]))


def _build_downwards(chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """mbedTLS: the issuer is an anchor, or stands somewhere behind its child."""
    leaf = chain[0]
    if leaf.self_issued and leaf in anchors:
        return Path((leaf,), leaf, direct=True)
    return _climb([leaf], lambda path: chain[chain.index(path[-1]) + 1 :], anchors, now)


def _build_anyhow(chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """OpenSSL: anchors first, then any certificate sent; a sent certificate that is an anchor ends the path."""
    leaf = chain[0]
    if leaf in anchors:
        return Path((leaf,), leaf, direct=True)
    return _climb([leaf], lambda path: [one for one in chain[1:] if one not in path], anchors, now)


def _climb(
    path: list[Certificate],
    candidates: Callable[[list[Certificate]], Sequence[Certificate]],
    anchors: Sequence[Certificate],
    now: datetime,
) -> Path:
    while True:
        child = path[-1]
        anchor = _issuer(child, anchors, now)
        if anchor is not None:
            return Path(tuple(path), anchor)
        issuer = None if child.self_issued else _issuer(child, candidates(path), now)
        if issuer is None:
            return Path(tuple(path), None, gap=_no_issuer(child))
        path.append(issuer)


def _issuer(child: Certificate, candidates: Sequence[Certificate], now: datetime) -> Certificate | None:
    found = [one for one in candidates if child.issued_by(one)]
    return next((one for one in found if one.valid_at(now)), found[0] if found else None)


def _no_issuer(certificate: Certificate) -> str:
    signer = certificate.x509.issuer.rfc4514_string()
    return f"nothing sent or trusted issues '{certificate.title}', which '{signer}' signed"


_BUILDERS: dict[Stack, Callable[[Sequence[Certificate], Sequence[Certificate], datetime], Path]] = {
    Stack.BEARSSL: _build_in_order,
    Stack.MBEDTLS: _build_downwards,
    Stack.OPENSSL: _build_anyhow,
    Stack.CURL: _build_anyhow,
}
