"""A DER reader with BearSSL's rules and error numbers (src/x509/asn1.t0), as far as certificates need it.

It reads strictly forward. Each read raises `DerError`, which does not leave this package.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from typing import NoReturn

from .error_numbers import TlsError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE, SET = 0x01, 0x02, 0x03, 0x04, 0x06, 0x10, 0x11
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
CONTEXT = 0x20  # a context tag of number n is CONTEXT + n
END = -1
MAX_OID = 255


class DerError(Exception):
    """BearSSL refuses the data with `error`; `reason` and `fact` may say more."""

    def __init__(self, error: TlsError, reason: str = "", fact: str = "") -> None:
        super().__init__(error.name)
        self.error, self.reason, self.fact = error, reason, fact


def fail(error: TlsError, reason: str = "", fact: str = "") -> NoReturn:
    """Raise DerError."""
    raise DerError(error, reason, fact)


@dataclass
class Reader:
    """The rest of one element: `data` from `at` to `end`, which may lie behind the end of the data."""

    data: bytes
    at: int
    end: int

    @classmethod
    def whole(cls, data: bytes) -> Reader:
        """Return a reader of all of `data`."""
        return cls(data, 0, len(data))

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return self.end - self.at

    def byte(self) -> int:
        """Read one byte."""
        if self.at >= self.end:
            fail(TlsError.X509_INNER_TRUNC)
        if self.at >= len(self.data):
            fail(TlsError.X509_TRUNCATED)
        self.at += 1
        return self.data[self.at - 1]

    def rest(self) -> bytes:
        """Read all that is left."""
        if self.end > len(self.data):
            fail(TlsError.X509_TRUNCATED)
        taken = self.data[self.at : self.end]
        self.at = self.end
        return taken

    def tag(self) -> tuple[int, bool]:
        """Read a tag: its number (a context tag's plus CONTEXT), and whether it is constructed."""
        first = self.byte()
        if first & 0x40:
            fail(TlsError.X509_BAD_TAG_CLASS)
        if first & 0x1F == 0x1F:
            fail(TlsError.X509_BAD_TAG_VALUE)
        return (first & 0x1F) + (CONTEXT if first & 0x80 else 0), bool(first & 0x20)

    def tag_or_end(self) -> tuple[int, bool]:
        """Read a tag, or END where the element ends."""
        return self.tag() if self.left else (END, False)

    def length(self) -> int:
        """Read a length."""
        first = self.byte()
        if first < 0x80:
            return first
        if first == 0x80:
            fail(TlsError.X509_INDEFINITE_LENGTH)
        value = 0
        for _ in range(first - 0x80):
            if value > 0x7FFFFF:
                fail(TlsError.X509_INNER_TRUNC)
            value = (value << 8) + self.byte()
        return value

    def open(self) -> Reader:
        """Read a length, and return a reader of that many bytes; this one then stands behind them."""
        length = self.length()
        if length > self.left:
            fail(TlsError.X509_INNER_TRUNC)
        self.at += length
        return Reader(self.data, self.at - length, self.at)

    def close(self) -> None:
        """Expect that nothing is left."""
        if self.left:
            fail(TlsError.X509_EXTRA_ELEMENT)

    def expect(self, wanted: int, *, constructed: bool) -> Reader:
        """Read the tag `wanted`, and open the element."""
        check(self.tag(), wanted, constructed=constructed)
        return self.open()

    def sequence(self) -> Reader:
        """Open a SEQUENCE."""
        return self.expect(SEQUENCE, constructed=True)

    def bits(self) -> Reader:
        """Open a BIT STRING of whole bytes."""
        inner = self.expect(BIT_STRING, constructed=False)
        if inner.byte():
            fail(TlsError.X509_PARTIAL_BYTE)
        return inner

    def oid(self) -> bytes:
        """Read an object identifier, as encoded; empty for one that is too long to matter."""
        value = self.expect(OID, constructed=False).rest()
        return value if len(value) <= MAX_OID else b""

    def boolean(self, tag: tuple[int, bool]) -> bool:
        """Read a BOOLEAN whose tag was read."""
        check(tag, BOOLEAN, constructed=False)
        if self.length() != 1:
            fail(TlsError.X509_BAD_BOOLEAN)
        return self.byte() != 0

    def small_integer(self) -> int:
        """Read an INTEGER below 2**32 whose tag was read."""
        inner = self.open()
        if not inner.left:
            fail(TlsError.X509_OVERFLOW)
        value = inner.byte()
        if value >= 0x80:
            fail(TlsError.X509_OVERFLOW)
        while inner.left:
            byte = inner.byte()
            if value >= 0xFFFFFF:
                fail(TlsError.X509_OVERFLOW)
            value = (value << 8) + byte
        return value

    def big_integer(self, limit: int) -> bytes:
        """Read a positive INTEGER of at most `limit` bytes, without its leading zeros."""
        inner = self.expect(INTEGER, constructed=False)
        if inner.byte() >= 0x80:
            fail(TlsError.X509_OVERFLOW)
        inner.at -= 1
        value = inner.rest().lstrip(b"\0")
        if len(value) > limit:
            fail(TlsError.X509_LIMIT_EXCEEDED)
        return value

    def date(self) -> tuple[int, int, int, int]:
        """Read a time: year, month, day, and seconds of the day (up to 86400: BearSSL takes a leap second anywhere)."""
        tag, constructed = self.tag()
        if tag not in (UTC_TIME, GENERALIZED_TIME):
            fail(TlsError.X509_BAD_TIME)
        if constructed:
            fail(TlsError.X509_NOT_PRIMITIVE)
        inner = self.open()
        year = inner._digits(0, 99)
        year = year * 100 + inner._digits(0, 99) if tag == GENERALIZED_TIME else year + (2000 if year < 50 else 1900)
        month = inner._digits(1, 12)
        day = inner._digits(1, calendar.monthrange(year, month)[1])
        seconds = inner._digits(0, 23) * 3600 + inner._digits(0, 59) * 60 + inner._digits(0, 60)
        last = inner.byte()
        if last == 0x2E:
            last = inner.byte()
            while 0x30 <= last <= 0x39:
                last = inner.byte()
        if last != 0x5A:
            fail(TlsError.X509_BAD_TIME)
        inner.close()
        return year, month, day, seconds

    def _digits(self, low: int, high: int) -> int:
        value = 0
        for _ in range(2):
            digit = self.byte() - 0x30
            value = value * 10 + digit
            if not 0 <= digit <= 9:
                fail(TlsError.X509_BAD_TIME)
        if not low <= value <= high:
            fail(TlsError.X509_BAD_TIME)
        return value


def check(tag: tuple[int, bool], wanted: int, *, constructed: bool) -> None:
    """Expect a tag that was read to be `wanted`."""
    if tag[0] != wanted:
        fail(TlsError.X509_UNEXPECTED)
    if tag[1] is not constructed:
        fail(TlsError.X509_NOT_CONSTRUCTED if constructed else TlsError.X509_NOT_PRIMITIVE)
