"""The secrets of a store in one SQLite file beside it, `secrets.sqlite`: what devices prove themselves with, and ask
for certificates; and what operators say of devices.

Promises, not telemetry: every commit is on the disk before it is acknowledged, backups have the file, `check` reads it,
and a damaged one is nobody's to make anew. It is the owner's alone (mode 0600), and made with the first secret: a store
without it is whole. It has no journal beside it that a copy could miss but while something is being written. What is in
the tables is known to the modules that TABLES names.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import CorruptStoreError, SystemFaultError
from ..formats import refuse_later
from . import claims, enrolments, labels, proof_key_rows, release_notes, token_uses
from .sql import Values

SECRETS_FILE = "secrets.sqlite"
"""Where it is in a store's directory."""
SCHEMA = 1
BUSY_TIMEOUT = 5.0
"""Seconds to wait while another process writes."""
TABLES: Mapping[str, str] = {
    **proof_key_rows.TABLES,
    **claims.TABLES,
    **enrolments.TABLES,
    **labels.TABLES,
    **release_notes.TABLES,
    **token_uses.TABLES,
}
"""By its name, the statement that makes each table. Tables and columns may be added without a new schema."""
_HINT = "restore the store from a backup; or move the file away, and devices have to prove themselves anew"


class Secrets:
    """The file at `path`, opened when it is used first; use in a `with` statement, or `close` it. Safe in threads."""

    def __init__(self, path: Path, timeout: float = BUSY_TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Secrets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def query(self, statement: str, values: Values = ()) -> list[Any]:
        """Return the rows that a SELECT finds, none where there is no file.

        Raises LaterFormatError, CorruptStoreError, SystemFaultError when it cannot be read.
        """
        with self._lock, self._faults():
            if self._database is None and not self.path.exists():
                return []
            return self._open().execute(statement, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make one durable change of what is executed within, and the file if there is none; when one raises, none.

        Raises as `query`.
        """
        with self._lock, self._faults():
            if self._database is None:
                self._make_file()
            database = self._open()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite has ended it already where the disk refused
                    database.execute("ROLLBACK")
                raise

    def check(self) -> None:
        """Read every page of the file, if there is one; raises as `query`."""
        for (result,) in self.query("PRAGMA quick_check(1)"):
            if result != "ok":
                raise CorruptStoreError(f"the secrets in '{self.path}' are damaged: {result}", _HINT)

    def copy_to(self, path: Path) -> None:
        """Write a copy of the file, which may be in use, to the new file `path`; raises as `query`."""
        with self._lock, self._faults(f"copied to '{path.parent}'"):
            _make_private(path)
            with contextlib.closing(sqlite3.connect(path)) as copy:
                self._open().backup(copy)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Add the tables that the file does not have; raises LaterFormatError, CorruptStoreError."""
        database.execute("PRAGMA synchronous = EXTRA")  # FULL, and the directory when the journal goes
        there = self._tables(database)
        if TABLES.keys() <= there:
            return
        database.execute("BEGIN IMMEDIATE")
        self._tables(database)
        for statement in TABLES.values():
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {SCHEMA}")
        database.execute("COMMIT")

    def _tables(self, database: sqlite3.Connection) -> set[str]:
        """Return the names of the tables there are, of a file that is ours."""
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        refuse_later(schema, SCHEMA, f"the secrets' file '{self.path}'")
        if schema < 0 or (not schema and tables):
            raise CorruptStoreError(f"'{self.path}' is not a file of secrets", _HINT)
        return tables

    def _make_file(self) -> None:
        with contextlib.suppress(FileExistsError):
            _make_private(self.path)

    @contextlib.contextmanager
    def _faults(self, what: str = "used") -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            message = f"the secrets in '{self.path}' cannot be {what}: {error}"
            if type(error) is sqlite3.DatabaseError:
                raise CorruptStoreError(message, _HINT) from error
            raise SystemFaultError(message, "check the disk's space and the permissions") from error
        except OSError as error:
            raise SystemFaultError(
                f"'{self.path}' cannot be made: {error.strerror}", "check the disk's space and the permissions"
            ) from error


def _make_private(path: Path) -> None:
    """Make an empty file that nobody else can read; raises OSError. What SQLite writes beside it has its mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, files.PRIVATE_MODE)
    try:
        files.give_to_owner(descriptor, path.parent)
    finally:
        os.close(descriptor)
    files.sync_directory(path.parent)
