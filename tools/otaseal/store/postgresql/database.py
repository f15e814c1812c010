"""One PostgreSQL database: a pool of connections, transactions that tell the other servers, and its faults in words.

Statements are those that SQLite takes, with `?` and `:name` for values. Writers go one after the other, so that the
numbers of `changes` are in the order of the commits: who has read one has read all before it. A durable transaction
waits for the synchronous standby, if there is one; telemetry waits for no disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo, errors
from psycopg_pool import ConnectionPool, PoolTimeout

from ... import addresses
from ...errors import ConfigError, CorruptStoreError, InputError, LaterFormatError, NotFoundError, SystemFaultError
from ..sql import Values
from . import schema

CONNECT_SECONDS = 3
POOL_SECONDS = 5.0
COMMIT_SECONDS = 8.0
"""How long a transaction may take: one that waits for the standby is over for no timeout of PostgreSQL's own."""
DEADLINE_SECONDS = 15.0
MAX_CONNECTIONS = 8
"""Of one server: threads that read and write; no request of a device waits for one."""
WRITERS = 0x6F7461
"""The advisory lock of all who write: "ota"."""
TURN = WRITERS + 1
"""The advisory lock of who judges."""
LEAD = WRITERS + 2
"""The advisory lock of who tells others."""
CHANNEL = "otaseal"
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_UNFLUSHED = "set_config('synchronous_commit', 'off', true)"
_TELL = f"""WITH told AS (INSERT INTO changes (server, kind, names) VALUES (?, ?, ?) RETURNING number)
    SELECT number, pg_notify('{CHANNEL}', '') FROM told"""  # noqa: S608 - our own name
_DUE = "UPDATE judged SET at = now() WHERE at < now() - %s * interval '1 second'"
_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "2",
}
_CLIENT = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 2,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
    "application_name": "otaseal",
}
logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what fails is told by who asked
_PLACE = re.compile(r"\?|(?<!:):([a-z_]\w*)|%")
_UNSAFE = "01000"
"""The class of the warning with which PostgreSQL ends to wait for a standby, and commits all the same."""


class Transaction:
    """What is executed in one transaction, and what it changes that other servers keep in memory."""

    def __init__(self, connection: psycopg.Connection[Any], server: str) -> None:
        self._connection = connection
        self._server = server
        self._changed: dict[str, list[str]] = {}
        self.number = 0
        """Of the change in `changes`, once it is written."""

    def execute(self, statement: str, values: Values = ()) -> psycopg.Cursor[Any]:
        """Execute a statement, and return a cursor with its rows."""
        return self._connection.execute(_translated(statement), values)

    def executemany(self, statement: str, rows: Iterable[Values]) -> None:
        """Execute a statement for many rows, in one round trip for all."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(statement), rows)

    def changed(self, kind: str, *names: str) -> None:
        """Tell other servers at the end that what they have in memory of a kind under these names is no longer so."""
        self._changed.setdefault(kind, []).extend(names)

    def finish(self) -> None:
        """Write what changed."""
        for kind, names in self._changed.items():
            row = self.execute(_TELL, (self._server, kind, names)).fetchone()
            assert row is not None
            self.number = row[0]


class Database:
    """The database of a URL for one `server`; use in a `with` statement, or `close` it. Safe in threads."""

    def __init__(self, url: str, server: str = "") -> None:
        """Raises ConfigError for what is no URL of PostgreSQL, or has a password in it."""
        self.name = check_url(url)
        self.server = server
        self._local = threading.local()
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        given = cast(str, conninfo.conninfo_to_dict(url).get("options") or "")
        self.arguments: dict[str, Any] = {**_CLIENT, "autocommit": True, "options": f"{options} {given}".strip()}
        self.url = url
        self._pool = ConnectionPool(
            url, kwargs=self.arguments, min_size=1, max_size=MAX_CONNECTIONS, timeout=POOL_SECONDS, open=False,
            check=_check, reconnect_timeout=10, name="otaseal",
        )  # fmt: skip

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def open(self, *, create: bool = False, upgrade: bool = False) -> None:
        """Connect, and see to it that the schema is one that can be worked with, made or migrated if it is not.

        Raises NotFoundError where there is no store and none is to be made, LaterFormatError, SystemFaultError.
        """
        with self.faults():
            with self._connected() as connection, connection.transaction():
                connection.execute(_LOCK, (WRITERS,))
                self._migrate(connection, create=create, upgrade=upgrade)
            self._pool.open()

    def query(self, statement: str, values: Values = ()) -> list[Any]:
        """Return the rows of a statement, within this thread's transaction if there is one; raises SystemFaultError."""
        current: Transaction | None = getattr(self._local, "transaction", None)
        if current is not None:
            return current.execute(statement, values).fetchall()
        with self.faults(), self._pool.connection() as connection, deadline(connection):
            return connection.execute(_translated(statement), values).fetchall()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        """Make one change of what is executed within, after all other writers; when one raises, none.

        Raises SystemFaultError, also where it is not known whether a `durable` one has reached the standby.
        """
        warnings: list[str] = []
        committing = False
        with self.faults(), self._pool.connection() as connection:
            note = _noting(warnings)
            connection.add_notice_handler(note)
            try:
                with deadline(connection), _ending(connection), connection.transaction():
                    connection.execute(_LOCK if durable else f"{_LOCK}, {_UNFLUSHED}", (WRITERS,))
                    transaction = Transaction(connection, self.server)
                    self._local.transaction = transaction
                    try:
                        yield transaction
                        transaction.finish()
                    finally:
                        self._local.transaction = None
                    committing = True
            except psycopg.OperationalError as error:
                if not (committing and connection.closed):
                    raise
                raise SystemFaultError(
                    f"it is not known whether the database '{self.name}' has the change: {_line(error)}",
                    "otaseal releases tells what there is, when the database answers again",
                ) from error
            finally:
                connection.remove_notice_handler(note)
        if durable and warnings:
            raise SystemFaultError(
                f"the database '{self.name}' has it, and no standby may have: {warnings[0]}",
                "see why the standby does not answer; otaseal releases tells what there is",
            )

    @contextlib.contextmanager
    def turn(self, seconds: float) -> Iterator[bool]:
        """Take a turn that one server has at a time, once in so many seconds; say whether this one has it.

        Nobody holds it any longer: where a server ends in it, its transaction does, too. Raises SystemFaultError.
        """
        with self.faults(), self._pool.connection() as connection, deadline(connection), connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = off")
            (free,) = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (TURN,)).fetchone() or (False,)
            due = free and connection.execute(_DUE, (0.9 * seconds,)).rowcount == 1
            yield due

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection of its own; raises SystemFaultError."""
        with self.faults():
            return self._connected()

    def _connected(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, **self.arguments)

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what goes wrong with the database into SystemFaultError."""
        try:
            yield
        except PoolTimeout as error:
            raise SystemFaultError(
                f"the database '{self.name}' gives no connection", "see whether it runs, and how many it allows"
            ) from error
        except errors.InsufficientPrivilege as error:
            raise SystemFaultError(
                f"the database '{self.name}' refuses: {_line(error)}",
                "give the role rights on its tables; otaseal store upgrade as their owner makes them",
            ) from error
        except errors.DataCorrupted as error:
            raise CorruptStoreError(f"the database '{self.name}' is damaged: {_line(error)}", "restore it") from error
        except psycopg.Error as error:
            raise SystemFaultError(
                f"the database '{self.name}' cannot be used: {_line(error)}", "see whether it runs, and its log"
            ) from error

    def _migrate(self, connection: psycopg.Connection[Any], *, create: bool, upgrade: bool) -> None:
        version = _version(connection, self.name)
        if version == 0 and not create:
            raise NotFoundError(f"there is no release store in '{self.name}'", "otaseal store create makes one")
        if version == 0:
            tables = connection.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
            ).fetchone()
            if tables != (0,):
                raise InputError(f"the database '{self.name}' is not empty", "make one for otaseal alone: createdb")
            connection.execute(schema.MAKE)
            connection.execute("INSERT INTO otaseal_schema VALUES (0, 0)")
        if version < schema.READABLE_BY and not (upgrade or version == 0):
            raise SystemFaultError(
                f"the store in '{self.name}' has the older schema {version}",
                "stop servers of the otaseal before, then otaseal store upgrade",
            )
        for migration in schema.MIGRATIONS[version:]:
            connection.execute(migration)
        if version < len(schema.MIGRATIONS):
            connection.execute(
                "UPDATE otaseal_schema SET version = %s, readable_by = %s",
                (len(schema.MIGRATIONS), schema.READABLE_BY),
            )


def check_url(url: str) -> str:
    """Return how messages name the database of a URL, without what need not be seen; raises ConfigError."""
    hint = "write postgresql://user@host/database"
    try:
        given = conninfo.conninfo_to_dict(url)
        for host in str(given.get("host") or "").split(","):
            if not host.startswith("/"):  # that of a socket
                addresses.check_host(host)
    except (psycopg.Error, ValueError) as error:
        raise ConfigError("this is no address of a PostgreSQL database", hint) from error
    if given.get("password"):
        raise ConfigError(
            "the address of the database has a password in it, which everybody on this machine can see",
            "leave it out, and put it into ~/.pgpass or the environment's PGPASSWORD",
        )
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _version(connection: psycopg.Connection[Any], name: str) -> int:
    """Return the schema's version, 0 where there is none; raises LaterFormatError."""
    if connection.execute(schema.EXISTS).fetchone() != (True,):
        return 0
    row = connection.execute("SELECT version, readable_by FROM otaseal_schema").fetchone()
    if row is None:
        raise CorruptStoreError(f"the database '{name}' does not say its schema", "restore it from a backup")
    version, readable_by = row
    if readable_by > len(schema.MIGRATIONS):
        raise LaterFormatError(f"the store in '{name}'")
    return int(version)


def _noting(warnings: list[str]) -> Any:
    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate == _UNSAFE and diagnostic.severity_nonlocalized == "WARNING":
            warnings.append((diagnostic.message_primary or "").partition("\n")[0])

    return note


def _check(connection: psycopg.Connection[Any]) -> None:
    with deadline(connection, CONNECT_SECONDS):
        ConnectionPool.check_connection(connection)


@contextlib.contextmanager
def deadline(connection: psycopg.Connection[Any], seconds: float | None = None) -> Iterator[None]:
    """Cut a connection where what is done within takes longer: a server that hangs keeps it open for ever."""
    descriptor = os.dup(connection.fileno())  # psycopg may close its own at any moment
    with (
        socket.socket(fileno=descriptor) as line,
        _timer(seconds or DEADLINE_SECONDS, lambda: line.shutdown(socket.SHUT_RDWR)),
    ):
        yield


@contextlib.contextmanager
def _ending(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """End what takes too long; of a commit that waits for a standby PostgreSQL then says that it may be lost.

    What was ended may have been over just then, and the next statement must not be ended instead: a connection that
    was meant goes back to the pool closed.
    """

    def end() -> None:
        ended.append(True)
        connection.cancel_safe(timeout=CONNECT_SECONDS)

    ended: list[bool] = []
    try:
        with _timer(COMMIT_SECONDS, end):
            yield
    finally:
        if ended:
            connection.close()


@contextlib.contextmanager
def _timer(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    def act() -> None:
        with contextlib.suppress(OSError, psycopg.Error):
            action()

    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error) or type(error).__name__).strip().partition("\n")[0]


@lru_cache(256)
def _translated(statement: str) -> str:
    """Return a statement with the places for values as psycopg wants them."""
    statement = re.sub(r"json_each\((\?|:\w+)\)", r"jsonb_array_elements_text(\1::jsonb)", statement)

    def place(found: re.Match[str]) -> str:
        if found[0] == "%":
            return "%%"
        return "%s" if found[1] is None else f"%({found[1]})s"

    return _PLACE.sub(place, statement)
