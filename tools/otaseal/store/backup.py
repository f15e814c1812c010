"""Backups of a release store: one deterministic tar file out, verified whole before anything is restored from it.

    manifest.json       every file's size and SHA-256, in the order in which they follow
    store.json ...      the store's own files under their names; without the devices seen, orphans and temporary files

The lock is held while records and pointers are read: blobs never change, so that they are copied while others publish.
The tar holds token hashes and the devices' proof keys, and is readable by its owner alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from .. import files
from ..directories import PRIVATE_DIRECTORY_MODE, locked
from ..errors import InputError, LaterFormatError, NotFoundError, SystemFaultError
from ..formats import refuse_later
from ..names import NAME
from ..release import attachments
from ..release.archive_record import MAX_RECORD_BYTES
from ..release.channels import MAX_CHANNEL_BYTES
from ..release.record_fields import VERSION
from ..release.record_json import MAX_RECORD_SIZE
from .check import check, survey
from .contents import MAX_KEY_BYTES
from .documents import AUDIT, BLOBS, MARKER, MAX_BLOB_BYTES, MAX_SMALL_BYTES, PRODUCTS, TOKENS, TRUSTS, blob_name
from .secrets import SECRETS_FILE, Secrets
from .staging import new_directory
from .store import Store
from .tokens import MAX_TOKENS_BYTES
from .trusts import MAX_TRUSTS_BYTES

MANIFEST = "manifest.json"
FORMAT = 3
"""Of a backup with attachments of releases or trusts; 2 is that of one with secrets, 1 of one without any: each is
written in the oldest that can say it, which earlier versions can restore.
"""
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_BLOB = re.compile(rf"{BLOBS}/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
_ATTACHMENT = re.compile(
    rf"{PRODUCTS}/{NAME.pattern}/attachments/{VERSION.pattern}/({'|'.join(attachments.LIMITS)})\.json"
)
_OTHER = (
    (re.compile(MARKER), MAX_RECORD_SIZE),
    (re.compile(re.escape(AUDIT)), MAX_SMALL_BYTES),
    (re.compile(TOKENS), MAX_TOKENS_BYTES),
    (re.compile(TRUSTS), MAX_TRUSTS_BYTES),
    (re.compile(re.escape(SECRETS_FILE)), MAX_SMALL_BYTES),
    (re.compile(rf"{PRODUCTS}/{NAME.pattern}/releases/{VERSION.pattern}\.json"), MAX_RECORD_SIZE),
    (_ATTACHMENT, max(attachments.LIMITS.values())),
    (re.compile(rf"{PRODUCTS}/{NAME.pattern}/log/[0-9]{{8}}\.json"), attachments.LIMITS[attachments.LOG]),
    (re.compile(rf"{PRODUCTS}/{NAME.pattern}/channels/{NAME.pattern}\.json"), MAX_CHANNEL_BYTES),
    (re.compile(rf"{PRODUCTS}/{NAME.pattern}/certs/{NAME.pattern}\.json"), MAX_RECORD_BYTES),
    (re.compile(rf"{PRODUCTS}/{NAME.pattern}/keys/{VERSION.pattern}\.pub"), MAX_KEY_BYTES),
)
"""The other files of a store, and how many bytes each has at most."""
_PRIVATE = (TOKENS, TRUSTS, SECRETS_FILE)
_HINT = "use another backup: from this one nothing was restored"

Manifest = dict[str, tuple[int, str]]
"""Size and SHA-256 by name."""


def backup(store: Store, path: Path) -> None:
    """Write a snapshot of the store to the new file `path`; raises InputError when it exists, CorruptStoreError."""
    files.refuse_existing(path, "give the backup a new name")
    with locked(store.directory):
        small, blobs = _snapshot(store, path.parent)
    manifest: Manifest = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in small.items()}
    for digest in blobs:
        manifest[blob_name(digest)] = (len(store.read_blob(digest)), digest)
    with _new_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        late = TRUSTS in manifest or any(map(_ATTACHMENT.fullmatch, manifest))
        written = FORMAT if late else 2 if SECRETS_FILE in manifest else 1
        _add(tar, MANIFEST, json.dumps({"format": written, "files": manifest}, separators=(",", ":")).encode())
        for name, data in small.items():
            _add(tar, name, data)
        for digest in blobs:
            _add(tar, blob_name(digest), store.read_blob(digest))


def restore(path: Path, directory: Path) -> Store:
    """Make the store of the backup `path` in `directory`, which is missing or empty, and return it.

    Raises InputError for a backup that is damaged, cut short or not one, and LaterFormatError, before `directory` is
    touched.
    """
    with new_directory(directory) as copy:
        if not path.is_file():
            raise NotFoundError(f"there is no backup '{path}'", "otaseal store backup makes one")
        copy.mkdir(PRIVATE_DIRECTORY_MODE)
        _unpack(path, copy)
    return Store.open(directory)


def _snapshot(store: Store, folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the content of all that can change, by name, and the blobs needed; for who holds the lock.

    The secrets, which are written without that lock, are copied into `folder` for a moment.
    """
    contents = survey(store, store.documents)
    contents.require_whole()
    names = [MARKER, AUDIT, TOKENS, TRUSTS, *sorted(contents.files)]
    paths = {name: path for name in names if (path := store.directory / name).is_file()}
    small = {name: files.read_bounded(path, MAX_SMALL_BYTES, "file of the store") for name, path in paths.items()}
    if (secrets := store.directory / SECRETS_FILE).is_file():
        small[SECRETS_FILE] = _secrets(secrets, folder)
    return small, sorted(contents.blobs)


def _secrets(path: Path, folder: Path) -> bytes:
    """Return a copy of the secrets' file as it is between two changes."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix=f".{SECRETS_FILE}.", suffix=".tmp", dir=folder)
    except OSError as error:
        raise SystemFaultError(f"'{folder}' cannot be written: {error.strerror}", "check the disk's space") from error
    with temporary as name, Secrets(path) as secrets:
        secrets.copy_to(copy := Path(name) / SECRETS_FILE)
        return files.read_bounded(copy, MAX_SMALL_BYTES, "copy of the secrets")


def _unpack(path: Path, directory: Path) -> None:
    """Write the backup's files into the new `directory` and check them there; raises InputError."""
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = _manifest(_member(tar, MANIFEST, MAX_MANIFEST_BYTES))
            declared, size = sum(tarfile.BLOCKSIZE + size for size, _ in manifest.values()), path.stat().st_size
            if declared > size:  # nothing is written for it
                raise InputError(f"the backup '{path}' has {size} bytes, and its files would have {declared}", _HINT)
            for name, (size, digest) in manifest.items():
                data = _member(tar, name, size)
                if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
                    raise InputError(f"'{name}' in the backup '{path}' is damaged", _HINT)
                files.write_new(directory / name, data, files.PRIVATE_MODE if name in _PRIVATE else files.PUBLIC_MODE)
            if tar.next() is not None:
                raise InputError(f"the backup '{path}' has more files than it says", _HINT)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"'{path}' is not a complete backup: {error}", _HINT) from error
    for folder in (BLOBS, PRODUCTS):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for folder_path, _, _ in os.walk(directory):
        files.sync_directory(Path(folder_path))
    try:
        report = check(Store.open(directory))
    except LaterFormatError as error:
        raise LaterFormatError(f"the store in the backup '{path}'") from error
    if report.later:
        raise LaterFormatError(f"the store in the backup '{path}'")
    if report.problems or report.orphans:
        raise InputError(f"the backup '{path}' is not whole: {(*report.problems, *report.orphans)[0]}", _HINT)


def _member(tar: tarfile.TarFile, name: str, limit: int) -> bytes:
    """Return the next file in the tar, which is `name`, of at most `limit` bytes; raises InputError."""
    member = tar.next()
    # A sparse file is a few bytes here, and could be any number of them on the disk.
    plain = member is not None and member.isreg() and not member.issparse()
    if member is None or not plain or member.name != name or member.size > limit:
        actual = "nothing" if member is None else f"'{member.name}'"
        raise InputError(f"the backup has {actual} where '{name}' has to be", _HINT)
    file = tar.extractfile(member)
    assert file is not None  # a regular file
    return file.read()


def _manifest(data: bytes) -> Manifest:
    """Return the manifest, of names that a store has and nothing else; raises InputError."""
    try:
        value = json.loads(data)
        refuse_later(value["format"], FORMAT, "the backup")
        if value["format"] not in range(1, FORMAT + 1):
            raise ValueError("no format of a backup")
        entries = {name: (size, digest) for name, (size, digest) in value["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError("the backup's manifest is damaged", _HINT) from error
    for name, (size, digest) in entries.items():
        blob = _BLOB.fullmatch(name)
        others = (most for pattern, most in _OTHER if pattern.fullmatch(name))
        limit = MAX_BLOB_BYTES if blob else next(others, 0)
        known = blob[2] == digest if blob else limit > 0
        if not known or type(size) is not int or not 0 <= size <= limit:
            raise InputError(f"'{name}' in the backup is not a file of a store", _HINT)
    return entries


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner 0, time 0: nothing of the machine or the moment
    member.size = len(data)
    member.mode = files.PRIVATE_MODE if name == SECRETS_FILE else files.PUBLIC_MODE  # as a person may unpack it
    tar.addfile(member, BytesIO(data))


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file that becomes `path` when all went well; raises InputError, SystemFaultError."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            os.link(name, path)  # unlike a rename, this replaces nothing
            files.sync_directory(path.parent)
        finally:
            Path(name).unlink()
    except FileExistsError as error:  # meanwhile
        raise InputError(f"'{path}' exists already", "give the backup a new name") from error
    except OSError as error:
        raise SystemFaultError(f"'{path}' cannot be written: {error.strerror}", "check the disk's space") from error
