"""Opens what is named by a location: the directory of a store, or the address of a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SystemFaultError, from_checkout
from .store import Store

if TYPE_CHECKING:
    from .postgresql.documents import PostgresDocuments

SCHEMES = ("postgresql://", "postgres://")


def is_database(location: str) -> bool:
    """Return whether a location is the address of a database, and not a directory."""
    return location.startswith(SCHEMES)


def open_store(location: str, *, create: bool = False, upgrade: bool = False, server: str = "") -> Store:
    """Return the store at a location; `create` makes an empty one. `server` is how other servers name this one.

    Raises ConfigError, InputError, NotFoundError, LaterFormatError, CorruptStoreError, SystemFaultError.
    """
    if is_database(location):
        return Store(_documents(location, create=create, upgrade=upgrade, server=server))
    return Store.create(Path(location)) if create else Store.open(Path(location))


def _documents(url: str, *, create: bool, upgrade: bool, server: str) -> PostgresDocuments:
    try:
        from .postgresql.database import Database
        from .postgresql.documents import PostgresDocuments
    except ImportError as error:
        raise SystemFaultError(
            "a store in PostgreSQL needs the package psycopg", from_checkout("postgresql")
        ) from error
    database = Database(url, server)
    database.open(create=create, upgrade=upgrade)
    documents = PostgresDocuments(database)
    documents.load()
    return documents
