"""Distinguished names: as people read them, and in the form in which each stack compares them.

A name comes as encoded (a whole SEQUENCE) and is never encoded anew. To BearSSL names are equal if their bytes are
(F17); OpenSSL and mbedTLS compare them as text, each in its own way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .pem import children
from .x509_fields import OID, SEQUENCE, object_identifier, only

SET = 0x31
UTF8, NUMERIC, PRINTABLE, T61, IA5, VISIBLE, UNIVERSAL, BMP = 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A, 0x1C, 0x1E
_CODECS = {UTF8: "utf-8", BMP: "utf-16-be", UNIVERSAL: "utf-32-be"} | dict.fromkeys(
    (NUMERIC, PRINTABLE, T61, IA5, VISIBLE), "latin-1"
)
"""What the bytes of a string mean. T61String is Latin-1, whatever T.61 says: so it is used, and so OpenSSL reads it."""
_FOLDED = (UTF8, PRINTABLE, T61, IA5, VISIBLE, UNIVERSAL, BMP)  # ASN1_MASK_CANON of OpenSSL's x_name.c
_SHORT = {
    **{"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O"},
    **{"2.5.4.11": "OU", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC"},
}
"""RFC 4514, 3."""
COMMON_NAME, ORGANIZATION = "2.5.4.3", "2.5.4.10"


@dataclass(frozen=True)
class _Attribute:
    oid: str
    tag: int
    value: bytes

    @property
    def text(self) -> str | None:
        """The value as text, None for what is not a string."""
        codec = _CODECS.get(self.tag)
        return None if codec is None else self.value.decode(codec, "replace")


def written(name: bytes) -> str:
    """Return `name` as RFC 4514 writes it, most special part first; raises ValueError for what is not a name."""
    return ",".join("+".join(map(_written, part)) for part in reversed(_parts(name)))


def values_of(name: bytes, oid: str) -> tuple[str, ...]:
    """Return the values of the attributes `oid` (in dots) that are text; raises ValueError for what is not a name."""
    attributes = (attribute for part in _parts(name) for attribute in part if attribute.oid == oid)
    return tuple(attribute.text for attribute in attributes if attribute.text is not None)


def folded(name: bytes) -> object:
    """Return what OpenSSL compares of `name` (X509_NAME_cmp): text without regard to its type, case and spaces."""
    return tuple(tuple(sorted((attribute.oid, *_folded(attribute)) for attribute in part)) for part in _parts(name))


def mbedtls_form(name: bytes) -> object:
    """Return what mbedTLS compares of `name` (x509_name_cmp): UTF8String and PrintableString without regard to case."""
    return tuple(tuple((attribute.oid, *_mbedtls(attribute)) for attribute in part) for part in _parts(name))


def _parts(name: bytes) -> list[list[_Attribute]]:
    return [
        [_attribute(only([attribute], SEQUENCE)) for attribute in children(only([part], SET))]
        for part in children(only(children(name), SEQUENCE))
    ]


def _attribute(content: bytes) -> _Attribute:
    parts = children(content)
    if len(parts) != 2:
        raise ValueError("a name with an attribute that is not a pair")
    return _Attribute(object_identifier(only(parts[:1], OID)), parts[1][0], parts[1][1])


def _folded(attribute: _Attribute) -> tuple[int, bytes]:
    if attribute.tag not in _FOLDED:
        return attribute.tag, attribute.value
    text = (attribute.text or "").encode("utf-8", "replace")
    return UTF8, re.sub(rb"[ \t\n\v\f\r]+", b" ", text.strip(b" \t\n\v\f\r")).lower()


def _mbedtls(attribute: _Attribute) -> tuple[int, bytes]:
    return (UTF8, attribute.value.lower()) if attribute.tag in (UTF8, PRINTABLE) else (attribute.tag, attribute.value)


def _written(attribute: _Attribute) -> str:
    text = attribute.text
    value = "#" + attribute.value.hex() if text is None else _escaped(text)
    return f"{_SHORT.get(attribute.oid, attribute.oid)}={value}"


def _escaped(text: str) -> str:
    escaped = re.sub(r'([\\"+,;<>])', r"\\\1", text).replace("\0", r"\00")
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    return escaped[:-1] + "\\ " if escaped.endswith(" ") and escaped != "\\ " else escaped
