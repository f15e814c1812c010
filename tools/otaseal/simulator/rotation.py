"""The certificate archive over the air, as the OtaSeal library takes it: signed, for this product, not older."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from . import library
from .certstore import CertStore
from .filesystem import write_file
from .flash import Layout
from .library import LibraryError, Record
from .public_key import RsaKey, load_public_key, opens_to
from .report import Fault
from .trust import ARCHIVE, INDEX

__all__ = ["VerifiedArchive", "judge_archive", "judge_size", "store"]

WORD = 4
MANIFEST = 64
MAX_SIGNATURE = 512
MAX_ARCHIVE, MAX_MEMBER = 256 * 1024, 8 * 1024
SMALLEST = 8 + 60 + MANIFEST + WORD + 256
LARGEST = MAX_ARCHIVE + MANIFEST + WORD + MAX_SIGNATURE


@dataclass(frozen=True)
class VerifiedArchive:
    """An archive that was verified: its bytes, what the device indexes of it, and when it was built (Unix seconds)."""

    archive: bytes
    store: CertStore
    built: int


def judge_size(size: int) -> Fault | None:
    """Return why a body of that size is not even downloaded."""
    if size <= 0:
        return Fault(LibraryError.NO_LENGTH, "the answer has no Content-Length above 0", "F29")
    if not SMALLEST <= size <= LARGEST:
        reason = f"{size} bytes are not within {SMALLEST} to {LARGEST}"
        return Fault(LibraryError.ARCHIVE_SIZE, reason, "F19")
    return None


def judge_archive(data: bytes, keys: tuple[bytes, ...], own: Record, newest: int) -> VerifiedArchive | Fault:
    """Return the archive in `data`, or why it is not taken; `newest` is when the one in use was built."""
    size = int.from_bytes(data[-WORD:], "little")
    usable = [key for text in keys[:2] if isinstance(key := load_public_key(text), RsaKey)]
    end = len(data) - WORD - size
    if size > MAX_SIGNATURE or size not in [key.size for key in usable] or end < MANIFEST:
        return Fault(LibraryError.SIGNATURE, f"the last word is {size}: no signature by a key of the device", "F1")
    payload, signature = data[:end], data[end:-WORD]
    digest = hashlib.sha256(payload).digest()
    if not any(opens_to(signature, key, digest, "sha256") for key in usable):
        return Fault(LibraryError.SIGNATURE, "the signature does not fit these bytes and the device's keys", "F1")
    offered = library.find(payload)
    fault = library.judge(offered, own, library.CERTIFICATES)
    if fault is not None or offered is None:
        return fault or Fault(LibraryError.NO_MANIFEST, "no manifest", "F11")
    if offered.build_time < newest:
        return Fault(LibraryError.ARCHIVE_OLDER, "it was built before the one in use", "F11")
    return _usable(payload[:-MANIFEST], offered)


def store(flash: bytes, layout: Layout, taken: VerifiedArchive) -> bytes | None:
    """Return the chip with the archive in use, None where there is no room."""
    written = write_file(flash, layout, ARCHIVE, taken.archive)
    return None if written is None else write_file(written, layout, INDEX, taken.store.index)


def _usable(archive: bytes, offered: Record) -> VerifiedArchive | Fault:
    found = CertStore.load(archive)
    bad = next(
        (entry for entry in found.entries if entry.verdict not in ("anchor", "pin") or entry.length > MAX_MEMBER), None
    )
    names = [entry.decoded.name_hash for entry in found.entries]
    if not found.count or bad is not None or len(set(names)) != len(names):
        reason = f"a member is '{bad.verdict}'" if bad else "it is empty, or one subject stands twice"
        return Fault(LibraryError.ARCHIVE_STRUCTURE, f"the certificate store cannot live with it: {reason}", "F18b")
    return VerifiedArchive(archive, found, offered.build_time)
