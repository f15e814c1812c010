"""The table of devices in one SQLite file beside the store.

Commits are not flushed one by one (WAL, synchronous=NORMAL: a power cut may forget the last seconds and damages
nothing). Which file it is may change: `device_file` moves it into memory while the store's cannot be used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..directories import locked
from ..errors import SystemFaultError
from ..formats import refuse_later
from . import history, statements
from .device_rows import Device
from .device_table import MAX_DEVICES, DeviceTable, Flash
from .rollout_rows import ROLLOUTS
from .row_changes import pace
from .sql import Transaction, Values

if TYPE_CHECKING:
    from .device_file import DeviceFile

BUSY_TIMEOUT = 5.0
"""Seconds to wait while another process writes."""
MAX_JOURNAL_BYTES = 16 * 1024 * 1024
SCHEMA = 2
DAMAGED_HINT = "move the file away: it only says which devices were seen, and is made anew"


class DamagedFileError(SystemFaultError):
    """The file is not a list of devices, or one that is damaged."""


TOUCH = f"""INSERT INTO devices (product, device, last_seen, sequence)
    SELECT devices.product, devices.device, json_extract(value, '$[2]'), json_extract(value, '$[3]')
    FROM json_each(?) JOIN devices ON devices.product = json_extract(value, '$[0]')
    AND devices.device = json_extract(value, '$[1]') WHERE true
    ON CONFLICT DO UPDATE SET last_seen = excluded.last_seen, sequence = excluded.sequence, {pace("excluded")}"""  # noqa: S608 - our own words
ADDED = {
    **{"counter": "counter", "error": "error", "certs": "certs DEFAULT ''", "address": "address DEFAULT ''"},
    **{"elsewhere": "elsewhere", "elsewhere_deliveries": "elsewhere_deliveries DEFAULT 0"},
    **{"elsewhere_at": "elsewhere_at", "other_mac": "other_mac"},
    **{"enrolled": "enrolled", "sequence": "sequence"},
    **{
        "board": "board DEFAULT ''",
        "chip": "chip DEFAULT ''",
        "free_space": "free_space",
        "sketch_size": "sketch_size",
    },
    **{"chip_size": "chip_size", "sdk": "sdk DEFAULT ''", "answered": "answered DEFAULT ''"},
    **{"events": "events DEFAULT 0", "pace": "pace"},
}
"""Columns that earlier versions did not have. Those of schema 2 name theirs, and leave others as they are."""
_COLUMNS = ", ".join(ADDED.get(name, name) for name in Device._fields)
TABLES = (
    f"CREATE TABLE IF NOT EXISTS devices ({_COLUMNS}, PRIMARY KEY (product, device)) WITHOUT ROWID",
    "DROP INDEX IF EXISTS by_age",
    "CREATE INDEX IF NOT EXISTS by_silence ON devices (last_seen)",
    "CREATE INDEX IF NOT EXISTS by_channel ON devices (product, channel, last_seen)",
    ROLLOUTS,
    *statements.TABLES,
    *history.TABLES,
)


INDEXES = (
    f"CREATE INDEX IF NOT EXISTS by_kind ON devices (product, {', '.join(Flash._fields)})",
    "CREATE INDEX IF NOT EXISTS by_answer ON devices (product, answered, channel)",
)
"""Of columns some of which are added: no poll that only repeats changes one of them."""


class Devices(DeviceTable):
    """The devices in one file; use in a `with` statement, or `close` it. Safe in threads."""

    def __init__(self, file: Path | DeviceFile, limit: int = MAX_DEVICES, timeout: float = BUSY_TIMEOUT) -> None:
        """Open the file, making it if it is missing; a call waits for `timeout` seconds at most while others write.

        Raises DamagedFileError when it is none of ours, LaterFormatError, SystemFaultError when it cannot be used.
        """
        super().__init__()
        self.limit = limit
        self._timeout = timeout
        self._file = None if isinstance(file, Path) else file
        self._generation = 0 if self._file is None else self._file.generation
        self.path = file if isinstance(file, Path) else file.path(self._generation)
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        # SQLite waits for nobody where it makes a journal or takes it away.
        with locked(self.path.parent), self._faults():
            self._database = sqlite3.connect(
                self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(SystemFaultError):  # where nobody can lock, nobody can write either
                stack.enter_context(locked(self.path.parent))
            stack.enter_context(self._lock)
            self._database.close()

    def _prepare(self) -> None:
        """Make the tables of an empty file; two processes may do so at once."""
        self._database.create_function("sha256", 1, _sha256, deterministic=True)
        self._check_schema()  # before anything is written into what is not ours
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL_BYTES}")
        self._database.execute("BEGIN IMMEDIATE")
        self._check_schema()
        for statement in TABLES:
            self._database.execute(statement)
        there = {row[1] for row in self._database.execute("PRAGMA table_info(devices)")}
        for column in ADDED.keys() - there:
            self._database.execute(f"ALTER TABLE devices ADD COLUMN {ADDED[column]}")
        for statement in INDEXES:
            self._database.execute(statement)
        self._database.execute(f"PRAGMA user_version = {SCHEMA}")
        self._database.execute("COMMIT")

    def _check_schema(self) -> int:
        """Return the schema, 0 for an empty file; raises LaterFormatError, DamagedFileError."""
        (schema,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        refuse_later(schema, SCHEMA, f"the list of devices '{self.path}'")
        if schema < 0 or (not schema and tables):
            raise DamagedFileError(f"'{self.path}' is not a list of devices", DAMAGED_HINT)
        return int(schema)

    def check(self) -> None:
        """Read every page of the file; raises DamagedFileError."""
        ((result,),) = self.query("PRAGMA quick_check(1)")
        if result != "ok":
            raise DamagedFileError(f"the devices in '{self.path}' are damaged: {result}", DAMAGED_HINT)

    def query(self, statement: str, values: Values = ()) -> Sequence[Any]:
        """See `DeviceTable.query`."""
        with self._current_file():
            return self._database.execute(statement, values).fetchall()

    def touch(self, transaction: Transaction, touched: Sequence[tuple[str, str, float, int | None]]) -> None:
        """See `DeviceTable.touch`: in one statement, for each would take Python's lock from the requests as often."""
        transaction.execute(TOUCH, (json.dumps(touched),))

    def _evicted(self, statement: str, labelled: str, count: int) -> int:
        return self._database.execute(statement, (labelled, count)).rowcount

    @contextlib.contextmanager
    def _current_file(self) -> Iterator[None]:
        """Lock the connection, reopened where another file is in use by now."""
        with self._lock:
            if self._file is not None and self._file.generation != self._generation:
                self._database.close()
                self._generation = self._file.generation
                self.path, self.room = self._file.path(self._generation), 0
                self.losses += 1
                try:
                    self._open()
                except SystemFaultError:
                    self._generation = -1  # to be tried again
                    raise
            with self._faults():
                yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `DeviceTable.transaction`."""
        with self._current_file():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                self.room = 0
                with contextlib.suppress(sqlite3.Error):  # SQLite has ended it already where the disk refused
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            message = f"the devices in '{self.path}' cannot be used: {error}"
            # Python 3.10 has no numbers for it. What is not operational is a file that is damaged, or is none.
            busy = isinstance(error, sqlite3.ProgrammingError) or "locked" in str(error)
            if self._file is not None and not busy:
                self._file.move_to_memory(self._generation, message)
            if type(error) is sqlite3.DatabaseError:
                raise DamagedFileError(message, DAMAGED_HINT) from error
            raise SystemFaultError(message, "check the disk's space and the permissions") from error


def _sha256(text: str) -> bytes:
    """Return what PostgreSQL has built in."""
    return hashlib.sha256(text.encode()).digest()
