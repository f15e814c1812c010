"""The release store: immutable blobs by SHA-256, release records, one small pointer file a channel, an audit log.

    store.json                                      the store's format
    blobs/sha256/<2 digits>/<64 digits>             what devices download; never changed, never removed here
    products/<product>/releases/<version>.json      immutable
    products/<product>/channels/<channel>.json      replaced atomically, by compare-and-swap of its generation
    products/<product>/certs/<channel>.json         the same, for the certificate archive that a channel gives out
    products/<product>/keys/<name>.pub              public keys; the store never holds a private one
    audit.log                                       one JSON object a line, appended

What is acknowledged is on the disk: blob, then record, then pointer, then audit line, each flushed before the next,
with the directories that name it. So a kill or a power cut at any moment leaves a store in which every pointer has its
record and every record its blobs; what was not acknowledged is there whole or not at all. Writers, in however many
processes, hold the lock; readers need none. What a kill may leave behind, `check.sweep` removes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from .. import files
from ..directories import PRIVATE_DIRECTORY_MODE, locked
from ..errors import (
    ConflictError,
    CorruptStoreError,
    InputError,
    LaterFormatError,
    NotFoundError,
    SystemFaultError,
)
from ..formats import format_of, refuse_later
from ..keys.public import load_public_key
from ..names import NAME, check_name
from ..release.archive_record import MAX_RECORD_BYTES as MAX_ARCHIVE_RECORD
from ..release.archive_record import ArchiveRecord
from ..release.channels import MAX_CHANNEL_BYTES, Channel, Pointer
from ..release.record_fields import VERSION
from ..release.record_json import MAX_RECORD_SIZE, parse, serialise
from ..release.records import Release, check_version
from . import audit_log
from .audit_log import archive_event, pointer_event, publish_event

MAX_BLOB_BYTES = 16 * 1024 * 1024
"""The largest flash chip that an ESP8266 can use; no image and no filesystem is larger."""
MAX_KEY_BYTES = 64 * 1024
MAX_KEYS = 16
"""Public keys of one product: every signature is tried against all of them."""
DEVICES_FILE = "devices.sqlite"
"""Where `devices` keeps what it saw, inside the store's directory and outside its promises and its backups."""
MARKER, AUDIT, BLOBS, PRODUCTS, LOCK = "store.json", "audit.log", "blobs/sha256", "products", ".lock"
_FORMAT = 1
_MARKER_BYTES = f'{{"format":{_FORMAT}}}\n'.encode()
_SHA256 = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")
_BLOB_HINT = "restore the store from a backup, or deploy that release again"
_RECORD_HINT = "restore the store from a backup, or give the devices another release"


class Store:
    """A store in `directory`; `create` makes one, `open` uses an existing one. Safe in threads and in processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def create(cls, directory: Path) -> Store:
        """Make an empty store in `directory`, which is missing, empty, or left by a kill; raises InputError."""
        store = cls(directory)
        if directory.exists() and not set(store._listed(directory)) <= {"blobs", PRODUCTS, LOCK}:
            raise InputError(f"'{directory}' is not empty", "name a directory that does not exist yet")
        store._make_directory(directory)
        with locked(directory):
            store._make_directory(directory / BLOBS)
            store._make_directory(directory / PRODUCTS)
            files.write_new(directory / MARKER, _MARKER_BYTES)
        return store

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Return the store in `directory`; raises NotFoundError, LaterFormatError, CorruptStoreError."""
        marker = directory / MARKER
        if not marker.is_file():
            raise NotFoundError(f"there is no release store in '{directory}'", "otaseal store create makes one")
        data = files.read_bounded(marker, MAX_RECORD_SIZE, "store marker")
        if data != _MARKER_BYTES:
            refuse_later(format_of(data), _FORMAT, f"the store in '{directory}'")
            raise CorruptStoreError(f"'{marker}' is damaged", "restore the store from a backup")
        return cls(directory)

    # What is there -------------------------------------------------------------------------------------------------

    def products(self) -> tuple[str, ...]:
        """Return the products' names, sorted."""
        folder = self.directory / PRODUCTS
        return tuple(name for name in self._listed(folder) if NAME.fullmatch(name) and (folder / name).is_dir())

    def channels(self, product: str) -> tuple[str, ...]:
        """Return the names of a product's channels, sorted; empty for an unknown product."""
        return self._names(self._product(product) / "channels", NAME, ".json")

    def current(self, product: str, channel: str) -> Channel | None:
        """Return what a channel points at, None for nothing; raises InputError, CorruptStoreError, LaterFormatError."""
        path, what = self._channel_path(product, channel), f"channel '{channel}' of '{product}'"
        return self._load(path, what, MAX_CHANNEL_BYTES, Channel.from_json)

    def archive(self, product: str, channel: str) -> ArchiveRecord | None:
        """Return which certificate archive a channel gives out, None when it never had one; raises as `current`."""
        path, what = self._archive_path(product, channel), f"the certificates of channel '{channel}' of '{product}'"
        return self._load(path, what, MAX_ARCHIVE_RECORD, ArchiveRecord.from_json)

    def archives(self, product: str) -> tuple[str, ...]:
        """Return the channels of a product that give out a certificate archive, sorted."""
        return self._names(self._product(product) / "certs", NAME, ".json")

    def release(self, product: str, version: str) -> Release:
        """Return the record of a release; raises NotFoundError, CorruptStoreError, LaterFormatError, InputError."""
        what = f"release '{version}' of '{product}'"
        release = self._load(self.release_path(product, version), what, MAX_RECORD_SIZE, parse, _RECORD_HINT)
        if release is None:
            raise NotFoundError(f"there is no {what}", "otaseal releases lists what there is")
        if (release.product, release.version) != (product, version):
            raise CorruptStoreError(f"the record of {what} is that of another", _RECORD_HINT)
        return release

    def releases(self, product: str) -> tuple[str, ...]:
        """Return the versions of a product's releases, sorted as text; empty for an unknown product."""
        return self._names(self._product(product) / "releases", VERSION, ".json")

    def keys(self, product: str) -> dict[str, bytes]:
        """Return the public keys (PEM) that a product's releases may be signed with, by name."""
        folder = self._product(product) / "keys"
        names = self._names(folder, VERSION, ".pub")
        paths = {name: folder / f"{name}.pub" for name in names[:MAX_KEYS]}
        return {name: files.read_bounded(path, MAX_KEY_BYTES, "public key") for name, path in paths.items()}

    def release_path(self, product: str, version: str) -> Path:
        """Return the file of a release's record, whether it exists or not; raises InputError."""
        return self._product(product) / "releases" / f"{check_version(version)}.json"

    def blob_path(self, digest: str) -> Path:
        """Return the file of the blob with this SHA-256, whether it exists or not; raises InputError."""
        if not _SHA256.fullmatch(digest):
            raise InputError(f"'{digest}' is no SHA-256", "use 64 hexadecimal digits in lower case")
        return self.directory / BLOBS / digest[:2] / digest

    def read_blob(self, digest: str) -> bytes:
        """Return a blob, after hashing it; raises CorruptStoreError when damaged or missing, never other bytes."""
        data = self._read(self.blob_path(digest), f"blob '{digest}'", MAX_BLOB_BYTES)
        if data is None:
            raise CorruptStoreError(f"blob '{digest}' is missing", _BLOB_HINT)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptStoreError(f"blob '{digest}' is damaged", _BLOB_HINT)
        return data

    def last_change(self) -> files.Stamp | None:
        """Return the stamp of the audit log, where every change of the store shows."""
        return files.stamp(self.directory / AUDIT)

    # What changes it: durable on return -----------------------------------------------------------------------------

    def add_key(self, product: str, name: str, pem: bytes) -> None:
        """Accept releases of a product, made if it is new, signed with `pem`; raises InputError, ConflictError."""
        path = self._product(product) / "keys" / f"{check_version(name)}.pub"
        load_public_key(pem, f"public key '{name}'")
        with locked(self.directory):
            if len(self.keys(product)) >= MAX_KEYS and not path.exists():
                raise InputError(f"'{product}' has {MAX_KEYS} keys already", "remove one that no longer signs")
            self._write_immutable(path, pem, f"a key '{name}' of '{product}'")
            self.append({"event": "key", "product": product, "key": name})

    def publish(self, release: Release, blobs: Iterable[bytes], by: str = "", rehearsal: str = "") -> None:
        """Store a release: its blobs, as far as the store has them not, then its record. Idempotent.

        The audit log keeps the operator `by` and the outcome of the `rehearsal`. Raises CorruptStoreError for a missing
        blob, ConflictError when there is another release of that version, SystemFaultError when the disk refuses.
        """
        path, what = self.release_path(release.product, release.version), f"release '{release.version}'"
        content = serialise(release)
        with locked(self.directory):
            self._refuse_other(path, content, what)
            written = {self._put_blob(data) for data in blobs}
            for form in release.files:
                if form.blob not in written:
                    self.read_blob(form.blob)
                    self._sync_upwards(self.blob_path(form.blob))
            self._write_immutable(path, content, what)
            event = publish_event(release.product, release.version, content)
            self.append(event | {"by": by} | ({"rehearsal": rehearsal} if rehearsal else {}))

    def point(self, product: str, channel: str, pointer: Pointer, *, expected: int, by: str = "") -> Channel:
        """Point a channel, of generation `expected` (0: new), at a release; raises ConflictError, NotFoundError."""
        with locked(self.directory):
            release = self.release(product, pointer.version)
            if not pointer.halted:  # what is damaged has to be halted all the same
                self._check_blobs(release)
            before = self._expected(product, channel, expected)
            after = Channel(pointer) if before is None else before.advanced(pointer)
            self._replace(product, channel, after, "point", by)
        return after

    def rollback(self, product: str, channel: str, *, expected: int, by: str = "") -> Channel:
        """Point a channel back at the last version that all its devices had; raises as `point`, InputError if none."""
        with locked(self.directory):
            before = self._expected(product, channel, expected)
            if before is None:
                raise NotFoundError(f"'{product}' has no channel '{channel}'", "otaseal releases lists what there is")
            after = before.rolled_back()
            self._check_blobs(self.release(product, after.pointer.version))
            self._replace(product, channel, after, "rollback", by)
        return after

    def publish_archive(
        self, product: str, channel: str, record: ArchiveRecord, data: bytes, *, expected: int, **logged: str
    ) -> ArchiveRecord:
        """Give out an archive in a channel; `logged` goes into the audit log; raises ConflictError as `point`."""
        path = self._archive_path(product, channel)
        with locked(self.directory):
            before = self.archive(product, channel)
            _refuse_generation(product, channel, 0 if before is None else before.generation, expected)
            after = record.after(before)
            if self._put_blob(data) != record.blob:
                raise InputError(f"the archive is not the one with the SHA-256 '{record.blob}'", "send it again")
            self._replace_file(path, after.to_json())
            self.append(archive_event(product, channel, after) | {"by": ""} | logged)
        return after

    def record_event(self, event: dict[str, object]) -> None:
        """Append `event`, a JSON object without secrets, to the audit log with the time; durable on return."""
        with locked(self.directory):
            self.append(event)

    def _put_blob(self, data: bytes) -> str:
        if len(data) > MAX_BLOB_BYTES:
            raise InputError(f"a blob is larger than {MAX_BLOB_BYTES} bytes", "no chip has so much flash")
        digest = hashlib.sha256(data).hexdigest()
        path = self.blob_path(digest)
        if not path.exists():
            self._make_directory(path.parent)
            files.write_new(path, data)
        else:
            try:
                self.read_blob(digest)
            except CorruptStoreError:
                files.write_atomic(path, data)
        self._sync_upwards(path)
        return digest

    def _check_blobs(self, release: Release) -> None:
        for form in release.files:
            self.read_blob(form.blob)

    def _expected(self, product: str, channel: str, expected: int) -> Channel | None:
        before = self.current(product, channel)
        _refuse_generation(product, channel, 0 if before is None else before.generation, expected)
        return before

    def _replace(self, product: str, channel: str, after: Channel, event: str, by: str) -> None:
        self._replace_file(self._channel_path(product, channel), after.to_json())
        self.append(pointer_event(event, product, channel, after) | {"by": by})

    def _replace_file(self, path: Path, data: bytes) -> None:
        self._make_directory(path.parent)
        files.write_atomic(path, data)
        self._sync_upwards(path)

    def _write_immutable(self, path: Path, content: bytes, what: str) -> None:
        self._refuse_other(path, content, what)
        if not path.exists():
            self._make_directory(path.parent)
            files.write_new(path, content)
        self._sync_upwards(path)

    def _refuse_other(self, path: Path, content: bytes, what: str) -> None:
        if self._read(path, what, MAX_KEY_BYTES) not in (None, content):
            raise ConflictError(f"{what} exists already, with other content", "a version never changes: use a new one")

    def append(self, event: dict[str, object]) -> None:
        """Append one line for who holds the lock; half a line, which a kill left, was never acknowledged and goes."""
        audit_log.append(self.directory / AUDIT, event)
        sync(self.directory)

    def _make_directory(self, path: Path) -> None:
        """Make `path` with its parents, each flushed into the one above: a file in it is lost with its directory."""
        if path.is_dir():
            return
        self._make_directory(path.parent)
        try:
            # Firmware has Wi-Fi passwords in it: what lies in a store is for who serves it.
            path.mkdir(PRIVATE_DIRECTORY_MODE if path == self.directory else 0o777, exist_ok=True)
            sync(path.parent)
        except OSError as error:
            raise SystemFaultError(f"'{path}' cannot be made: {error.strerror}", "check its parent") from error

    def _sync_upwards(self, path: Path) -> None:
        """Flush every directory from `path` up to the store's: who made them may have been killed before doing so."""
        for parent in path.parents:
            sync(parent)
            if parent == self.directory:
                return

    def _load(
        self, path: Path, what: str, limit: int, parse: Callable[[bytes], T], hint: str | None = None
    ) -> T | None:
        """Return the value in a file of the store, None where there is none; messages call it `what`."""
        data = self._read(path, what, limit)
        try:
            return None if data is None else parse(data)
        except LaterFormatError as error:
            raise LaterFormatError(f"{what}: {error.what}") from error
        except InputError as error:
            pointer = f"restore '{path}' from a backup; or remove it and deploy again, and what it goes back to is lost"
            raise CorruptStoreError(f"{what}: {error.message}", hint or pointer) from error

    def _read(self, path: Path, what: str, limit: int) -> bytes | None:
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CorruptStoreError(f"{what} cannot be read: {error.strerror}", "check the disk") from error
        if len(data) > limit:
            raise CorruptStoreError(f"{what} is larger than {limit} bytes", _RECORD_HINT)
        return data

    def _product(self, product: str) -> Path:
        return self.directory / PRODUCTS / check_name(product, "product")

    def _channel_path(self, product: str, channel: str) -> Path:
        return self._product(product) / "channels" / f"{check_name(channel, 'channel')}.json"

    def _archive_path(self, product: str, channel: str) -> Path:
        return self._product(product) / "certs" / f"{check_name(channel, 'channel')}.json"

    def _names(self, folder: Path, pattern: re.Pattern[str], suffix: str) -> tuple[str, ...]:
        """Return the names of the store's own files in `folder`; anything else is `check`'s to report."""
        names = [name.removesuffix(suffix) for name in self._listed(folder) if name.endswith(suffix)]
        return tuple(name for name in names if pattern.fullmatch(name))

    def _listed(self, folder: Path) -> list[str]:
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - a path for each of a thousand releases costs ten times that
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise SystemFaultError(f"'{folder}' cannot be read: {error.strerror}", "check its permissions") from error


def sync(directory: Path) -> None:
    """Flush a directory of the store; raises SystemFaultError."""
    try:
        files.sync_directory(directory)
    except OSError as error:
        raise SystemFaultError(f"'{directory}' cannot be flushed: {error.strerror}", "check the disk") from error


def _refuse_generation(product: str, channel: str, generation: int, expected: int) -> None:
    if generation != expected:
        raise ConflictError(
            f"channel '{channel}' of '{product}' has generation {generation}, not {expected}",
            "somebody else changed it: look at it again, then repeat",
        )
