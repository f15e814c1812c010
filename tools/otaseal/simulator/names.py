"""Names in certificates as BearSSL compares them: text with text, an address too (F22)."""

from __future__ import annotations

from .der import CONTEXT, SET, Reader, check, fail
from .error_numbers import TlsError

COMMON_NAME = bytes.fromhex("550403")
UTF8, BMP = 12, 30
LATIN = (18, 19, 20, 22)  # NumericString, PrintableString, TeletexString, IA5String
DNS_NAME, OTHER_NAME = CONTEXT + 2, CONTEXT
MAX_NAME = 255


def common_name_matches(name: Reader, server: str | None) -> bool:
    """Read a distinguished name to its end, and tell whether a common name in it is `server`'s."""
    matches = False
    while name.left:
        relative = name.expect(SET, constructed=True)
        if not relative.left:
            fail(TlsError.X509_BAD_DN)
        while relative.left:
            attribute = relative.sequence()
            is_common_name = attribute.oid() == COMMON_NAME
            text = _string(attribute)
            attribute.close()
            matches |= is_common_name and text is not None and _matches(text, server)
    return matches


def alternative_matches(value: Reader, server: str | None) -> bool:
    """Read a subjectAltName, and tell whether a dNSName in it is `server`'s; addresses are not looked at (F22)."""
    names, matches = value.sequence(), False
    while names.left:
        tag, constructed = names.tag()
        if tag == OTHER_NAME:
            check((tag, constructed), OTHER_NAME, constructed=True)
            other = names.open()
            other.oid()
            wrapped = other.expect(CONTEXT, constructed=True)
            _string(wrapped)
            wrapped.close()
            other.close()
            continue
        if tag in (CONTEXT + 1, DNS_NAME, CONTEXT + 6) and constructed:
            fail(TlsError.X509_NOT_PRIMITIVE)
        content = names.open().rest()
        if tag == DNS_NAME:
            text = _utf8(content)
            matches |= text is not None and _matches(text, server)
    value.close()
    return matches


def _string(reader: Reader) -> bytes | None:
    """Read a value; return it in UTF-8, None for what is not a string or none that fits."""
    tag, constructed = reader.tag()
    if constructed and (tag in (UTF8, BMP) or tag in LATIN):
        fail(TlsError.X509_NOT_PRIMITIVE)
    content = reader.open().rest()
    if tag == UTF8:
        return _utf8(content)
    try:
        text = content.decode("latin-1" if tag in LATIN else "utf-16-be") if tag in (*LATIN, BMP) else None
    except UnicodeDecodeError:
        return None
    return None if text is None else _bounded(text.encode())


def _utf8(content: bytes) -> bytes | None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return _bounded(content)


def _bounded(text: bytes) -> bytes | None:
    return text if len(text) <= MAX_NAME and b"\0" not in text else None


def _matches(text: bytes, server: str | None) -> bool:
    """Compare without regard to ASCII case; `*.` at the front covers exactly one part of the server's name."""
    if server is None:
        return False
    wanted, name = server.encode().lower(), text.lower()
    return name == wanted or (name[:2] == b"*." and name[2:] == wanted.partition(b".")[2])
