"""Copies a whole store, which may be in use, into an empty one: between a directory and a database, either way.

What can change is read at once, while nobody else writes; blobs never change, and are hashed one by one on their way.
A copy is there whole or not at all: a directory gets its name, and a database its rows, when everything is in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from ..errors import CorruptStoreError, InputError, SystemFaultError
from ..names import is_database
from ..release.notes import Notes
from . import backup as store_backup
from .backend import Backend, FileBackend, Held, open_backend, open_new
from .check import check, survey
from .claims import Claim
from .device_rows import Device
from .documents import MAX_SMALL_BYTES, TOKENS, TRUSTS
from .enrolments import Request
from .history import HISTORY_COLUMNS
from .labels import Label
from .proof_key_rows import ProofKey, WaitingKey
from .rollout_rows import ROLLOUT_COLUMNS
from .sql import Transaction
from .staging import new_directory
from .statements import STATEMENT_COLUMNS
from .tag_rules import TagRule

Columns = Mapping[str, Sequence[str]]
SECRETS: Columns = {
    "keys": ("product", "device", *ProofKey._fields),
    "closed": ("since",),
    "waiting_keys": ("product", "device", *WaitingKey._fields),
    "claims": ("sha256", *Claim._fields),
    "requests": ("product", *Request._fields),
    "labels": ("product", "device", *Label._fields),
    "release_notes": ("product", "version", *Notes._fields),
    "support": ("product", "ends"),
    "token_uses": ("id", "used"),
    "tag_rules": ("product", *TagRule._fields),
}
DEVICES: Columns = {
    "devices": Device._fields,
    "rollouts": ROLLOUT_COLUMNS,
    "statements": STATEMENT_COLUMNS,
    "history": HISTORY_COLUMNS,
}
"""The columns of each table."""

Rows = dict[str, frozenset[tuple[Any, ...]]]
"""The rows of each table."""


class _Snapshot(NamedTuple):
    """All of a store but the bytes of its blobs."""

    documents: dict[str, bytes]
    audit: list[dict[str, Any]]
    blobs: list[str]
    secrets: Rows
    devices: Rows


class Copied(NamedTuple):
    """How much was copied."""

    documents: int
    blobs: int
    size: int
    """Of the blobs, in bytes."""
    audit_lines: int
    secrets: int
    devices: int


def copy(source: Backend, location: str) -> Copied:
    """Copy a store to a location where there is none, or an empty one, and compare both.

    Raises InputError where it is not empty, CorruptStoreError, LaterFormatError, SystemFaultError.
    """
    if is_database(location):
        with open_backend(location, create=True) as target:  # which may have the tables of a copy that was broken off
            return _fill(source, target, location)
    with new_directory(Path(location)) as directory, open_new(str(directory)) as target:
        return _fill(source, target, location)


def backup(location: str, path: Path) -> None:
    """Write a snapshot of the store at a location to the new file `path`; raises as `store.backup.backup`."""
    files.refuse_existing(path, "give the backup a new name")
    with open_backend(location) as backend:
        if isinstance(backend, FileBackend):
            store_backup.backup(backend.store, path)
            return
        with _temporary(path.parent) as directory:
            copy(backend, str(directory))
            store_backup.backup(open_backend(str(directory)).store, path)


def restore(path: Path, location: str) -> None:
    """Make the store of the backup `path` at a location; raises as `store.backup.restore`, and as `copy`."""
    if not is_database(location):
        store_backup.restore(path, Path(location))
        return
    with _temporary(path.parent) as directory:
        store_backup.restore(path, directory)
        with open_backend(str(directory)) as backend:
            copy(backend, location)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Yield a path for a store that is needed for a moment: a disk with room for the backup has room for it."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".otaseal-", suffix=".tmp", dir=folder)
    except OSError as error:
        raise SystemFaultError(f"'{folder}' cannot be written: {error.strerror}", "check the disk's space") from error
    with temporary as name:
        yield Path(name) / "store"


def _fill(source: Backend, target: Backend, location: str) -> Copied:
    with source.hold() as held:
        found = _read(source, held)
    size = 0
    with target.hold() as held:
        if any(map(len, _flat(_read(target, held)))):
            raise InputError(f"the store '{location}' is not empty", "name a new directory or a new database")
        for digest in found.blobs:
            data = source.store.read_blob(digest)
            held.change.put_blob(digest, data)
            size += len(data)
        for name, data in found.documents.items():
            held.change.replace(name, data)
        held.change.append(*found.audit)
        _write(held.secrets, SECRETS, found.secrets)
        _write(held.devices, DEVICES, found.devices)
    with target.hold() as held:
        same = _read(target, held) == found
    if not same or not check(target.store).whole:
        raise CorruptStoreError(f"'{location}' is not what was copied into it", "remove it, and copy once more")
    secrets = sum(map(len, found.secrets.values()))
    return Copied(
        len(found.documents), len(found.blobs), size, len(found.audit), secrets, len(found.devices["devices"])
    )


def _read(backend: Backend, held: Held) -> _Snapshot:
    contents = survey(backend.store, held.change)
    contents.require_whole()
    names = (TOKENS, TRUSTS, *sorted(contents.files))
    documents = {name: held.change.read(name, name, MAX_SMALL_BYTES) for name in names}
    return _Snapshot(
        {name: data for name, data in documents.items() if data is not None},
        [line for _, line in held.change.audit_lines() if line is not None],
        sorted(contents.blobs),
        _rows(held.secrets, SECRETS),
        _rows(held.devices, DEVICES),
    )


def _flat(found: _Snapshot) -> Iterator[Any]:
    yield from found[:3]
    yield from (*found.secrets.values(), *found.devices.values())


def _rows(transaction: Transaction, tables: Columns) -> Rows:
    selects = {table: f"SELECT {', '.join(columns)} FROM {table}" for table, columns in tables.items()}  # noqa: S608
    return {table: frozenset(map(tuple, transaction.execute(select).fetchall())) for table, select in selects.items()}


def _write(transaction: Transaction, tables: Columns, rows: Rows) -> None:
    for table, columns in tables.items():
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - our own names
        transaction.executemany(statement, rows[table])
