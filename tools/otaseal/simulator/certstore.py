"""`certs.ar` as the device's CertStore reads it: what it indexes, what a look-up returns, and what crashes the device.

Every member counts as a certificate (F16). A look-up takes the first member with the name (F17) and assumes that it is
exactly one certificate (F18, F18b).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .anchors import Anchor, Decoded, DeviceCrash, decode
from .der import DerError, Reader
from .filesystem import mount, read_file, write_file
from .flash import Layout
from .public_key import looks_like_der
from .report import Fault, Step

ARCHIVE, INDEX = "/certs.ar", "/certs.idx"
CLIENT_CHAIN, CLIENT_KEY = "/client.crt", "/client.key"
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
        """Why a look-up of this member crashes the device, and by which fact; None where it does not."""
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
        """Whether the device can trust it."""
        return self.verdict in ("anchor", "pin")

    @property
    def _is_named(self) -> bool:
        """Tell whether the decoder read the whole subject; no certificate asks for the hash of a partial one."""
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
        """Return the anchor of the first entry with this name, or nothing.

        Raises DeviceCrash where that entry is not an anchor.
        """
        for index, entry in enumerate(self.entries):
            if entry.decoded.name_hash == name_hash:
                if entry.crash is not None:
                    reason, fact = entry.crash
                    raise DeviceCrash(f"member {index} of certs.ar {reason}", fact)
                return () if entry.decoded.anchor is None else (entry.decoded.anchor,)
        return ()


@dataclass(frozen=True)
class LoadedStore:
    """The chip after the start of a sketch, what it indexed, the SHA-256 (hex) of the archive, "" without one."""

    flash: bytes
    store: CertStore
    archive_hash: str
    steps: tuple[Step, ...]


def load_store(flash: bytes, layout: Layout, heap: int, *, auto_format: bool) -> LoadedStore:
    """Mount, read and index as `LittleFS.begin()` and `initCertStore()` do; raises SystemFaultError without littlefs.

    An archive that yields nothing is a step that failed, and the device goes on and finds nobody to trust.
    """
    mounted = mount(flash, layout, auto_format=auto_format)
    checked = f"LittleFS of {layout.fs_size} bytes at 0x{layout.fs_start:x}, blocks of {layout.block}"
    if mounted.reason:
        step = Step.refused("filesystem", checked, Fault(0, mounted.reason, mounted.fact))
    else:
        step = Step("filesystem", checked, fact="F15b")
    flash, store, digest = mounted.flash, CertStore(()), ""
    archive = read_file(flash, layout, ARCHIVE) if mounted.mounted else None
    if archive is None:
        reason = f"there is no {ARCHIVE} in the filesystem: nobody is trusted"
        indexed = Step.refused("certificates", ARCHIVE, Fault(0, reason, "F15" if mounted.formatted else "F16"))
    else:
        digest, loaded = hashlib.sha256(archive).hexdigest(), CertStore.load(archive, heap)
        written = write_file(flash, layout, INDEX, loaded.index)
        if written is None:
            fault = Fault(0, f"no room for {INDEX}, {len(loaded.index)} bytes", "F19")
            indexed = Step.refused("certificates", ARCHIVE, fault)
        else:
            flash, store, indexed = written, loaded, _counting(loaded, len(archive))
    return LoadedStore(flash, store, digest, (step, indexed))


def _counting(store: CertStore, size: int) -> Step:
    usable = sum(entry.is_usable for entry in store.entries)
    checked = f"{ARCHIVE}: {size} bytes, {store.count} counted, {usable} usable"
    if usable:
        return Step("certificates", checked, fact="F16")
    reason = "the device counts what it cannot use" if store.count else "nothing in it can be read"
    return Step.refused("certificates", checked, Fault(0, reason, "F16"))


def _size(field: bytes) -> int:
    match = _NUMBER.match(field.partition(b"\0")[0])
    return int(match[1]) if match else 0
