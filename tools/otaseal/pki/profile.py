"""What our certificates say: the one X.509 profile that BearSSL, mbedTLS, OpenSSL strict and curl all accept.

Every rule names the fact it comes from. Names are subject alternative names; an address stands there twice, as
iPAddress and as the text of a dNSName, because each half of the stacks looks only at one of them (F22).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..names import NOT_RESERVED

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

ROOT_DAYS = 25 * 365 + 6  # longer than any device in the field; a root is rotated by shipping two, not by renewal
BACKDATED = timedelta(days=1)  # clocks that run slow, and time zones taken for UTC
MIN_SUBJECT_BYTES = 32  # F18: the device copies 32 bytes out of the encoded subject, whatever its size
MAX_NAMES = 100
MAX_NAME = 64  # characters; RFC 5280 appendix A, ub-common-name and ub-organization-name

_HOLDER = re.compile(rf"{NOT_RESERVED}[a-z0-9](?:[a-z0-9._@-]{{0,62}}[a-z0-9_@-])?", re.ASCII | re.IGNORECASE)
MAC_ADDRESS = re.compile("[0-9A-F]{2}(:[0-9A-F]{2}){5}")
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*",
    re.I,
)

_KEY_USAGE_BITS = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Role(Enum):
    """Whom an authority vouches for. One authority for two roles lets a device pose as the server (F23)."""

    SERVER = "server"
    DEVICE = "device"
    OPERATOR = "operator"


# a server's by Mozilla's intermediate profile: browsers and Apple's stack would take 398
LEAF_DAYS = {Role.SERVER: 366, Role.DEVICE: ROOT_DAYS, Role.OPERATOR: 398}


class KeyType(Enum):
    """The kinds of key that we make: what every chip verifies in reasonable time (F26, F27d)."""

    RSA_2048 = "rsa-2048"
    P_256 = "p-256"


@dataclass(frozen=True)
class Validity:
    """From when to when (both aware, UTC, whole seconds, both inclusive)."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def starting(cls, now: datetime, days: int) -> Validity:
        """Return a validity of `days` days in all, back-dated a little; `now` has to be aware."""
        if now.tzinfo is None:
            raise ConfigError(f"the time '{now.isoformat()}' has no time zone", "pass an aware datetime, in UTC")
        start = now.replace(microsecond=0) - BACKDATED
        return cls(start, start + timedelta(days=days) - timedelta(seconds=1))

    def within(self, outer: Validity) -> Validity:
        """Return this validity cut to `outer`: no certificate outlives its issuer."""
        return Validity(max(self.not_before, outer.not_before), min(self.not_after, outer.not_after))


def subject_name(organization: str, common_name: str) -> x509.Name:
    """Return the distinguished name; raises ConfigError when it encodes to fewer than 32 bytes (F18)."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common_name}
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes.items()])
    size = len(name.public_bytes())
    if size < MIN_SUBJECT_BYTES:
        raise ConfigError(
            f"the subject '{name.rfc4514_string()}' encodes to {size} bytes",
            f"use a longer name: devices look an authority up by {MIN_SUBJECT_BYTES} bytes of it",
        )
    return name


def titled(product: str, rest: str) -> str:
    """Return `product` and `rest` as one part of a subject, which has no room for the end of a very long name."""
    return f"{product[: MAX_NAME - len(rest) - 1]} {rest}"


def check_holder(holder: str) -> str:
    """Return the name of a device or operator; raises ConfigError when it cannot be one."""
    if not _HOLDER.fullmatch(holder):
        raise ConfigError(
            f"'{holder}' cannot be a holder's name",
            "use 1 to 64 letters, digits, '.', '_', '@' or '-', no dot last, and not a Windows device's name",
        )
    return holder


def check_device(device: str) -> str:
    """Return a device's name: a MAC address as devices write it, or what `check_holder` takes; raises ConfigError."""
    if MAC_ADDRESS.fullmatch(device):
        return device
    try:
        return check_holder(device)
    except ConfigError as error:
        raise ConfigError(error.message, f"{error.hint}; or its MAC address, as in 5C:CF:7F:12:34:56") from error


def subject_alternative_names(names: list[str]) -> list[x509.GeneralName]:
    """Return a dNSName for each name, and an iPAddress in addition for each that is an address (F22).

    Raises ConfigError for no name at all, more than 100, or one that is neither an address nor a host name in ASCII.
    """
    from cryptography import x509

    if not 0 < len(names) <= MAX_NAMES:
        raise ConfigError(f"a server certificate for {len(names)} names", f"give 1 to {MAX_NAMES} names or addresses")
    alternatives: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if not _DNS_NAME.fullmatch(name):
                raise ConfigError(
                    f"'{name}' is neither an address nor a host name",
                    "no scheme, port or path; punycode for umlauts",
                ) from None
            alternatives.append(x509.DNSName(name))
        else:
            alternatives += [x509.DNSName(str(address)), x509.IPAddress(address)]
    return list(dict.fromkeys(alternatives))


def root_builder(subject: x509.Name, public_key: PublicKey, validity: Validity) -> x509.CertificateBuilder:
    """Return the builder of a root, which issues leaves itself: a chain of one is the cheapest (F27d)."""
    from cryptography import x509

    return (
        _builder(subject, subject, public_key, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def leaf_builder(
    issuer: x509.Certificate, role: Role, subject: x509.Name, public_key: PublicKey, validity: Validity
) -> x509.CertificateBuilder:
    """Return the builder of a leaf under `issuer`, for `role`, without its subject alternative names.

    The key usage has digitalSignature always (F27b), keyEncipherment for a server's RSA key; the extended key
    usage is not critical (F23), the key identifiers are there (F24).
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer_key: PublicKey = issuer.public_key()  # type: ignore[assignment]  # our roots have no other
    use = ExtendedKeyUsageOID.SERVER_AUTH if role is Role.SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
    encipher = role is Role.SERVER and isinstance(public_key, rsa.RSAPublicKey)
    usage = _key_usage(digital_signature=True, key_encipherment=encipher)
    return (
        _builder(subject, issuer.subject, public_key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def make_key(kind: KeyType) -> PrivateKey:
    """Return a new private key from the operating system's randomness."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind is KeyType.P_256:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, validity: Validity
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())  # 159 random bits
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _key_usage(**wanted: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(**{bit: wanted.get(bit, False) for bit in _KEY_USAGE_BITS})
