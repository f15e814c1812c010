"""Leak check: finds a private key's numbers in bytes, in any usual encoding. Pure.

It searches for numbers, never words: TLS firmware contains `PRIVATE KEY` and no key. Of each number a slice from its
middle is looked for (18 to 24 bytes, which never come up by chance) in three views of the bytes: as they are; with all
but the base64 alphabet taken out; with all but hex digits taken out. That makes line lengths, line ends, quotes,
commas, `0x` and UTF-16 irrelevant. Gzip members anywhere in the bytes are unpacked and searched too. It does not find
what was encrypted, packed in another way, or written in decimal. A finding says where and what, never the number.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import KeyRefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

RAW_BYTES, HEX_BYTES, BASE64_BYTES = 24, 16, 18
SPAN = 26
"""Bytes of a number that the slices come from; a shorter number is none of a real key, and is not looked for."""
MAX_MEMBERS = 256
"""Gzip members unpacked in one file; a filesystem of web pages has some dozens."""
MAX_UNPACKED = 32 * 1024 * 1024
"""Bytes unpacked from one file: four times the largest flash, and an end to a bomb."""
WINDOW = 4096
"""Bytes before the end of a finding that its beginning is looked for in."""

_GZIP = b"\x1f\x8b\x08"
_DIGITS = b"0123456789"
_BASE64 = _DIGITS + b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/-_"
_MARKS = b"\\\"'"
"""Kept until written line ends and joined strings, of which they are a part, are removed."""
_NO_TEXT = bytes(set(range(256)) - set(_BASE64 + _MARKS))
_NO_HEX = bytes(set(range(256)) - set(_DIGITS + b"ABCDEFabcdefXx\\"))
_LINE_END = re.compile(rb"\\+[nr]")
"""A written one; JSON within JSON has two backslashes, and one taken away alone would eat a letter of the next line."""
_ONE_BASE64 = bytes.maketrans(b"-_", b"+/")
_ONE_HEX = bytes.maketrans(b"ABCDEFX", b"abcdefx")


@dataclass(frozen=True)
class Leak:
    """A number of a private key that was found: `offset` is where the recognised slice of it begins.

    With `member` the offset is that of the gzip member, in which the number was found unpacked.
    """

    owner: str
    number: str
    encoding: str
    offset: int
    member: bool = False

    def __str__(self) -> str:
        packed = ", inside the gzip that begins there" if self.member else ""
        return f"number '{self.number}' of the {self.owner} as {self.encoding} at offset {self.offset}{packed}"


@dataclass(frozen=True)
class _Pattern:
    owner: str
    number: str
    encoding: str
    pattern: bytes = field(repr=False)
    before: bytes = field(default=b"", repr=False)
    """The bytes before the slice if the number is a DER INTEGER."""


@dataclass(frozen=True)
class Secrets:
    """What to look for, ready to search with; empty where no private key is in memory. Cannot print itself."""

    _patterns: Mapping[str, tuple[_Pattern, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, keys: Mapping[str, RSAPrivateKey | EllipticCurvePrivateKey]) -> Secrets:
        """Return the secrets of `keys`, which maps what a message calls a key to the key."""
        numbers = [(owner, *number) for owner, key in keys.items() for number in _private_numbers(key)]
        searched = [number for number in numbers if len(number[2]) >= SPAN]
        return cls({view: tuple(x for number in searched for x in _patterns(view, *number)) for view in _FILTERS})

    def __bool__(self) -> bool:
        return any(self._patterns.values())


def find(haystack: bytes, secrets: Secrets) -> list[Leak]:
    """Return every number of `secrets` in `haystack` with its encodings and offsets; an empty list is the good case."""
    if not secrets:
        return []
    leaks = _search(haystack, secrets)
    for offset, unpacked in _gzip_members(haystack):
        leaks += [replace(leak, offset=offset, member=True) for leak in _search(unpacked, secrets)]
    return leaks


def refuse(name: str, data: bytes, secrets: Secrets) -> None:
    """Raise KeyRefusedError if a number of `secrets` is in `data`, which messages call `name`."""
    leaks = find(data, secrets)
    if leaks:
        more = f", and {len(leaks) - 1} more" if len(leaks) > 1 else ""
        raise KeyRefusedError(
            f"'{name}' contains a private key: {leaks[0]}{more}",
            "take it out of the sources, libraries or data files; if the file ever left this machine, make a new key",
        )


def _private_numbers(key: RSAPrivateKey | EllipticCurvePrivateKey) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the big-endian bytes of each secret number (RFC 8017 A.1.2; RFC 5915 for EC)."""
    numbers = key.private_numbers()
    for name in ("d", "p", "q", "dmp1", "dmq1", "iqmp", "private_value"):
        value: int | None = getattr(numbers, name, None)
        if value is not None:
            yield name, value.to_bytes((value.bit_length() + 7) // 8, "big")


def _patterns(view: str, owner: str, number: str, value: bytes) -> Iterator[_Pattern]:
    """Yield what a number's bytes look like in a view: slices from its middle."""
    if view == "raw":
        start = (len(value) - RAW_BYTES) // 2
        piece = value[start : start + RAW_BYTES]
        yield _Pattern(owner, number, "raw bytes, big-endian", piece, _der_header(value) + value[:start])
        yield _Pattern(owner, number, "raw bytes, little-endian", piece[::-1])
    elif view == "text":
        start = (len(value) - SPAN) // 2
        for alignment in range(3):  # a group of three bytes begins at one of them, whatever stands before the number
            piece = value[start + alignment : start + alignment + BASE64_BYTES]
            yield _Pattern(owner, number, "base64, as in PEM", base64.b64encode(piece))
    else:
        start = (len(value) - HEX_BYTES) // 2
        yield _Pattern(owner, number, "hex text", value[start : start + HEX_BYTES].hex().encode())


def _der_header(value: bytes) -> bytes:
    """Return what precedes the bytes of the positive INTEGER `value` in DER (X.690 8.3)."""
    sign = b"\0" * (value[0] >> 7)
    size = len(sign + value)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"\x02" + (octets if size < 0x80 else bytes([0x80 | len(octets)]) + octets) + sign


def _text(data: bytes) -> bytes:
    r"""Return the base64 characters of `data`, `-_` as `+/`, without those of a written `\n` or of a `" + "`."""
    text = data.translate(_ONE_BASE64, _NO_TEXT)
    text = _LINE_END.sub(b"", text).replace(b'"+"', b"").replace(b"'+'", b"")
    return text.translate(None, _MARKS)


def _hex(data: bytes) -> bytes:
    """Return the hex digits of `data`, in lower case, without the prefixes of `0x12` and its kin."""
    text = data.translate(_ONE_HEX, _NO_HEX)
    return text.replace(b"\\x", b"").replace(b"0x", b"").translate(None, b"\\x")


_FILTERS: Mapping[str, Callable[[bytes], bytes]] = {"raw": bytes, "text": _text, "hex": _hex}


def _search(data: bytes, secrets: Secrets) -> list[Leak]:
    leaks = []
    for view, needles in secrets._patterns.items():
        filtered = _FILTERS[view](data)
        for needle in needles:
            at, encoding = filtered.find(needle.pattern), needle.encoding
            if at < 0:
                continue
            if view != "raw":
                at = _locate(data, needle.pattern, _FILTERS[view])
            elif needle.before and data.endswith(needle.before, 0, at):
                encoding = "a DER INTEGER"
            leaks.append(Leak(needle.owner, needle.number, encoding, at))
    return leaks


def _locate(data: bytes, pattern: bytes, view: Callable[[bytes], bytes]) -> int:
    """Return where in `data` the text begins that reads as `pattern` in `view`: by halving, for it is rarely asked."""
    low, high = len(pattern), len(data)  # the shortest beginning of data that contains it ends in (low, high]
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if pattern in view(data[:middle]) else (middle + 1, high)
    end = high
    low, high = max(0, end - WINDOW), end
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if pattern in view(data[middle:end]) else (low, middle - 1)
    return low


def _gzip_members(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of what unpacks as gzip, whole or cut short, within the limits above."""
    left, at = MAX_UNPACKED, data.find(_GZIP)
    for _ in range(MAX_MEMBERS):
        if at < 0 or left <= 0:
            return
        unpacked = _unpack(data, at, left)
        if unpacked:
            left -= len(unpacked)
            yield at, unpacked
        at = data.find(_GZIP, at + 1)


def _unpack(data: bytes, at: int, limit: int) -> bytes:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unpacked = bytearray()
    view = memoryview(data)
    while at < len(data) and len(unpacked) < limit and not stream.eof:
        try:
            unpacked += stream.decompress(view[at : at + 65536], limit - len(unpacked))
        except zlib.error:
            break
        at += 65536
    return bytes(unpacked)
