"""What the OtaSeal library adds to a stock device: checks of the manifest, a count of attempts, its error numbers.

Firmware has the library if it has an identity record (`firmware`). A manifest is 64 bytes, little-endian, at the end of
a raw payload or first in the extra field of a gzip; its signature was verified before.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from enum import IntEnum

from .error_numbers import OUT_OF_MEMORY, HttpError, TlsError, UpdateError
from .report import Fault

MAGIC = b"OtaSealM"
SIZE = 64
FORMAT = 1
FIRMWARE, CERTIFICATES = 0, 1
MOST_ATTEMPTS = 3
ANY_BOARD = bytes(8)
PATCH_START = b"O"
SAYS_PATCHES = b" patch1\0", b" patch1 riscv\0"
"""One of these is in firmware whose library takes patches, and says so (instructions.h)."""
FEXTRA = 0x04
SUBFIELD = 16  # where the manifest stands in a gzip: 10 bytes of header, XLEN, and the subfield's own 4
_LAYOUT = struct.Struct("<8sBBBBII8s8s28s")


class LibraryError(IntEnum):
    """The library's numbers (firmware/OtaSeal/src/otaseal/errors.h), those that a poll can end with here."""

    NONE = 0
    FILE_SYSTEM = 2
    NO_CERTIFICATES = 3
    BAD_CERTIFICATES = 4
    MEMORY = 10
    CONNECT = 11
    TLS = 12
    SERVER_NAME = 13
    CERTIFICATE_TIME = 14
    UNTRUSTED = 15
    HTTP = 20
    NOT_FOUND = 21
    FORBIDDEN = 22
    UNAUTHORIZED = 23
    NO_LENGTH = 24
    TRUNCATED = 25
    SPACE = 26
    NOT_FIRMWARE = 27
    FLASH = 28
    SIGNATURE = 30
    NO_MANIFEST = 31
    FORMAT = 32
    KIND = 33
    PRODUCT = 34
    BOARD = 35
    COUNTER = 36
    ATTEMPTS = 37
    ARCHIVE_SIZE = 40
    ARCHIVE_STRUCTURE = 41
    ARCHIVE_OLDER = 42
    ARCHIVE_LOCKOUT = 43
    ARCHIVE_WRITE = 44
    PATCH_BASE = 60
    PATCH = 61
    UNREACHED = 70
    RESTARTS = 71


Decoder = Callable[[bytes, bytes], "bytes | Fault"]
"""Takes what is in flash of the sketch, and a patch; returns the signed image that comes out, or why none does."""

EXHAUSTED = Fault(LibraryError.ATTEMPTS, "this very release was tried three times", "F12")


@dataclass(frozen=True)
class Record:
    """A manifest or an identity record, field by field as it stands there."""

    format: int
    kind: int
    flash_mode: int
    reserved: int
    counter: int
    build_time: int
    product: bytes
    board: bytes
    version: str

    @property
    def built(self) -> datetime:
        """The build time: a safe floor for the clock (F25)."""
        return datetime.fromtimestamp(self.build_time, timezone.utc)


@dataclass(frozen=True)
class Memory:
    """What the library keeps over a restart: the last error, when the certificates were built, attempts at a payload.

    `payload` is the beginning of its SHA-256, `transfer` the MD5 (lower case) that the server announced for it.
    `gave_way` is why it is not what runs, although it was on trial.
    """

    error: int = 0
    certificates: int = 0
    attempts: int = 0
    payload: bytes = b""
    transfer: str = ""
    gave_way: int = 0

    @property
    def said(self) -> int:
        """The error that the server is told: why the last update gave way, until another one was tried."""
        said = self.gave_way if self.error in (0, LibraryError.ATTEMPTS) and self.gave_way else self.error
        return int(said)  # whose text is a name before Python 3.11, if it is an IntEnum

    def exhausted(self, payload: bytes) -> bool:
        """Tell whether this payload was tried often enough."""
        return self.attempts >= MOST_ATTEMPTS and self.payload == hashlib.sha256(payload).digest()[:8]

    def exhausted_transfer(self, md5: str) -> bool:
        """Tell whether what the server announces as `md5` was tried often enough."""
        return self.attempts >= MOST_ATTEMPTS and len(md5) == 32 and self.transfer == md5.lower()

    def noted(self, payload: bytes, md5: str) -> Memory:
        """Return the memory after another try at `payload`."""
        digest = hashlib.sha256(payload).digest()[:8]
        same = digest == self.payload
        return replace(
            self,
            attempts=min(self.attempts * same + 1, MOST_ATTEMPTS),
            payload=digest,
            transfer=md5.lower(),
            gave_way=self.gave_way * same,
        )


def read_record(data: bytes) -> Record:
    """Return the fields of 64 bytes."""
    _, form, kind, mode, reserved, counter, built, product, board, version = _LAYOUT.unpack(data)
    text = version.rstrip(b"\0").decode("ascii", "replace")
    return Record(form, kind, mode, reserved, counter, built, product, board, text)


def find(payload: bytes) -> Record | None:
    """Return the manifest of a payload from the place where it has to be, None where it is not."""
    record = payload[-SIZE:]
    if payload.startswith(b"\x1f\x8b"):
        extra = payload[:SUBFIELD]
        fits = len(extra) == SUBFIELD and extra[3] & FEXTRA and int.from_bytes(extra[10:12], "little") >= 4 + SIZE
        if not fits or extra[12:] != b"OS" + SIZE.to_bytes(2, "little"):
            return None
        record = payload[SUBFIELD : SUBFIELD + SIZE]
    return read_record(record) if len(record) == SIZE and record.startswith(MAGIC) else None


def judge(offered: Record | None, own: Record, kind: int = FIRMWARE) -> Fault | None:
    """Return why a device of identity `own` does not take what is `offered` as `kind`, with the library's number."""
    if offered is None:
        return Fault(LibraryError.NO_MANIFEST, "it is signed, and says not what it is for: no manifest", "F11")
    if offered.format != FORMAT or offered.reserved:
        return Fault(LibraryError.FORMAT, f"its manifest is of format {offered.format}", "F11")
    if offered.kind != kind:
        return Fault(LibraryError.KIND, "certificates in the place of firmware, or the other way round", "F11")
    if offered.product != own.product:
        return Fault(LibraryError.PRODUCT, "it is for another product", "F11")
    if ANY_BOARD not in (offered.board, own.board) and offered.board != own.board:
        return Fault(LibraryError.BOARD, "it is for another board", "F11")
    if offered.counter < own.counter:
        reason = f"its security counter is {offered.counter}, the device has {own.counter}: a downgrade"
        return Fault(LibraryError.COUNTER, reason, "F11")
    return None


def judge_update(payload: bytes, own: Record, memory: Memory) -> Fault | None:
    """Return why a device of identity `own` does not take firmware that is signed, or was tried too often."""
    fault = judge(find(payload), own)
    return EXHAUSTED if fault is None and memory.exhausted(payload) else fault


_NUMBERS: dict[int, LibraryError] = {
    0: LibraryError.NONE,
    HttpError.BIN_FOR_WRONG_FLASH: LibraryError.FLASH,
    HttpError.TOO_LESS_SPACE: LibraryError.SPACE,
    UpdateError.SPACE: LibraryError.SPACE,
    HttpError.SERVER_NOT_REPORT_SIZE: LibraryError.NO_LENGTH,
    HttpError.SERVER_FILE_NOT_FOUND: LibraryError.NOT_FOUND,
    HttpError.SERVER_FORBIDDEN: LibraryError.FORBIDDEN,
    HttpError.SERVER_UNAUTHORIZED: LibraryError.UNAUTHORIZED,
    HttpError.BIN_VERIFY_HEADER_FAILED: LibraryError.NOT_FIRMWARE,
    UpdateError.MAGIC_BYTE: LibraryError.NOT_FIRMWARE,
    UpdateError.STREAM: LibraryError.TRUNCATED,
    UpdateError.SIGN: LibraryError.SIGNATURE,
    UpdateError.OOM: LibraryError.MEMORY,
}
_TLS_NUMBERS: dict[int, LibraryError] = {
    0: LibraryError.CONNECT,
    TlsError.X509_BAD_SERVER_NAME: LibraryError.SERVER_NAME,
    TlsError.X509_EXPIRED: LibraryError.CERTIFICATE_TIME,
    TlsError.X509_NOT_TRUSTED: LibraryError.UNTRUSTED,
    OUT_OF_MEMORY: LibraryError.MEMORY,
}


def classify(error: int, tls_error: int) -> LibraryError:
    """Return the library's number for the core's: HTTP client's, HTTP updater's or updater's, and BearSSL's."""
    if HttpError.TOO_LESS_SPACE < error < 0:
        return _TLS_NUMBERS.get(tls_error, LibraryError.TLS)
    return _NUMBERS.get(error, LibraryError.FLASH if error > 0 else LibraryError.HTTP)
