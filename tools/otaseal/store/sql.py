"""What both SQL databases take: one text of each statement, with `?` and `:name` for values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Values = Sequence[object] | Mapping[str, object]


class Transaction(Protocol):
    """One transaction, as sqlite3 and psycopg have it."""

    def execute(self, statement: str, values: Any = ..., /) -> Any:
        """Execute a statement, and return a cursor with its rows."""

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Any:
        """Execute a statement for many rows."""
