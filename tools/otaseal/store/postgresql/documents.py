"""The documents of a store in PostgreSQL, all of them in memory; blobs and the audit log are read where they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from ...errors import ConflictError, CorruptStoreError, SystemFaultError
from ..audit_log import line_of
from ..documents import RECORD_HINT, Lines, blob_name
from .database import Database, Transaction
from .follower import LEASE_SECONDS, Follower, Kind

KIND = "document"
POLL_SECONDS = 0.02
MAX_NUMBER = 2**63 - 1
LINES_AT_ONCE = 1000
_PUT = """INSERT INTO documents (name, data, written) VALUES (?, ?, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET data = excluded.data, written = excluded.written"""
_OUT_OF_TOUCH = "SELECT name FROM servers WHERE name <> ? AND at < clock_timestamp() - ? * interval '1 second'"
_BEHIND = """SELECT count(*) FROM servers
    WHERE seen < ? AND at >= clock_timestamp() - ? * interval '1 second'"""


class _Rows:
    """What both read from the database itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_blob(self, digest: str) -> bytes | None:
        """Return the bytes of a blob; see `Reader`."""
        blob_name(digest)
        rows = self._database.query("SELECT data FROM blobs WHERE sha256 = ?", (digest,))
        return rows[0][0] if rows else None

    def blobs(self) -> dict[str, int]:
        """Return the sizes of the blobs; see `Reader`."""
        return dict(self._database.query("SELECT sha256, length(data) FROM blobs ORDER BY sha256"))

    def modified(self, name: str) -> float:
        """Return when a document was written; see `Reader`."""
        rows = self._database.query("SELECT extract(epoch FROM written) FROM documents WHERE name = ?", (name,))
        return float(rows[0][0]) if rows else 0.0

    def audit_lines(self) -> Lines:
        """Yield the lines of the audit log; see `Reader`."""
        rows = self._database.query("SELECT line FROM audit ORDER BY number")
        yield from ((number, json.loads(line)) for number, (line,) in enumerate(rows, 1))

    def place(self, name: str) -> str:
        """Return the name of a document, by which it stands in the table."""
        return name

    def present(self) -> set[str]:
        """Return the names of all documents and blobs; see `Reader`."""
        names = {name for (name,) in self._database.query("SELECT name FROM documents WHERE name LIKE 'products/%'")}
        return names | {blob_name(digest) for digest in self.blobs()}


class _Change(_Rows):
    """One transaction of the only writer."""

    def __init__(self, database: Database, transaction: Transaction) -> None:
        super().__init__(database)
        self.transaction = transaction
        self.written: dict[str, bytes | None] = {}

    def read(self, name: str, what: str, limit: int) -> bytes | None:
        rows = self._database.query("SELECT data FROM documents WHERE name = ?", (name,))
        return _bounded(rows[0][0] if rows else None, what, limit)

    def names(self, folder: str) -> list[str]:
        rows = self._database.query(
            "SELECT DISTINCT split_part(substr(name, length(?) + 2), '/', 1) FROM documents WHERE starts_with(name, ?)",
            (folder, f"{folder}/"),
        )
        return sorted(name for (name,) in rows)

    def put_new(self, name: str, data: bytes) -> None:
        if self.read(name, name, len(data)) is None:
            self.replace(name, data)

    def replace(self, name: str, data: bytes) -> None:
        self.transaction.execute(_PUT, (name, data))
        self._note(name, data)

    def remove(self, name: str) -> None:
        self.transaction.execute("DELETE FROM documents WHERE name = ?", (name,))
        self._note(name, None)

    def put_blob(self, digest: str, data: bytes) -> None:
        put = "INSERT INTO blobs VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING"
        if not self.transaction.execute(put, (digest, data)).rowcount:
            kept = self.read_blob(digest) or b""
            if hashlib.sha256(kept).hexdigest() != digest:
                self.transaction.execute("UPDATE blobs SET data = ? WHERE sha256 = ?", (data, digest))

    def remove_blob(self, digest: str) -> None:
        self.transaction.execute("DELETE FROM blobs WHERE sha256 = ?", (digest,))

    def append(self, *events: dict[str, object]) -> None:
        self.transaction.executemany("INSERT INTO audit (line) VALUES (?)", [(line_of(event),) for event in events])
        self.transaction.changed(KIND)

    def _note(self, name: str, data: bytes | None) -> None:
        self.transaction.changed(KIND, name)
        self.written[name] = data


class PostgresDocuments(_Rows):
    """The documents in a database; `load` them first, and let a `follower` keep them fresh in a server."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.database = database
        self.follower: Follower | None = None
        self._data: dict[str, bytes] = {}
        self._folders: dict[str, set[str]] = {}
        self._stamps: dict[str, int] = {}
        self._taking = threading.Lock()
        self.warm: Callable[[], None] = lambda: None
        """Is called after every change, before other servers are told that it is known here."""
        self._changes = self._last = 0

    def follow(self, follower: Follower) -> None:
        """Keep what is in memory as fresh as `follower` does."""
        self.follower = follower
        follower.on(KIND, Kind(self._reload, self._follow, own=True))

    def _reload(self) -> None:
        self.load()
        self.warm()

    def _follow(self, names: Iterable[str]) -> None:
        self._apply(names)
        self.warm()  # what is acknowledged can be given out from memory

    def load(self) -> None:
        """Read all documents; raises SystemFaultError."""
        with self._taking:
            rows = dict(self._database.query("SELECT name, data FROM documents"))
            self._take(dict.fromkeys(self._data.keys() - rows.keys()) | rows)
            self._changes += 1

    def read(self, name: str, what: str, limit: int) -> bytes | None:
        """Return a document from memory; see `Reader`."""
        return _bounded(self._data.get(name), what, limit)

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder; see `Reader`."""
        return sorted(self._folders.get(folder, ()))

    def stamp(self, name: str) -> int | None:
        """Return the number of the change after which a document, or a folder, is as it is; see `Documents`."""
        return self._stamps.get(name)

    def is_settled(self, stamp: object) -> bool:
        """Return True: every change has a number of its own."""
        return stamp is not None

    def audit_back(self, before: int | None = None) -> Lines:
        """Yield the lines from the last; see `Documents`."""
        statement = "SELECT number, line FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?"
        before = MAX_NUMBER if before is None else min(before, MAX_NUMBER)
        while rows := self._database.query(statement, (before, LINES_AT_ONCE)):
            for before, line in rows:
                yield before, json.loads(line)

    def last_change(self) -> int:
        """Return the number of the last change that is known here; see `Documents`."""
        return self._changes

    def unwritable(self) -> str:
        """Return why the database is not seen; see `Documents`."""
        return "" if self.follower is None else self.follower.fault

    def is_current(self) -> bool:
        """Return whether what others changed is known here; see `Documents`."""
        return self.follower is None or self.follower.in_touch()

    def check_secrets(self) -> None:
        """Do nothing: the database checks its pages whenever it reads them."""

    def sweep(self) -> None:
        """Do nothing: a killed writer leaves nothing."""

    @contextlib.contextmanager
    def change(self) -> Iterator[_Change]:
        """Be the only one who writes, for one transaction; see `Documents`."""
        try:
            with self._database.transaction() as transaction:
                change = _Change(self._database, transaction)
                yield change
        except ConflictError:  # somebody else has changed what is in memory here
            self.load()
            raise
        self._last = max(self._last, transaction.number)
        with contextlib.suppress(SystemFaultError):  # it is done, and the follower will see it
            self._apply(change.written)

    def await_readers(self) -> tuple[str, ...]:
        """Wait until every server that is in touch knows what was changed here; see `Documents`."""
        mine, last = self._database.server, self._last
        while self._database.query(_BEHIND, (last, LEASE_SECONDS)) != [(0,)]:
            time.sleep(POLL_SECONDS)
        return tuple(name for (name,) in self._database.query(_OUT_OF_TOUCH, (mine, LEASE_SECONDS)))

    def _apply(self, names: Iterable[str]) -> None:
        wanted = list(names)
        with self._taking:  # what is read first must not be taken after what is newer
            rows = dict(self._database.query("SELECT name, data FROM documents WHERE name = ANY(?)", (wanted,)))
            self._take({name: rows.get(name) for name in wanted})
            self._changes += 1

    def _take(self, changed: Mapping[str, bytes | None]) -> None:
        for name, data in changed.items():
            if self._data.get(name) == data:
                continue
            self._changes += 1
            if data is None:
                self._data.pop(name, None)
            else:
                self._data[name] = data
            self._index(name, exists=data is not None)

    def _index(self, name: str, *, exists: bool) -> None:
        while name:
            self._stamps[name] = self._changes
            folder, _, child = name.rpartition("/")
            children = self._folders.setdefault(folder, set())
            exists = exists or bool(self._folders.get(name))
            (children.add if exists else children.discard)(child)
            name = folder


def _bounded(data: bytes | None, what: str, limit: int) -> bytes | None:
    if data is not None and len(data) > limit:
        raise CorruptStoreError(f"{what} is larger than {limit} bytes", RECORD_HINT)
    return data
