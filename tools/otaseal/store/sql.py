"""What both SQL databases take: one text of each statement, with `?` and `:name` for values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Values = Sequence[object] | Mapping[str, object]


class Transaction(Protocol):
    """One transaction, as sqlite3 and psycopg have it."""

    def execute(self, statement: str, values: Any = ..., /) -> Any:
        """Execute a statement, and return a cursor with its rows."""

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Any:
        """Execute a statement for many rows."""


class Tables(Protocol):
    """The tables of secrets, in the file of a store or in its database."""

    def query(self, statement: str, values: Values = ()) -> list[Any]:
        """Return the rows of a statement; raises LaterFormatError, CorruptStoreError, SystemFaultError."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Make one durable change of what is executed within; when one raises, none. Raises as `query`."""


def upsert(table: str, keys: Sequence[str], others: Sequence[str]) -> str:
    """Return the statement that puts a row in the place of one with the same `keys`."""
    columns, places = ", ".join((*keys, *others)), ", ".join("?" * (len(keys) + len(others)))
    updates = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f"INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {updates}"  # noqa: S608
