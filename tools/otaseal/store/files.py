"""The documents of a release store as files in a directory, each under its name.

What is acknowledged is on the disk: blob, then record, then pointer, then audit line, each flushed before the next,
with the directories that name it. So a kill or a power cut at any moment leaves a store in which every pointer has its
record and every record its blobs; what was not acknowledged is there whole or not at all. Writers, in however many
processes, hold the lock; readers need none. What a kill may leave behind, `sweep` removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..directories import PRIVATE_DIRECTORY_MODE, locked
from ..errors import CorruptStoreError, InputError, NotFoundError, SystemFaultError
from ..formats import format_of, refuse_later
from ..release.record_json import MAX_RECORD_SIZE
from . import audit_log
from .documents import AUDIT, BLOBS, MARKER, MAX_BLOB_BYTES, PRIVATE, PRODUCTS, RECORD_HINT, Lines, blob_name
from .secrets import SECRETS_FILE, Secrets

DEVICES_FILE = "devices.sqlite"
"""Where `devices` keeps what it saw, inside the store's directory and outside its promises and its backups."""
LOCK = ".lock"
TEMPORARY = ".*.tmp"
SETTLED_NANOSECONDS = 1_000_000_000
_FORMAT = 1
_MARKER_BYTES = f'{{"format":{_FORMAT}}}\n'.encode()
_SWEPT = ("blobs", PRODUCTS)


class FileDocuments:
    """The documents in `directory`, of which one process after the other makes a `change`. Safe in threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._text = str(directory)  # paths are slow, and a stamp is asked for with every request

    @classmethod
    def create(cls, directory: Path) -> FileDocuments:
        """Make an empty store in `directory`, which is missing, empty, or left by a kill; raises InputError."""
        documents = cls(directory)
        if directory.exists() and not set(documents.names("")) <= {"blobs", PRODUCTS, LOCK}:
            raise InputError(f"'{directory}' is not empty", "name a directory that does not exist yet")
        documents._make_directory(directory)
        with locked(directory):
            documents._make_directory(directory / BLOBS)
            documents._make_directory(directory / PRODUCTS)
            files.write_new(directory / MARKER, _MARKER_BYTES)
        return documents

    @classmethod
    def open(cls, directory: Path) -> FileDocuments:
        """Return the documents in `directory`; raises NotFoundError, LaterFormatError, CorruptStoreError."""
        marker = directory / MARKER
        if not marker.is_file():
            raise NotFoundError(f"there is no release store in '{directory}'", "otaseal store create makes one")
        data = files.read_bounded(marker, MAX_RECORD_SIZE, "store marker")
        if data != _MARKER_BYTES:
            refuse_later(format_of(data), _FORMAT, f"the store in '{directory}'")
            raise CorruptStoreError(f"'{marker}' is damaged", "restore the store from a backup")
        return cls(directory)

    # What is there -------------------------------------------------------------------------------------------------

    def read(self, name: str, what: str, limit: int) -> bytes | None:
        """Return a file's bytes; see `Reader`."""
        try:
            with (self.directory / name).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CorruptStoreError(f"{what} cannot be read: {error.strerror}", "check the disk") from error
        if len(data) > limit:
            raise CorruptStoreError(f"{what} is larger than {limit} bytes", RECORD_HINT)
        return data

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder; see `Reader`."""
        try:
            return sorted(os.listdir(f"{self._text}/{folder}"))  # noqa: PTH208 - a path for each costs ten times that
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise SystemFaultError(
                f"'{self.place(folder)}' cannot be read: {error.strerror}", "check its permissions"
            ) from error

    def read_blob(self, digest: str) -> bytes | None:
        """Return the bytes of a blob's file; see `Reader`."""
        return self.read(blob_name(digest), f"blob '{digest}'", MAX_BLOB_BYTES)

    def blobs(self) -> dict[str, int]:
        """Return the sizes of the blobs' files; see `Reader`."""
        return {path.name: path.stat().st_size for path in sorted((self.directory / BLOBS).glob("??/*"))}

    def modified(self, name: str) -> float:
        """Return when a file was written; see `Reader`."""
        return (self.directory / name).stat().st_mtime

    def audit_lines(self) -> Lines:
        """Yield the lines of the log's file; see `Reader`."""
        return audit_log.lines(self.directory / AUDIT)

    def audit_back(self, before: int | None = None) -> Lines:
        """Yield the lines of the log's file from its end; see `Documents`."""
        return audit_log.lines_back(self.directory / AUDIT, before)

    def place(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.directory / name)

    def present(self) -> set[str]:
        """Return the names of all files; see `Reader`."""
        return {path.relative_to(self.directory).as_posix() for path in self._files()}

    def stamp(self, name: str) -> files.Stamp | None:
        """Return the stamp of a file or folder; see `Documents`."""
        return files.stamp(f"{self._text}/{name}")

    def is_settled(self, stamp: object) -> bool:
        """Return whether another change would show in the stamp: one tick of the clock may hold two."""
        return isinstance(stamp, tuple) and time.time_ns() - stamp[0] > SETTLED_NANOSECONDS

    def last_change(self) -> files.Stamp | None:
        """Return the stamp of the audit log, where every change of the store shows."""
        return self.stamp(AUDIT)

    def unwritable(self) -> str:
        """Return in words that the directory cannot be written; see `Documents`."""
        return "" if os.access(self.directory, os.W_OK) else f"'{self.directory}' cannot be written"

    def check_secrets(self) -> None:
        """Read every page of the file of secrets, if there is one; see `Documents`."""
        with Secrets(self.directory / SECRETS_FILE) as secrets:
            secrets.check()

    def is_current(self) -> bool:
        """Return True: whoever changes a file, everybody sees it."""
        return True

    def await_readers(self) -> tuple[str, ...]:
        """Return no server: all see what is on the disk; see `Documents`."""
        return ()

    # What changes it -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def change(self) -> Iterator[FileDocuments]:
        """Hold the lock of the directory; see `Documents`."""
        with locked(self.directory):
            yield self

    def put_new(self, name: str, data: bytes) -> None:
        """Make a file; see `Change`."""
        path = self.directory / name
        if not path.exists():
            self._make_directory(path.parent)
            files.write_new(path, data)
        self._sync_upwards(path)

    def replace(self, name: str, data: bytes) -> None:
        """Replace a file in one step; see `Change`."""
        path = self.directory / name
        self._make_directory(path.parent)
        files.write_atomic(path, data, files.PRIVATE_MODE if name in PRIVATE else files.PUBLIC_MODE)
        self._sync_upwards(path)

    def remove(self, name: str) -> None:
        """Remove a file, durably, before the next step is taken."""
        path = self.directory / name
        files.remove(path)
        _sync(path.parent)

    def put_blob(self, digest: str, data: bytes) -> None:
        """Make the file of a blob, or one in place of damaged bytes; see `Change`."""
        path = self.directory / blob_name(digest)
        if not path.exists():
            self._make_directory(path.parent)
            files.write_new(path, data)
        elif not self._is_sound(digest):
            files.write_atomic(path, data)
        self._sync_upwards(path)

    def remove_blob(self, digest: str) -> None:
        """Remove the file of a blob; see `remove`."""
        self.remove(blob_name(digest))

    def append(self, *events: dict[str, object]) -> None:
        """Append lines; half a line, which a kill left, was never acknowledged and goes."""
        audit_log.append(self.directory / AUDIT, *events)
        _sync(self.directory)

    def sweep(self) -> None:
        """Remove temporary files; under the lock no writer is at work, so that every one is a dead one's."""
        for path in self._files():
            if path.match(TEMPORARY):
                files.remove(path)

    def _is_sound(self, digest: str) -> bool:
        with contextlib.suppress(CorruptStoreError):
            data = self.read_blob(digest)
            return data is not None and hashlib.sha256(data).hexdigest() == digest
        return False

    def _files(self) -> Iterator[Path]:
        for folder in _SWEPT:
            paths = (self.directory / folder).rglob("*")
            yield from (path for path in paths if path.is_symlink() or not path.is_dir())

    def _make_directory(self, path: Path) -> None:
        """Make `path` with its parents, each flushed into the one above: a file in it is lost with its directory."""
        if path.is_dir():
            return
        self._make_directory(path.parent)
        try:
            # Firmware has Wi-Fi passwords in it: what lies in a store is for who serves it.
            path.mkdir(PRIVATE_DIRECTORY_MODE if path == self.directory else 0o777, exist_ok=True)
            _sync(path.parent)
        except OSError as error:
            raise SystemFaultError(f"'{path}' cannot be made: {error.strerror}", "check its parent") from error

    def _sync_upwards(self, path: Path) -> None:
        """Flush every directory from `path` up to the store's: who made them may have been killed before doing so."""
        for parent in path.parents:
            _sync(parent)
            if parent == self.directory:
                return


def _sync(directory: Path) -> None:
    try:
        files.sync_directory(directory)
    except OSError as error:
        raise SystemFaultError(f"'{directory}' cannot be flushed: {error.strerror}", "check the disk") from error
