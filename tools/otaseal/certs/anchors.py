"""One certificate, judged as the trust anchor that BearSSL makes of it on the device.

The core takes three things from a member: the subject DN as encoded, the public key, and whether basicConstraints says
CA. Its decoder skips every other extension, critical or not, and the dates too (F19, F20); so name constraints, key
usages and expiry of an anchor bind other TLS stacks and not the device, and are worth a warning. What it cannot decode
is worse than useless: a lookup that hits it writes through an uninitialised pointer (F18b), and any server may name
that DN.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from ..errors import KeyRefusedError, counted
from . import x509_extensions, x509_names
from .ar import printable
from .pem import Block, children, der_length, refuse_private_key
from .x509_fields import BIT_STRING, OID, SEQUENCE, Fields, elements, only, read_certificate, strict_objection

_Value = TypeVar("_Value")
_Warning = tuple[str, str, str, str]
"""Rule, code, message and hint."""

DN_MINIMUM = 32  # bytes of the encoded subject: the core copies a SHA-256 over it (F18)
RSA_BITS = (2048, 4096)
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}  # F18c
LARGE = 4096  # bytes; a certificate is loaded whole, twice, during the handshake (F19)
SOON = timedelta(days=365)

NOT_STRICT = "not-strict-der"
"""The code of the finding for what devices read and stricter decoders do not."""

_RSA_KEY = bytes.fromhex("2a864886f70d010101")  # rsaEncryption; RSASSA-PSS keys have another, which BearSSL lacks
_EC_KEY = bytes.fromhex("2a8648ce3d0201")
_WHOLE_BYTES = b"\0"  # a bit string's count of unused bits: BearSSL takes no other, OpenSSL does
_UNCOMPRESSED = _WHOLE_BYTES + b"\4"  # the point's format


class Severity(enum.Enum):
    """What a finding does: an error stops, a dropped certificate is left out, a warning is only reported."""

    ERROR = "error"
    DROPPED = "dropped"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """A rule that a certificate met: `rule` is the fact's number, `code` the rule's name for programs."""

    rule: str
    code: str
    severity: Severity
    name: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


@dataclass(frozen=True)
class Anchor:
    """A certificate that works as a trust anchor: its encoding, and what the device and a person read in it."""

    name: str
    der: bytes
    subject: str
    dn: bytes
    key: str
    public_key: bytes
    not_before: datetime
    not_after: datetime

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the certificate in hex, as `openssl x509 -fingerprint -sha256` computes it."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def member_name(self) -> str:
        """A name for the archive: six characters for people, eight of the fingerprint; it depends on `der` only."""
        common_name = re.search(r"CN=((?:\\.|[^,+\\])*)", self.subject)
        slug = re.sub(r"[^0-9a-z]", "", (common_name[1] if common_name else self.subject).lower())[:6]
        return f"{slug or 'ca'}-{self.fingerprint[:8]}"


def examine(block: Block, now: datetime) -> tuple[Anchor | None, tuple[Finding, ...]]:
    """Return the anchor of a certificate at `now` (aware) and its warnings, or None and the error; never raises."""
    try:
        _check_encoding(block)
        fields = read_certificate(block.der)
        anchor = _anchor(block, fields)
        warnings = (*_date_warnings(anchor, now), *_scope_warnings(anchor, fields))
    except _Refused as error:
        return None, (Finding(error.rule, error.code, Severity.ERROR, block.name, error.message, error.hint),)
    except ValueError as error:
        message = f"it is no certificate that can be decoded ({error})"
        return None, (Finding("F18b", "malformed", Severity.ERROR, block.name, message, "have it issued again"),)
    return anchor, tuple(
        Finding(rule, code, Severity.WARNING, block.name, message, hint) for rule, code, message, hint in warnings
    )


class _Refused(Exception):
    """Ends the examination of one certificate, and goes no further than `examine`."""

    def __init__(self, rule: str, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.rule, self.code, self.message, self.hint = rule, code, message, hint


def _check_encoding(block: Block) -> None:
    """Raise _Refused unless `block` is exactly one DER element, and no private key."""
    try:
        refuse_private_key(block.name, block.der)
    except KeyRefusedError as error:
        raise _Refused("F16", "private-key", "it holds a private key", error.hint) from error
    size, announced = len(block.der), der_length(block.der)
    if block.der[:1] != b"\x30" or announced is None:
        is_pem = b"-----BEGIN" in block.der
        kind = "PEM text, which the device counts and never finds" if is_pem else "not a certificate"
        hint = "put DER in an archive: `openssl x509 -in ca.pem -outform DER`, or `otaseal certs pack`"
        raise _Refused("F16", "not-der", f"it is {kind}", hint)
    if announced < size:
        follow = "1 byte follows" if size - announced == 1 else f"{size - announced} bytes follow"
        message = f"{follow} the certificate: a lookup crashes the device"
        raise _Refused("F18b", "trailing-bytes", message, "keep one certificate in a DER file, to the byte")
    if announced > size:
        message = f"it is truncated: {size} of {announced} bytes are there, and a lookup crashes the device"
        raise _Refused("F18b", "truncated", message, "copy the file again")


def _anchor(block: Block, fields: Fields) -> Anchor:
    """Return what the device makes of a certificate; raises ValueError and _Refused for what it cannot use."""
    subject = printable(x509_names.written(fields.subject))
    key = _key_type(fields)
    if len(fields.subject) < DN_MINIMUM:
        message = (
            f"the subject '{subject}' is {len(fields.subject)} bytes long, fewer than {DN_MINIMUM}: "
            "it overflows the device's heap"
        )
        raise _Refused(
            "F18", "short-dn", message, "give it a longer name: a lone CN needs at least 19 ASCII characters"
        )
    constraints = _extension(fields, "2.5.29.19", x509_extensions.basic_constraints)
    if constraints is None or not constraints.ca:
        why = "it says it is not" if constraints else f"a v{fields.version} certificate without basicConstraints"
        message = f"it is not a CA ({why}): the device takes nothing that it issued (BearSSL error 62)"
        hint = "give the certificate of the CA, with basicConstraints CA:TRUE"
        raise _Refused("F18c", "not-ca", message, hint)
    return Anchor(
        name=block.name,
        der=block.der,
        subject=subject,
        dn=fields.subject,
        key=key,
        public_key=fields.public_key,
        not_before=fields.not_before,
        not_after=fields.not_after,
    )


def _key_type(fields: Fields) -> str:
    """Return the likes of `RSA-2048` and `P-256`; raises _Refused for what BearSSL cannot use (F18c, F19, F26), and
    ValueError for what is no key.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    (_, algorithm, _), (_, bits, _) = elements(only(children(fields.public_key), SEQUENCE), SEQUENCE, BIT_STRING)
    oid = only(children(algorithm)[:1], OID)
    key = fields.load_key()
    if isinstance(key, rsa.RSAPublicKey) and oid == _RSA_KEY and bits.startswith(_WHOLE_BYTES):
        if RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
            return f"RSA-{key.key_size}"
        why = "is too weak" if key.key_size < RSA_BITS[0] else "is more than the device can load"
        text = f"its RSA key of {key.key_size} bits {why}", f"use RSA of {RSA_BITS[0]} to {RSA_BITS[1]} bits"
        raise _Refused("F18c", "key-size", *text)
    curve = CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    if curve is not None and oid == _EC_KEY and bits.startswith(_UNCOMPRESSED):
        return curve
    kind = type(key).__name__.removesuffix("PublicKey") if key is not None else "unknown"
    text = f"its key ({kind}) is of a kind that BearSSL does not have", "use RSA-2048 to 4096, P-256, P-384 or P-521"
    raise _Refused("F19", "key-type", *text)


def _extension(fields: Fields, oid: str, decode: Callable[[bytes], _Value]) -> _Value | None:
    """Return the value of an extension, None where there is none or, as the device skips it, none that can be read."""
    try:
        return fields.extension(oid, decode)
    except ValueError:
        return None


def _date_warnings(anchor: Anchor, now: datetime) -> Iterator[_Warning]:
    if anchor.not_after < now:
        message = f"it expired on {anchor.not_after:%Y-%m-%d}: devices still accept it, OpenSSL and browsers do not"
        yield "F20", "expired", message, "replace it by its successor"
    elif anchor.not_after < now + SOON:
        days = (anchor.not_after - now).days
        message = f"it expires on {anchor.not_after:%Y-%m-%d}, in {counted(days, 'day')}"
        yield "F20", "expires-soon", message, "pack its successor beside it now, so that devices know both"
    if anchor.not_before > now:
        message = f"it is valid only from {anchor.not_before:%Y-%m-%d} on"
        yield "F20", "not-yet-valid", message, "check this machine's clock"


def _scope_warnings(anchor: Anchor, fields: Fields) -> Iterator[_Warning]:
    if any(extension.oid == "2.5.29.30" for extension in fields.extensions):
        message = "its name constraints are not enforced by the device, which takes it for every name"
        yield "F19", "name-constraints", message, "trust it only if you would without them"
    uses = _extension(fields, "2.5.29.37", x509_extensions.extended_key_usage)
    if uses is not None and not {x509_extensions.SERVER_AUTH, x509_extensions.ANY_USE} & uses:
        message = "it is not meant for servers (extended key usage), and the device takes it for them all the same"
        yield "F23", "not-for-servers", message, "pack the CA of your servers, not that of your devices"
    usage = _extension(fields, "2.5.29.15", x509_extensions.key_usage)
    if usage is not None and "keyCertSign" not in usage:
        message = "its key usage lacks keyCertSign: the device ignores that, other TLS stacks refuse its chains"
        yield "F23", "no-cert-sign", message, "have the CA issued again with keyCertSign"
    if len(anchor.der) > LARGE:
        message = f"it is {len(anchor.der)} bytes long, and a handshake loads it whole, twice, into the heap"
        yield "F19", "large", message, f"prefer a CA certificate below {LARGE} bytes"
    objection = strict_objection(anchor.der)
    if objection is not None:
        message = (
            f"{objection} cannot be read by decoders that insist on DER, Python's cryptography among them; devices, "
            "mbedTLS and OpenSSL read it"
        )
        hint = "nothing to do for devices; a CA that is issued anew, with names in UTF-8, suits all"
        yield "X.690", NOT_STRICT, message, hint
