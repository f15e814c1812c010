"""Certificate files, PEM or DER, cut into DER blocks; and private keys, which are refused wherever they turn up.

Bytes in, bytes out: whether a block is a certificate that a device can use is judged in `anchors`. A private key is
recognised by its text markers and by the structure of its DER (PKCS#1, SEC1, PKCS#8 plain and encrypted, PKCS#12),
whatever its file or label says. No message ever echoes content.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import InputError, KeyRefusedError

__all__ = ["BUNDLE", "Block", "Source", "blocks", "children", "der_length", "refuse_private_key"]

BUNDLE = 10  # certificates in one file: fewer are a chain or a project's own, which nobody means to lose one of
BLOCK_LIMIT = 2000  # blocks in one file; the largest public bundles have some hundreds

_LABELS = (b"CERTIFICATE", b"X509 CERTIFICATE")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN = b"-----BEGIN "
_KEY_MARKERS = re.compile(rb"PRIVATE KEY *----|PuTTY-User-Key-File", re.IGNORECASE)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_INTEGER, _OCTET_STRING, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30


@dataclass(frozen=True)
class Source:
    """A file of certificates: `name` is what messages call it, `data` its bytes."""

    name: str
    data: bytes


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
    if source.data[:2] in _UTF16:
        raise InputError(f"'{source.name}' is UTF-16 text", "save it as ASCII or UTF-8")
    if der_length(source.data) == len(source.data) or _BEGIN not in source.data:
        return (Block(source.name, source.data),)
    count = source.data.count(_BEGIN)
    if count > BLOCK_LIMIT:
        raise InputError(f"'{source.name}' holds {count} blocks, more than {BLOCK_LIMIT}", "split the file")
    found = _BLOCK.findall(source.data)
    if len(found) != count:
        raise InputError(f"'{source.name}' has a BEGIN line without its END line", "copy the file again: it is torn")
    bundled = len(found) >= BUNDLE
    names = [source.name] if len(found) == 1 else [f"{source.name} #{n}" for n in range(1, len(found) + 1)]
    return tuple(
        Block(name, _decode(name, label, body), bundled) for name, (label, body) in zip(names, found, strict=True)
    )


def _decode(name: str, label: bytes, body: bytes) -> bytes:
    if label not in _LABELS:
        shown = label.decode("ascii")
        hint = (
            "take its certificate alone: `openssl x509 -in FILE -out ca.pem`"
            if b"CERTIFICATE" in label
            else "take it out"
        )
        raise InputError(f"'{name}' is a block of kind '{shown}', not a certificate", hint)
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
    if der[:1] != b"\x30":
        return False
    first = next(_elements(der, 0), None)
    inner = list(_first_two(first[1])) if first else []
    if len(inner) < 2:
        return False
    (tag, value), (second, _) = inner
    if tag == _INTEGER and value in (b"\0", b"\1"):  # versions of PKCS#8, PKCS#1 and SEC1
        return second in (_SEQUENCE, _INTEGER, _OCTET_STRING)
    if tag == _INTEGER and value == b"\3":  # PKCS#12
        return second == _SEQUENCE
    return tag == _SEQUENCE and value[:1] == bytes([_OID]) and second == _OCTET_STRING  # encrypted PKCS#8


def _first_two(data: bytes) -> Iterator[tuple[int, bytes]]:
    for index, element in enumerate(_elements(data, 0)):
        if index == 2:
            return
        yield element


def children(data: bytes) -> tuple[tuple[int, bytes, bytes], ...]:
    """Return the DER elements that `data` consists of: tag, contents, and the whole encoding of each.

    Raises ValueError where they do not fill `data` to the byte.
    """
    found, at = [], 0
    while at < len(data):
        start, size = _header(data, at)
        if start + size > len(data):
            raise ValueError("an element is longer than what holds it")
        found.append((data[at], data[start : start + size], data[at : start + size]))
        at = start + size
    return tuple(found)


def der_length(data: bytes) -> int | None:
    """Return how many bytes the first DER element announces, header included, or None if there is none."""
    try:
        start, size = _header(data, 0)
    except ValueError:
        return None
    return start + size


def _elements(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield tag and contents of each element from `at` on; the last may be cut short."""
    while at < len(data):
        try:
            start, size = _header(data, at)
        except ValueError:
            return
        yield data[at], data[start : start + size]
        at = start + size


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
