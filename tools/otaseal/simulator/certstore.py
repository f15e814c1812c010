"""`certs.ar` as the device's CertStore reads it: what gets indexed, what a look-up finds, and over what it goes down.

The scan takes any member for a certificate and counts it (F16); a look-up takes the first of a name (F17), and then
trusts that the member is exactly one certificate (F18, F18b). Nothing is refused here that the device takes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .anchors import Anchor, Decoded, DeviceCrash, decode
from .der import DerError, Reader
from .public_key import looks_like_der

__all__ = ["DEFAULT_HEAP", "CertStore", "Entry"]

MAGIC = b"!<arch>\n"
HEADER = 60
SIZE_FIELD = slice(48, 58)
HASH_SIZE = 32
DEFAULT_HEAP = 40_000
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")


@dataclass(frozen=True)
class Entry:
    """One line of the index: where the member lies in the archive, and what the decoder made of it."""

    offset: int
    length: int
    decoded: Decoded
    member: bytes

    @property
    def crash(self) -> tuple[str, str] | None:
        """Why the device goes down when it looks this member up, and the fact behind it; None where it does not."""
        if not looks_like_der(self.member):
            return "is not exactly one certificate: the device resets in the handshake", "F18b"
        if self.decoded.anchor is None:
            return "cannot be decoded: the device uses an anchor that nobody filled in", "F18b"
        size = len(self.decoded.subject)
        if size < HASH_SIZE:
            return f"has a subject of {size} bytes: the device writes {HASH_SIZE} over it", "F18"
        return None

    @property
    def verdict(self) -> str:
        """Return "anchor", "pin" (good for itself only), "overflow", "crash", or "dead": nothing ever finds it."""
        if not self._is_named:
            return "dead"
        if self.crash is not None:
            return "overflow" if self.crash[1] == "F18" else "crash"
        return "anchor" if self.decoded.anchor is not None and self.decoded.anchor.is_ca else "pin"

    @property
    def is_usable(self) -> bool:
        """Whether the device can trust it without going down over it."""
        return self.verdict in ("anchor", "pin")

    @property
    def _is_named(self) -> bool:
        """Tell whether the decoder got through the subject: half a name hashes to what no certificate asks for."""
        subject = Reader.whole(self.decoded.subject)
        try:
            subject.sequence()
        except DerError:
            return False
        return not subject.left


@dataclass(frozen=True)
class CertStore:
    """The index of an archive; `count` is what `initCertStore` returns, healthy for a useless archive, too (F16)."""

    entries: tuple[Entry, ...]

    @property
    def index(self) -> bytes:
        """The content of `certs.idx`, which is written anew at each start."""
        lines = (entry.decoded.name_hash + struct.pack("<II", entry.offset, entry.length) for entry in self.entries)
        return b"".join(lines)

    @property
    def count(self) -> int:
        """Members counted."""
        return len(self.entries)

    @classmethod
    def load(cls, archive: bytes, heap: int = DEFAULT_HEAP) -> CertStore:
        """Return what the device indexes of `archive`; a member larger than the free `heap` ends the scan (F19)."""
        entries: list[Entry] = []
        at = len(MAGIC)
        while archive.startswith(MAGIC) and at + HEADER <= len(archive):
            header = archive[at : at + HEADER]
            at += HEADER
            length = _size(header[SIZE_FIELD])
            if not 0 < length <= min(heap, len(archive) - at):
                break
            member = archive[at : at + length]
            if not header.startswith(b"//"):
                entries.append(Entry(at, length, decode(member), member))
            at += length + (at + length & 1)
        return cls(tuple(entries))

    def find(self, name_hash: bytes) -> Sequence[Anchor]:
        """Return what the device comes to when it looks up a name: the first entry of it, or nothing.

        Raises DeviceCrash where that is no anchor.
        """
        for index, entry in enumerate(self.entries):
            if entry.decoded.name_hash == name_hash:
                if entry.crash is not None:
                    reason, fact = entry.crash
                    raise DeviceCrash(f"member {index} of certs.ar {reason}", fact)
                return () if entry.decoded.anchor is None else (entry.decoded.anchor,)
        return ()


def _size(field: bytes) -> int:
    match = _NUMBER.match(field.partition(b"\0")[0])
    return int(match[1]) if match else 0
