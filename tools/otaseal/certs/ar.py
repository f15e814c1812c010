"""The ar container of `certs.ar`: what we write, and what a device makes of any bytes.

`serialise` is deterministic: short GNU names, decimal sizes, even padding, and no time, owner or mode that depends on
the machine; the bytes are those of `ar qcDS`. `device_view` reads as the core's `CertStore::initCertStore` does (F16),
and never raises. Nothing here knows what a certificate is.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError

ARCHIVE_LIMIT = 8 * 1024 * 1024  # bytes; the largest flash chip the core supports is 16 MiB, code included
MEMBER_LIMIT = 64 * 1024  # bytes; a device loads a member whole into a heap smaller than this (F19)

_MAGIC = b"!<arch>\n"
_THIN_MAGIC = b"!<thin>\n"
_HEADER_SIZE = 60
_FIXED = b"0           0     0     644     "  # mtime, uid, gid, mode: as `ar D` writes them
_SIZE_AT = 48
_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,14}")  # the field has 16 characters and the final slash takes one
_SSCANF_D = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Member:
    """One file of an archive. In those that we write, `name` is at most 15 of `0-9 A-Z a-z . _ -`, `data` not empty.

    A device gives a member that is `skipped` no line in its index.
    """

    name: str
    data: bytes
    skipped: bool = False


def serialise(members: Sequence[Member]) -> bytes:
    """Return the archive of `members`, in the order given.

    Raises InputError for a name that needs more than the short form, a name used twice and a member that is empty or
    larger than MEMBER_LIMIT: a device would stop there, or run out of memory (F16, F18b, F19).
    """
    names = [member.name for member in members]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two members are named '{duplicate}'", "`ar x` would lose one of them: rename it")
    return _MAGIC + b"".join(_serialise_member(member) for member in members)


def _serialise_member(member: Member) -> bytes:
    if not _NAME.fullmatch(member.name):
        raise InputError(
            f"'{printable(member.name)}' cannot be the name of an archive member",
            "use at most 15 letters, digits, dots, dashes and underscores, so that it fits the header",
        )
    size = len(member.data)
    if not 0 < size <= MEMBER_LIMIT:
        raise InputError(
            f"member '{member.name}' has {size} bytes, which is not 1 to {MEMBER_LIMIT}",
            "a device ends its scan at such a member: leave it out",
        )
    name = f"{member.name}/".ljust(16).encode("ascii")
    return name + _FIXED + b"%-10d`\n" % size + member.data + b"\n" * (size & 1)


class Ending(enum.Enum):
    """Why a device stopped scanning; the value is what to tell a person."""

    COMPLETE = "the whole archive was read"
    NOT_AN_ARCHIVE = "it does not begin with '!<arch>', so no certificate is read at all"
    THIN = "it is a thin archive, which holds names and no certificates"
    PARTIAL_HEADER = "it ends inside a member header"
    BAD_SIZE = "a member's size is not a positive number"
    ZERO_SIZE = "a member of size 0 ends the scan"
    TRUNCATED = "a member is larger than what is left of the file"


@dataclass(frozen=True)
class DeviceView:
    """What `initCertStore` makes of an archive: the members it reads, and why and where it stops."""

    members: tuple[Member, ...]
    ending: Ending
    stopped_at: int

    @property
    def indexed(self) -> tuple[Member, ...]:
        """The members that `initCertStore` counts and indexes, in order: a lookup takes the first (F16, F17)."""
        return tuple(member for member in self.members if not member.skipped)


def device_view(data: bytes) -> DeviceView:
    """Return what the core's `initCertStore` reads from `data` (F16, F18b; the same in cores 2.7.4 to 3.1.2).

    The device looks at the magic, at whether a name begins with `//`, and at what `sscanf("%d")` makes of the size; it
    checks no other byte of a header. Names are resolved here for people only. Never raises.
    """
    if data[:8] != _MAGIC:
        return DeviceView((), Ending.THIN if data[:8] == _THIN_MAGIC else Ending.NOT_AN_ARCHIVE, 0)
    members: list[Member] = []
    at, table = len(_MAGIC), b""
    while True:
        header = data[at : at + _HEADER_SIZE]
        if len(header) < _HEADER_SIZE:
            return DeviceView(tuple(members), Ending.PARTIAL_HEADER if header else Ending.COMPLETE, at)
        number = _SSCANF_D.match(header[_SIZE_AT:58])
        size = None if number is None else min(int(number[1]), _INT32_MAX)
        start = at + _HEADER_SIZE
        if size is None or size <= 0:  # a negative size asks malloc for nearly 4 GiB: the scan ends there too
            return DeviceView(tuple(members), Ending.ZERO_SIZE if size == 0 else Ending.BAD_SIZE, at)
        if size > len(data) - start:
            return DeviceView(tuple(members), Ending.TRUNCATED, at)
        body = data[start : start + size]
        skipped = header.startswith(b"//")
        if skipped:
            table = body
        members.append(Member(_display_name(header[:16], body, table), body, skipped))
        at = start + size
        at += at & 1  # the device pads by the absolute offset, and does not mind if the byte is missing


def _display_name(field: bytes, body: bytes, table: bytes) -> str:
    raw = field.rstrip(b" ")
    if long := re.fullmatch(rb"/([0-9]+)", raw):
        raw = table[int(long[1]) :].split(b"\n")[0]
    elif bsd := re.fullmatch(rb"#1/([0-9]+)", raw):
        raw = body[: int(bsd[1])].rstrip(b"\0")
    if raw.strip(b"/"):
        raw = raw.removesuffix(b"/")
    return printable(raw.decode("latin-1")[:64])


def printable(text: str) -> str:
    """Return `text` with what could steer a terminal replaced: names inside files come from strangers."""
    return "".join(character if character.isprintable() else "?" for character in text)
