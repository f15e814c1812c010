"""Certificate files, PEM, DER or PKCS#7, cut into DER blocks; and private keys, refused wherever they turn up.

Pure. Whether a block is a certificate that a device can use is judged in `anchors`. A private key is recognised by its
text markers and by the structure of its DER (PKCS#1, SEC1, PKCS#8 plain and encrypted, PKCS#12), whatever its file or
label says. No message echoes content.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from ..errors import InputError, KeyRefusedError

BUNDLE = 10  # certificates in one file: fewer are a chain or a project's own, which nobody means to lose one of
BLOCK_LIMIT = 2000  # blocks in one file; the largest public bundles have some hundreds

BEGIN = b"-----BEGIN "
_LABELS = (b"CERTIFICATE", b"X509 CERTIFICATE", b"PKCS7", b"CMS")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----(.*?)-----END \1-----", re.DOTALL)
_KEY_MARKERS = re.compile(rb"PRIVATE KEY *----|PuTTY-User-Key-File", re.IGNORECASE)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_INTEGER, _OCTET_STRING, _OID, _SEQUENCE, _CONTEXT_0 = 0x02, 0x04, 0x06, 0x30, 0xA0
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")


@dataclass(frozen=True)
class Source:
    """A file of certificates: `name` is what messages call it, `data` its bytes, empty where it was `passed_over`."""

    name: str
    data: bytes
    passed_over: bool = False


@dataclass(frozen=True)
class Block:
    """One certificate as it was found; `bundled` where its file holds BUNDLE or more."""

    name: str
    der: bytes
    bundled: bool = False


def blocks(source: Source) -> tuple[Block, ...]:
    """Return the certificates of one file, in its order, undecoded.

    A file is DER if its first element is as long as the file, PEM if it holds a `BEGIN` line, and else taken as DER, to
    be refused with the reason. Raises KeyRefusedError for a private key, InputError for PEM that is torn or holds
    something else than certificates.
    """
    refuse_private_key(source.name, source.data)
    ders = _cut(source)
    names = [source.name] if len(ders) == 1 else [f"{source.name} #{n}" for n in range(1, len(ders) + 1)]
    return tuple(Block(name, der, bundled=len(ders) >= BUNDLE) for name, der in zip(names, ders, strict=True))


def certificates(data: bytes) -> list[bytes]:
    """Return the certificates in `data` (DER, PKCS#7 or PEM), undecoded; other blocks of PEM are passed over.

    Raises InputError for what is damaged, and for PEM and PKCS#7 without a certificate.
    """
    if _is_der(data):
        return _expand("the file", data)
    bodies = [body for label, body in _BLOCK.findall(data) if label in _LABELS]
    if not bodies:
        raise InputError("no certificate can be read from this PEM", "it has to say BEGIN CERTIFICATE")
    return [der for body in bodies for der in _expand("the file", _decode("the file", body))]


def is_pkcs7(der: bytes) -> bool:
    """Tell whether `der` is signed data of PKCS#7, as files of certificates are that end in .p7b or .p7c."""
    return der[:1] == bytes([_SEQUENCE]) and next(_elements(_content(der)), None) == (_OID, _SIGNED_DATA)


def _cut(source: Source) -> list[bytes]:
    if source.data[:2] in _UTF16:
        raise InputError(f"'{source.name}' is UTF-16 text", "save it as ASCII or UTF-8")
    if _is_der(source.data):
        return _expand(source.name, source.data)
    count = source.data.count(BEGIN)
    if count > BLOCK_LIMIT:
        raise InputError(f"'{source.name}' holds {count} blocks, more than {BLOCK_LIMIT}", "split the file")
    labelled = _BLOCK.findall(source.data)
    if len(labelled) != count:
        raise InputError(f"'{source.name}' has a BEGIN line without its END line", "copy the file again: it is torn")
    cut = []
    for number, (label, body) in enumerate(labelled, 1):
        name = source.name if count == 1 else f"{source.name} #{number}"
        if label not in _LABELS:
            alone = "take its certificate alone: `openssl x509 -in FILE -out ca.pem`"
            hint = alone if b"CERTIFICATE" in label else "take it out"
            raise InputError(f"'{name}' is a block of kind '{label.decode()}', not a certificate", hint)
        cut += _expand(name, _decode(name, body))
    return cut


def _is_der(data: bytes) -> bool:
    return der_length(data) == len(data) or BEGIN not in data


def _expand(name: str, der: bytes) -> list[bytes]:
    """Return the certificates in a PKCS#7 file (RFC 5652, 5.1), or what is none as it is."""
    if not is_pkcs7(der):
        return [der]
    try:
        (_, outer, _), *rest = children(der)
        signed = children(children(children(outer)[1][1])[0][1])
        # Version, a set of digests and the content come before the certificates, which are optional.
        listed = [content for tag, content, _ in signed[3:4] if tag == _CONTEXT_0]
        certificates = [whole for content in listed for tag, _, whole in children(content) if tag == _SEQUENCE]
    except (ValueError, IndexError) as error:
        raise InputError(f"'{name}' is PKCS#7 that cannot be read", "make it again: openssl crl2pkcs7 -nocrl") from (
            error
        )
    if rest or not certificates:
        raise InputError(f"'{name}' is PKCS#7 without a certificate", "export it again, with the certificates")
    return certificates


def _decode(name: str, body: bytes) -> bytes:
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise InputError(f"'{name}' is not base64 between its lines", "copy the file again: it is damaged") from error
    if not der:
        raise InputError(f"'{name}' is an empty PEM block", "copy the file again")
    if _is_private(der):
        raise _private_key(name)
    return der


def refuse_private_key(name: str, data: bytes) -> None:
    """Raise KeyRefusedError if `data` is or contains a private key that can be recognised as one."""
    if _KEY_MARKERS.search(data.replace(b"\0", b"")):  # without zeros, UTF-16 text reads as ASCII
        raise _private_key(name)
    length = der_length(data)
    if _is_private(data) or (length is not None and length < len(data) and _is_private(data[length:])):
        raise _private_key(name)


def _private_key(name: str) -> KeyRefusedError:
    return KeyRefusedError(
        f"'{name}' holds a private key",
        "move it away: what lies among the certificates is shipped to every device and read out of its flash",
    )


def _is_private(der: bytes) -> bool:
    """Tell a private key by its first two elements, which is as much as a torn one may have."""
    first_two = list(islice(_elements(_content(der)), 2))
    if der[:1] != bytes([_SEQUENCE]) or len(first_two) < 2:
        return False
    (tag, value), (second, _) = first_two
    if tag == _INTEGER and value in (b"\0", b"\1"):  # versions of PKCS#8, PKCS#1 and SEC1
        return second in (_SEQUENCE, _INTEGER, _OCTET_STRING)
    if tag == _INTEGER and value == b"\3":  # PKCS#12
        return second == _SEQUENCE
    return tag == _SEQUENCE and value[:1] == bytes([_OID]) and second == _OCTET_STRING  # encrypted PKCS#8


def children(data: bytes) -> tuple[tuple[int, bytes, bytes], ...]:
    """Return tag, contents and whole encoding of each DER element; raises ValueError unless they fill `data`."""
    elements, at = [], 0
    while at < len(data):
        start, size = _header(data, at)
        if start + size > len(data):
            raise ValueError("an element is longer than what holds it")
        elements.append((data[at], data[start : start + size], data[at : start + size]))
        at = start + size
    return tuple(elements)


def der_length(data: bytes) -> int | None:
    """Return how many bytes the first DER element announces, header included, or None if there is none."""
    try:
        start, size = _header(data, 0)
    except ValueError:
        return None
    return start + size


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and contents of each element; the last may be cut short."""
    at = 0
    while at < len(data):
        try:
            start, size = _header(data, at)
        except ValueError:
            return
        yield data[at], data[start : start + size]
        at = start + size


def _content(data: bytes) -> bytes:
    """Return the contents of the first element, as far as they are there; empty where there is none."""
    return next(_elements(data), (0, b""))[1]


def _header(data: bytes, at: int) -> tuple[int, int]:
    """Return where the contents of the element at `at` start, and their length; at most four length bytes."""
    if len(data) < at + 2:
        raise ValueError("no element")
    first = data[at + 1]
    if first < 0x80:
        return at + 2, first
    count = first & 0x7F
    if not 1 <= count <= 4 or len(data) < at + 2 + count:
        raise ValueError("no definite length")
    return at + 2 + count, int.from_bytes(data[at + 2 : at + 2 + count], "big")
