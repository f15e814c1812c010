"""The rules of a release store: what never changes, what is replaced by compare-and-swap, and what the audit log tells.

What is acknowledged is durable: blob, then record, then pointer, then audit line. How `Documents` are kept is theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ConflictError, InputError, NotFoundError, SystemFaultError
from ..keys.public import load_public_key
from ..release import release_log
from ..release.archive_record import ArchiveRecord
from ..release.attachments import LOG
from ..release.channels import Channel, Pointer
from ..release.record_json import MAX_RECORD_SIZE, serialise
from ..release.records import Release
from .audit_log import archive_event, plan_of, pointer_event, publish_event
from .contents import MAX_KEY_BYTES, MAX_KEYS, Contents
from .documents import (
    MAX_BLOB_BYTES,
    Change,
    Documents,
    Reader,
    archive_name,
    attachment_name,
    channel_name,
    key_name,
    log_name,
    release_name,
)
from .files import FileDocuments


class Store(Contents):
    """A store, of `documents` or of those in a directory; `create` makes one there, `open` uses an existing one."""

    def __init__(self, documents: Documents | Path) -> None:
        self.documents = FileDocuments(documents) if isinstance(documents, Path) else documents
        super().__init__(self.documents)

    @classmethod
    def create(cls, directory: Path) -> Store:
        """Make an empty store in `directory`; raises as `FileDocuments.create`."""
        return cls(FileDocuments.create(directory))

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Return the store in `directory`; raises as `FileDocuments.open`."""
        return cls(FileDocuments.open(directory))

    @property
    def directory(self) -> Path:
        """The directory of a store on files."""
        assert isinstance(self.documents, FileDocuments)
        return self.documents.directory

    def add_key(self, product: str, name: str, pem: bytes) -> None:
        """Accept releases of a product, made if it is new, signed with `pem`; raises InputError, ConflictError."""
        path = key_name(product, name)
        load_public_key(pem, f"public key '{name}'")
        with self.documents.change() as change:
            keys = Contents(change).keys(product)
            if len(keys) >= MAX_KEYS and name not in keys:
                raise InputError(f"'{product}' has {MAX_KEYS} keys already", "remove one that no longer signs")
            _put_immutable(change, path, pem, f"a key '{name}' of '{product}'")
            change.append({"event": "key", "product": product, "key": name})

    def publish(
        self,
        release: Release,
        blobs: Iterable[bytes],
        by: str = "",
        rehearsal: str = "",
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        """Store a release: its blobs, as far as the store has them not, then its record. Idempotent.

        The audit log keeps the operator `by` and the outcome of the `rehearsal`. Of a release that is there, only
        `attachments` (JSON by kind) that it does not have are added. Raises CorruptStoreError for a missing
        blob, ConflictError when there is another release of that version, SystemFaultError when the disk refuses.
        """
        name, what = release_name(release.product, release.version), f"release '{release.version}'"
        content = serialise(release)
        with self.documents.change() as change:
            _refuse_other(change, name, content, what)
            written = {_put_blob(change, data) for data in blobs}
            for form in release.files:
                if form.blob not in written:
                    _put_blob(change, Contents(change).read_blob(form.blob))
            attached = _attach(change, release, attachments or {})
            _put_immutable(change, name, content, what)
            event = publish_event(release.product, release.version, content) | {"by": by}
            event |= {"rehearsal": rehearsal} if rehearsal else {}
            change.append(event | ({"attached": attached} if attached else {}))

    def point(self, product: str, channel: str, pointer: Pointer, *, expected: int, by: str = "") -> Channel:
        """Point a channel, of generation `expected` (0: new), at a release; raises ConflictError, NotFoundError."""
        with self.documents.change() as change:
            contents = Contents(change)
            release = contents.release(product, pointer.version)
            if not pointer.halted:  # what is damaged has to be halted all the same
                _check_blobs(contents, release)
            before = _expected(contents, product, channel, expected)
            after = Channel(pointer) if before is None else before.advanced(pointer)
            change.replace(channel_name(product, channel), after.to_json())
            change.append(pointer_event("point", product, channel, after) | plan_of(before, after) | {"by": by})
        self._spread(channel, before, after)
        return after

    def rollback(self, product: str, channel: str, *, expected: int, by: str = "") -> Channel:
        """Point a channel back at the last version that all its devices had; raises as `point`, InputError if none."""
        with self.documents.change() as change:
            contents = Contents(change)
            before = _expected(contents, product, channel, expected)
            if before is None:
                raise NotFoundError(f"'{product}' has no channel '{channel}'", "otaseal releases lists what there is")
            after = before.rolled_back()
            _check_blobs(contents, contents.release(product, after.pointer.version))
            change.replace(channel_name(product, channel), after.to_json())
            change.append(pointer_event("rollback", product, channel, after) | {"by": by})
        self._spread(channel, before, after)
        return after

    def publish_archive(
        self, product: str, channel: str, record: ArchiveRecord, data: bytes, *, expected: int, **logged: str
    ) -> ArchiveRecord:
        """Give out an archive in a channel; `logged` goes into the audit log; raises ConflictError as `point`."""
        name = archive_name(product, channel)
        with self.documents.change() as change:
            before = Contents(change).archive(product, channel)
            _refuse_generation(product, channel, 0 if before is None else before.generation, expected)
            after = record.after(before)
            if _put_blob(change, data) != record.blob:
                raise InputError(f"the archive is not the one with the SHA-256 '{record.blob}'", "send it again")
            change.replace(name, after.to_json())
            change.append(archive_event(product, channel, after) | {"by": ""} | logged)
        return after

    def _spread(self, channel: str, before: Channel | None, after: Channel) -> None:
        """Return once every server gives out what a channel points at now, and no more of what it pointed at before.

        One that is out of touch ends rollouts by itself, and goes on with what a whole channel has: that is told where
        it is not to have it any more. Raises SystemFaultError.
        """
        try:
            away = self.documents.await_readers()
        except SystemFaultError as error:
            raise SystemFaultError(
                f"channel '{channel}' is changed, and not every server may know: {error.message}",
                "see whether the database runs; otaseal releases tells what the channel is",
            ) from error
        stopped = after.pointer.halted or after.pointer.paused
        taken_back = before is not None and before.pointer.complete and (stopped or _is_back(before, after))
        if away and taken_back:
            names = ", ".join(f"'{name}'" for name in away)
            raise SystemFaultError(
                f"channel '{channel}' is changed, and {names} may not know: it does not see the database",
                "stop that server, or let it see the database again",
            )

    def record_event(self, event: dict[str, object]) -> None:
        """Append `event`, a JSON object without secrets, to the audit log with the time; durable on return."""
        with self.documents.change() as change:
            change.append(event)


def remove_release(change: Change, product: str, version: str) -> None:
    """Remove a release and its attachments, those first: a kill leaves none without a release. Its blobs stay."""
    for kind in Contents(change).attachments(product, version):
        change.remove(attachment_name(product, version, kind))
    change.remove(release_name(product, version))


def _attach(change: Change, release: Release, attachments: Mapping[str, bytes]) -> dict[str, str]:
    """Keep the attachments that the release does not have yet; return their SHA-256 by kind.

    Where there is no record yet, one that is there is of an upload that did not get so far.
    """
    there = change.read(release_name(release.product, release.version), "release", MAX_RECORD_SIZE) is not None
    attached: dict[str, str] = {}
    for kind, data in attachments.items():
        if not there or Contents(change).attachment(release.product, release.version, kind) is None:
            change.replace(attachment_name(release.product, release.version, kind), data)
            attached[kind] = hashlib.sha256(data).hexdigest()
    if LOG in attached:
        _append_log(change, release.product, attachments[LOG])
    return attached


def _append_log(change: Change, product: str, data: bytes) -> None:
    head = Contents(change).log_head(product)
    release_log.refuse_other_head(release_log.parse(data), head)
    change.put_new(log_name(product, head.number + 1), data)


def _is_back(before: Channel, after: Channel) -> bool:
    return before.previous == after.pointer.version


def _put_blob(change: Change, data: bytes) -> str:
    if len(data) > MAX_BLOB_BYTES:
        raise InputError(f"a blob is larger than {MAX_BLOB_BYTES} bytes", "no chip has so much flash")
    digest = hashlib.sha256(data).hexdigest()
    change.put_blob(digest, data)
    return digest


def _check_blobs(contents: Contents, release: Release) -> None:
    for form in release.files:
        contents.read_blob(form.blob)


def _expected(contents: Contents, product: str, channel: str, expected: int) -> Channel | None:
    before = contents.current(product, channel)
    _refuse_generation(product, channel, 0 if before is None else before.generation, expected)
    return before


def _put_immutable(change: Change, name: str, content: bytes, what: str) -> None:
    _refuse_other(change, name, content, what)
    change.put_new(name, content)


def _refuse_other(reader: Reader, name: str, content: bytes, what: str) -> None:
    if reader.read(name, what, MAX_KEY_BYTES) not in (None, content):
        raise ConflictError(f"{what} exists already, with other content", "a version never changes: use a new one")


def _refuse_generation(product: str, channel: str, generation: int, expected: int) -> None:
    if generation != expected:
        raise ConflictError(
            f"channel '{channel}' of '{product}' has generation {generation}, not {expected}",
            "it was changed meanwhile: look at it again, then repeat",
        )
