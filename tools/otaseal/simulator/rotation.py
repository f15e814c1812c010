"""The certificate archive over the air, as the OtaSeal library takes it: signed, for this product, not older."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import counted
from . import library
from .certstore import ARCHIVE, INDEX, CertStore
from .connection import Socket
from .filesystem import write_file
from .http_client import Body, Response, Url, read_response
from .http_update import NOT_FOUND, NOT_MODIFIED, OK
from .library import LibraryError, Record
from .poll import Poll
from .public_key import RsaKey, load_public_key, opens_to
from .report import Fault, Result
from .tls import Connection, Failure, handshake

if TYPE_CHECKING:
    from .device import Device

WORD = 4
MANIFEST = 64
MAX_SIGNATURE = 512
MAX_ARCHIVE, MAX_MEMBER = 256 * 1024, 8 * 1024
SMALLEST = 8 + 60 + MANIFEST + WORD + 256
LARGEST = MAX_ARCHIVE + MANIFEST + WORD + MAX_SIGNATURE

Responder = Callable[[bytes], bytes]
"""Takes the bytes of a request, and returns those of the response."""


@dataclass(frozen=True)
class VerifiedArchive:
    """An archive that was verified: its bytes, what the device indexes of it, and when it was built (Unix seconds)."""

    archive: bytes
    store: CertStore
    built: int


class ArchivePoll(Poll):
    """A poll for another certificate archive; `answer`, if given, replaces the server's response."""

    def __init__(
        self, device: Device, url: Url, timeout: float, host: str | None, *, own: Record, answer: Responder | None
    ) -> None:
        super().__init__(device, url, timeout, host)
        self._identity, self._answer = own, answer

    def exchange(self, connection: Connection) -> None:
        """Ask for the archive, try it against this server, and put it into use."""
        body, response = self.ask(connection, {})
        if self._answer is not None and response.status in (OK, NOT_MODIFIED, NOT_FOUND):
            self.passed("answer", f"status {response.status}, in whose place the new one is played")
            body = Body(None, self._answer(self.request))
            response = read_response(body, self.device.dialect)
            self.status = response.status
        checked = f"status {response.status}, {response.size} bytes"
        if response.status in (NOT_MODIFIED, NOT_FOUND):
            self.passed("answer", checked, "F29")
            self.result = Result.UP_TO_DATE
            return
        fault = _judge_response(response)
        data = b"" if fault else body.take(response.size)
        self.hang_up()
        if fault is None and len(data) < response.size:
            fault = Fault(LibraryError.TRUNCATED, f"{len(data)} of {response.size} bytes arrive", "F29")
        if fault is not None:
            self.refuse("answer", checked, fault)
        self.passed("answer", checked, "F29")
        self._install(data)

    def _install(self, data: bytes) -> None:
        device = self.device
        verified = judge_archive(data, device.verifying_keys, self._identity, device.memory.certificates)
        if isinstance(verified, Fault):
            self.refuse("manifest", f"{len(data)} bytes", verified)
        self.passed("manifest", f"{len(verified.archive)} bytes of archive, built {verified.built}", "F14")
        self._try(verified.store)
        flash = write_file(device.flash, device.layout, ARCHIVE, verified.archive)
        flash = None if flash is None else write_file(flash, device.layout, INDEX, verified.store.index)
        if flash is None:
            fault = Fault(LibraryError.ARCHIVE_WRITE, "no room in the filesystem", "F19")
            self.refuse("write", f"{ARCHIVE}, {len(verified.archive)} bytes", fault)
        memory = replace(device.memory, certificates=verified.built)
        self.device = replace(device, flash=flash, memory=memory, session=None)
        self.passed("result", f"{ARCHIVE} renewed, {counted(verified.store.count, 'certificate')}", "F16")
        self.result = Result.UPDATED

    def _try(self, store: CertStore) -> None:
        """Connect once more, trusting only `store`, which must not lock the device out."""
        settings = replace(self.tls_settings(store), session=None)
        connected = self.dial()
        connection = handshake(connected, settings) if isinstance(connected, Socket) else connected
        if not isinstance(connection, Connection):
            why = connection.reason if isinstance(connection, Failure) else connection
            reason = f"with it the server would not be trusted any more: {why}"
            fault = Fault(LibraryError.ARCHIVE_LOCKOUT, reason, "F17", "lockout")
            self.refuse("certificate-chain", "the new archive", fault)
        connection.close()
        self.passed("certificate-chain", "the new archive, against this server", "F17")


def _judge_response(response: Response) -> Fault | None:
    """Return why the body is not downloaded."""
    if response.status != OK:
        return Fault(LibraryError.HTTP, f"status {response.status}", "F29")
    if response.size <= 0:
        return Fault(LibraryError.NO_LENGTH, "the answer has no Content-Length above 0", "F29")
    if not SMALLEST <= response.size <= LARGEST:
        reason = f"{response.size} bytes are not within {SMALLEST} to {LARGEST}"
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


def _usable(archive: bytes, offered: Record) -> VerifiedArchive | Fault:
    store = CertStore.load(archive)
    bad = next((entry for entry in store.entries if not entry.is_usable or entry.length > MAX_MEMBER), None)
    names = {entry.decoded.name_hash for entry in store.entries}
    if not store.count or bad is not None or len(names) != store.count:
        reason = f"a member is '{bad.verdict}'" if bad else "it is empty, or one subject stands twice"
        return Fault(LibraryError.ARCHIVE_STRUCTURE, f"the certificate store cannot live with it: {reason}", "F18b")
    return VerifiedArchive(archive, store, offered.build_time)
