"""An authority and the certificates that it issues, in memory.

Three roles, three separate authorities: what one role's authority signs is worth nothing to those who trust another
(F23). Only `load` reads files (see `store`), and nothing reads a clock. Private keys do not show in a repr.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..certs import x509_names
from ..errors import ConfigError, InputError, KeyRefusedError
from ..keys.signers import private_key_pem
from .certificate import Certificate, parse_certificate
from .profile import (
    LEAF_DAYS,
    ROOT_DAYS,
    KeyType,
    Role,
    Validity,
    check_device,
    check_holder,
    leaf_builder,
    make_key,
    root_builder,
    subject_alternative_names,
    subject_name,
    titled,
)

if TYPE_CHECKING:
    from cryptography import x509

    from .profile import PrivateKey, PublicKey
    from .scope import Scope

# docs/adr/0004: RSA is what a chip verifies cheapest; what only the server verifies may as well be short on
# the wire
AUTHORITY_KEYS = {Role.SERVER: KeyType.RSA_2048, Role.DEVICE: KeyType.P_256, Role.OPERATOR: KeyType.P_256}
CERTIFICATE_FILE, KEY_FILE = "certificate.pem", "key.pem"
MAX_FILE_BYTES = 64 * 1024
RANDOM_BYTES = 4
"""What tells a root's subject from that of its successor (F17), in hex at its end."""
DEFAULT_SERVER_KEY = KeyType.RSA_2048


@dataclass(frozen=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def chain_pem(self) -> bytes:
        """What a server sends, PEM: the certificate alone, since the root issues leaves and is not sent (F27b)."""
        return _pem(self.certificate)

    @property
    def private_key_pem(self) -> bytes:
        """The private key as PKCS#8 PEM, not encrypted."""
        return private_key_pem(self.key, None)


@dataclass(frozen=True)
class Authority:
    """A root certificate and its key, for one role of one product."""

    role: Role
    product: str
    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @classmethod
    def create(cls, *, role: Role, product: str, now: datetime, key: KeyType | PrivateKey | None = None) -> Authority:
        """Return a new authority; `key` is a kind of key, or the key itself, or None for the role's default.

        The subject ends with four random bytes: of two roots that share one, the device finds only the first (F17).
        """
        chosen = AUTHORITY_KEYS[role] if key is None else key
        private = make_key(chosen) if isinstance(chosen, KeyType) else chosen
        subject = subject_name(product, titled(product, f"{role.value} CA {secrets.token_hex(RANDOM_BYTES)}"))
        builder = root_builder(subject, private.public_key(), Validity.starting(now, ROOT_DAYS))
        return cls(role, product, _sign(builder, private), private)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, key_pem: bytes, passphrase: bytes | None = None) -> Authority:
        """Return the authority that `create` made once; `passphrase` unlocks the key.

        Raises InputError for anything else than one of our roots, KeyRefusedError when the key cannot be unlocked or
        is another root's.
        """
        key = load_private_key(key_pem, passphrase)
        parsed = parse_certificate(certificate_pem)
        if parsed.key != key.public_key():
            raise KeyRefusedError(f"the key is not that of '{parsed.title}'", "restore both from one backup")
        role, product = _read_subject(parsed)
        return cls(role, product, parsed.x509, key)

    @classmethod
    def load(cls, directory: Path, passphrase: bytes | None = None) -> Authority:
        """Return the authority in `directory` (`certificate.pem`, `key.pem`); raises what `from_pem` does."""
        certificate = files.read_bounded(directory / CERTIFICATE_FILE, MAX_FILE_BYTES, "authority's certificate")
        key = files.read_bounded(directory / KEY_FILE, MAX_FILE_BYTES, "authority's key")
        return cls.from_pem(certificate, key, passphrase)

    @property
    def certificate_der(self) -> bytes:
        """The root certificate, DER: what goes into the device's archive."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.DER)

    @property
    def certificate_pem(self) -> bytes:
        """The root certificate, PEM."""
        return _pem(self.certificate)

    @property
    def validity(self) -> Validity:
        """From when to when the root is valid."""
        return Validity(self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc)

    def issue_server(
        self, names: list[str], *, now: datetime, key: KeyType | PrivateKey = DEFAULT_SERVER_KEY
    ) -> Issued:
        """Return a server certificate for `names` (host names and addresses), valid for at most 366 days.

        Raises ConfigError when this is not a server authority or a name cannot be one.
        """
        self._require(Role.SERVER)
        subject = subject_name(titled(self.product, "update servers"), titled(self.product, "server"))
        return self._issue(subject, subject_alternative_names(names), now, key)

    def issue_device(self, device: str, *, now: datetime, key: KeyType | PrivateKey = KeyType.P_256) -> Issued:
        """Return a client certificate whose common name is `device`, valid as long as this authority.

        A device in the field cannot be handed a new certificate: what ends its life is `revoke`. P-256, because an RSA
        signature takes the chip twelve times as long (F27b).
        """
        return self._issue(self._device_subject(device), [], now, key)

    def enroll_device(self, device: str, public_key: PublicKey, *, now: datetime, days: int) -> bytes:
        """Return a client certificate (PEM) named `device` for a key in the chip, valid for at most `days`."""
        return _pem(self._certify(self._device_subject(device), [], now, public_key, days))

    def issue_operator(
        self, operator: str, *, now: datetime, key: KeyType | PrivateKey = KeyType.P_256, scopes: Iterable[Scope] = ()
    ) -> Issued:
        """Return a client certificate named `operator` for `scopes` or for everything, valid for at most 398 days."""
        self._require(Role.OPERATOR)
        from cryptography import x509

        subject = subject_name(titled(self.product, "operators"), check_holder(operator))
        return self._issue(subject, [x509.UniformResourceIdentifier(scope.uri) for scope in scopes], now, key)

    def _issue(
        self, subject: x509.Name, names: Sequence[x509.GeneralName], now: datetime, key: KeyType | PrivateKey
    ) -> Issued:
        private = make_key(key) if isinstance(key, KeyType) else key
        return Issued(self._certify(subject, names, now, private.public_key(), LEAF_DAYS[self.role]), private)

    def _certify(
        self, subject: x509.Name, names: Sequence[x509.GeneralName], now: datetime, key: PublicKey, days: int
    ) -> x509.Certificate:
        from cryptography import x509

        start, end = self.validity.not_before, self.validity.not_after
        if not start <= now <= end:
            raise InputError(
                f"the authority '{self.certificate.subject.rfc4514_string()}' is valid from {start:%Y-%m-%d} "
                f"to {end:%Y-%m-%d}, and it is {now:%Y-%m-%d}",
                "check the clock; an authority that has run out is replaced by its successor",
            )
        validity = Validity.starting(now, days).within(self.validity)
        builder = leaf_builder(self.certificate, self.role, subject, key, validity)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _sign(builder, self.key)

    def _device_subject(self, device: str) -> x509.Name:
        self._require(Role.DEVICE)
        return subject_name(titled(self.product, "devices"), check_device(device))

    def _require(self, role: Role) -> None:
        if self.role is not role:
            raise ConfigError(
                f"the {self.role.value} authority of '{self.product}' issues no {role.value} certificates",
                f"use the {role.value} authority: one for both lets a device pose as the server",
            )


def load_private_key(pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """Return the private key in `pem`; raises KeyRefusedError for no key of ours, or a passphrase that is wrong."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if passphrase is not None and b"ENCRYPTED" not in pem:
        passphrase = None  # what needs no passphrase is not refused for being given one
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError) as error:
        raise KeyRefusedError("the private key cannot be unlocked", "check the passphrase, and the file") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise KeyRefusedError("the private key is neither RSA nor EC", "devices verify no other kind")
    return key


def _read_subject(root: Certificate) -> tuple[Role, str]:
    product, title = (
        (x509_names.values_of(root.subject, oid) or ("",))[-1]
        for oid in (x509_names.ORGANIZATION, x509_names.COMMON_NAME)
    )
    for role in Role:
        ending = f"{role.value} CA {title[-2 * RANDOM_BYTES :]}"
        if root.is_ca and title == titled(product, ending):
            return role, product
    raise InputError(f"'{root.title}' is not an authority that otaseal made", "make one with otaseal pki")


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives.hashes import SHA256

    return builder.sign(key, SHA256())
