"""Certificates with the values that the rules need, each parsed once and within bounds.

Pure. They are read as liberally as the stacks read them (`x509_fields`); what stricter decoders refuse is advice.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from ..certs import pem, x509_extensions, x509_names
from ..certs.x509_fields import read_certificate
from ..errors import InputError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MAX_CERTIFICATES = 500  # the largest trust stores hold about 150
MAX_CERTIFICATE_BYTES = 64 * 1024
RSA, ECDSA, ED25519, PSS = "RSA", "ECDSA", "Ed25519", "RSA-PSS"
SIGNATURES = {
    "1.2.840.113549.1.1.4": (RSA, "md5"),
    "1.2.840.113549.1.1.5": (RSA, "sha1"),
    "1.2.840.113549.1.1.14": (RSA, "sha224"),
    "1.2.840.113549.1.1.11": (RSA, "sha256"),
    "1.2.840.113549.1.1.12": (RSA, "sha384"),
    "1.2.840.113549.1.1.13": (RSA, "sha512"),
    "1.2.840.10045.4.1": (ECDSA, "sha1"),
    "1.2.840.10045.4.3.1": (ECDSA, "sha224"),
    "1.2.840.10045.4.3.2": (ECDSA, "sha256"),
    "1.2.840.10045.4.3.3": (ECDSA, "sha384"),
    "1.2.840.10045.4.3.4": (ECDSA, "sha512"),
    "1.3.101.112": (ED25519, ""),
    "1.2.840.113549.1.1.10": (PSS, ""),
}
"""The kind of key that signs, and the hash where the identifier names it."""


class Certificate:
    """One certificate: its DER, its fields, and values of its extensions. Equal if the bytes are.

    An extension that is not there is None. `key` is None where it is of a kind or form that nobody here knows. What
    signed it, `signature_kind`, is "RSA", "RSA-PSS", "ECDSA", "Ed25519", or empty for another; `hash_name` is such as
    "sha256", empty where the algorithm's identifier does not name the hash.
    """

    def __init__(self, der: bytes) -> None:
        """Parse `der`; raises InputError unless it is exactly one certificate with well-formed extensions."""
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise InputError(f"a certificate of {len(der)} bytes", f"at most {MAX_CERTIFICATE_BYTES} are looked at")
        self.der = bytes(der)
        try:
            self.fields = read_certificate(self.der)
            self.subject, self.issuer = self.fields.subject, self.fields.issuer
            self.extensions, extension = self.fields.extensions, self.fields.extension
            self.title = x509_names.written(self.subject) or "an empty subject"
            self.issuer_title = x509_names.written(self.issuer) or "an empty subject"
            self.common_names = x509_names.values_of(self.subject, x509_names.COMMON_NAME)
            self.constraints = extension("2.5.29.19", x509_extensions.basic_constraints)
            self.usage = extension("2.5.29.15", x509_extensions.key_usage)
            self.uses = extension("2.5.29.37", x509_extensions.extended_key_usage)
            self.subject_key = extension("2.5.29.14", x509_extensions.subject_key_identifier)
            self.authority_key = extension("2.5.29.35", x509_extensions.authority_key_identifier)
            self.alternatives = extension("2.5.29.17", x509_extensions.alternative_names)
            self.name_constraints = extension("2.5.29.30", x509_extensions.name_constraints)
            self.policies = extension("2.5.29.32", x509_extensions.policies)
            if self.authority_key is not None and self.authority_key.issuer is not None:
                x509_names.written(self.authority_key.issuer)
        except ValueError as error:
            raise InputError(
                f"this is not one whole X.509 certificate in DER ({error})", "convert it with openssl x509"
            ) from error
        self.signature_kind, self.hash_name = SIGNATURES.get(self.fields.algorithm, ("", ""))
        self.self_issued = self.subject == self.issuer
        self.is_ca = self.constraints is not None and self.constraints.ca
        self.key = self.fields.load_key()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @cached_property
    def x509(self) -> x509.Certificate:
        """The certificate as `cryptography` has it, for those that are ours; raises InputError where it minds it."""
        from cryptography import x509

        try:
            return x509.load_der_x509_certificate(self.der)
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            raise InputError(f"'{self.title}' is not in strict DER", "have it issued again") from error

    @property
    def serial(self) -> str:
        """The serial number as the index has it, hexadecimal."""
        return f"{self.fields.serial:x}"

    @property
    def names(self) -> tuple[str, ...]:
        """The host names and the addresses, as text, in the subjectAltName."""
        alternatives = self.alternatives or x509_extensions.AlternativeNames()
        return (*alternatives.hosts, *map(str, alternatives.addresses))

    @property
    def may_issue(self) -> bool:
        """Whether it is a CA whose key usage, if there is one, has keyCertSign."""
        return self.is_ca and (self.usage is None or "keyCertSign" in self.usage)

    @property
    def is_version_3(self) -> bool:
        """Whether it can have extensions at all."""
        return self.fields.version == 3

    def valid_at(self, now: datetime) -> bool:
        """Whether `now` (aware) lies within the validity, ends included."""
        return self.fields.not_before <= now <= self.fields.not_after

    def signed_by(self, issuer: Certificate) -> bool:
        """Whether the issuer's key verifies this certificate's signature, SHA-1 included; names are not looked at."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        try:
            self._verify(issuer.key)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, InputError):
            return False
        return True

    def _verify(self, key: PublicKeyTypes | None) -> None:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        signature, signed, kind = self.fields.signature, self.fields.signed, self.signature_kind
        hashed = getattr(hashes, self.hash_name.upper())() if self.hash_name else None
        if isinstance(key, rsa.RSAPublicKey) and kind == RSA and hashed is not None:
            key.verify(signature, signed, padding.PKCS1v15(), hashed)
        elif isinstance(key, rsa.RSAPublicKey) and kind == PSS:
            # The parameters are read by `cryptography`; nobody who is strict about them minds the rest.
            parameters, pss_hash = self.x509.signature_algorithm_parameters, self.x509.signature_hash_algorithm
            if not isinstance(parameters, padding.PSS) or pss_hash is None:
                raise TypeError("a signature with unknown parameters")
            key.verify(signature, signed, parameters, pss_hash)
        elif isinstance(key, ec.EllipticCurvePublicKey) and kind == ECDSA and hashed is not None:
            key.verify(signature, signed, ec.ECDSA(hashed))
        elif isinstance(key, ed25519.Ed25519PublicKey) and kind == ED25519:
            key.verify(signature, signed)
        else:
            raise TypeError("another kind of key than the signature's")


def parse_certificate(data: bytes) -> Certificate:
    """Return the one certificate in `data`, DER or PEM; raises InputError."""
    certificates = parse_certificates(data)
    if len(certificates) != 1:
        raise InputError(f"{len(certificates)} certificates where one belongs", "split the file")
    return certificates[0]


def parse_certificates(data: bytes) -> tuple[Certificate, ...]:
    """Return the certificates in `data`, in their order: one in DER, or up to 500 in PEM or PKCS#7.

    Other blocks, a server's key in the file of its chain for one, are passed over. Raises InputError.
    """
    if len(data) > MAX_CERTIFICATES * MAX_CERTIFICATE_BYTES or data.count(pem.BEGIN) > MAX_CERTIFICATES:
        raise InputError("too many certificates in one file", f"at most {MAX_CERTIFICATES} are looked at")
    return tuple(map(Certificate, pem.certificates(data)))
