"""A certificate's fields, read as devices, OpenSSL and mbedTLS read them: by structure, not by every rule of DER.

Stricter decoders refuse certificates that work on all of them: a subject in Latin-1 (T61String), a `cA FALSE` that is
written out, a BOOLEAN other than 00 and FF. So no name is taken for text here: names and keys are bytes, as the device
hashes and compares them. What breaks the structure raises ValueError, which says what it is. `strict_objection` tells
what a stricter decoder minds.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar

from .pem import children

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_Value = TypeVar("_Value")

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE = 0x01, 0x02, 0x03, 0x04, 0x06, 0x30
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3
UNIQUE_IDS = (0x81, 0xA1, 0x82, 0xA2)
_PAIR = rb"(\d\d)"
_TIMES = {UTC_TIME: re.compile(_PAIR * 6 + b"Z"), GENERALIZED_TIME: re.compile(rb"(\d{4})" + _PAIR * 5 + b"Z")}

Element = tuple[int, bytes, bytes]
"""Tag, content and whole encoding, as `pem.children` gives them."""


@dataclass(frozen=True)
class Extension:
    """An extension: its object identifier in dots, whether it is critical, and its value as encoded."""

    oid: str
    critical: bool
    value: bytes


@dataclass(frozen=True)
class Fields:
    """What a certificate says. Names, key and what is signed are whole encodings; `version` is 1 to 3.

    `algorithm` is the object identifier of the signature's, in dots.
    """

    version: int
    serial: int
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: bytes
    public_key: bytes
    extensions: tuple[Extension, ...]
    signed: bytes
    algorithm: str
    signature: bytes

    def extension(self, oid: str, decode: Callable[[bytes], _Value]) -> _Value | None:
        """Return the value of the extension `oid` as `decode` reads it, None where there is none."""
        return next((decode(extension.value) for extension in self.extensions if extension.oid == oid), None)

    def load_key(self) -> PublicKeyTypes | None:
        """Return the public key, None where `cryptography` does not know its kind or form."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        try:
            return load_der_public_key(self.public_key)
        except (ValueError, UnsupportedAlgorithm):
            return None


def read_certificate(der: bytes) -> Fields:
    """Return the fields of `der`, exactly one certificate; raises ValueError with what is wrong in its structure."""
    signed, algorithm, signature = elements(only(children(der), SEQUENCE), SEQUENCE, SEQUENCE, BIT_STRING)
    parts = list(children(signed[1]))
    version = only(children(parts.pop(0)[1]), INTEGER) if parts and parts[0][0] == VERSION else b"\0"
    if version not in (b"\0", b"\1", b"\2"):
        raise ValueError("its version is none of 1 to 3")
    serial, inner, issuer, validity, subject, key = _tagged(parts[:6], INTEGER, *[SEQUENCE] * 5)
    if inner[2] != algorithm[2]:
        raise ValueError("it names two signature algorithms")
    if signature[1][:1] != b"\0":  # the count of unused bits: BearSSL takes no other (F18b)
        raise ValueError("its signature ends within a byte")
    if len(dates := children(validity[1])) != 2:
        raise ValueError("it is not valid from one date to another")
    return Fields(
        version=version[0] + 1,
        serial=int.from_bytes(serial[1], "big", signed=True),
        issuer=issuer[2],
        not_before=_time(dates[0]),
        not_after=_time(dates[1]),
        subject=subject[2],
        public_key=key[2],
        extensions=tuple(_extensions(parts[6:])),
        signed=signed[2],
        algorithm=object_identifier(only(children(algorithm[1])[:1], OID)),
        signature=signature[1][1:],
    )


def strict_objection(der: bytes) -> str | None:
    """Return what decoders that want all of it in DER cannot read in `der`, None where they read it.

    The package `cryptography` stands for them; those of Go and Rust mind other things, and more of them.
    """
    from cryptography import x509

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old roots have serial numbers that it deprecates
        try:
            certificate = x509.load_der_x509_certificate(der)
        except (ValueError, TypeError, x509.InvalidVersion):
            return "its fields"
        for attribute in ("subject", "issuer", "extensions"):
            try:
                getattr(certificate, attribute)
            # LookupError: a type of string that it does not know.
            except (ValueError, TypeError, LookupError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
                return "its issuer's name" if attribute == "issuer" else f"its {attribute}"
    return None


def elements(content: bytes, *tags: int) -> tuple[Element, ...]:
    """Return the elements that `content` consists of, which have just these `tags`; raises ValueError."""
    return _tagged(children(content), *tags)


def only(candidates: Sequence[Element], tag: int) -> bytes:
    """Return the content of the only element, which has this `tag`; raises ValueError."""
    return _tagged(candidates, tag)[0][1]


def boolean(content: bytes) -> bool:
    """Return the value of a BOOLEAN, true for any byte but zero (X.690, 8.2.2); raises ValueError."""
    if len(content) != 1:
        raise ValueError("a BOOLEAN is not one byte long")
    return content != b"\0"


def object_identifier(content: bytes) -> str:
    """Return the object identifier encoded in `content`, in dots; raises ValueError."""
    if not content or content[-1] & 0x80:
        raise ValueError("an object identifier is cut short")
    arcs, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _tagged(parts: Sequence[Element], *tags: int) -> tuple[Element, ...]:
    if tuple(tag for tag, _, _ in parts) != tags:
        raise ValueError("it is not built as a certificate is")
    return tuple(parts)


def _time(element: Element) -> datetime:
    tag, content, _ = element
    match = _TIMES[tag].fullmatch(content) if tag in _TIMES else None
    if match is None:
        raise ValueError("a date of it is none")
    year, month, day, hour, minute, second = map(int, match.groups())
    if tag == UTC_TIME:
        year += 2000 if year < 50 else 1900  # RFC 5280, 4.1.2.5.1
    return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone.utc)


def _extensions(parts: list[Element]) -> list[Extension]:
    while parts and parts[0][0] in UNIQUE_IDS:
        parts.pop(0)
    listed = children(only(children(only(parts, EXTENSIONS)), SEQUENCE)) if parts else ()
    extensions = [_extension(children(only([element], SEQUENCE))) for element in listed]
    if len({extension.oid for extension in extensions}) < len(extensions):
        raise ValueError("it has an extension twice")
    return extensions


def _extension(parts: Sequence[Element]) -> Extension:
    critical = len(parts) == 3 and boolean(only(parts[1:2], BOOLEAN))
    name, value = _tagged([parts[0], parts[-1]] if len(parts) == 3 else parts, OID, OCTET_STRING)
    return Extension(object_identifier(name[1]), critical, value[1])
