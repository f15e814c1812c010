"""What is said of releases (`release.notes`): durable when it is set, and in backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..release.notes import NO_NOTES, Notes, checked
from .sql import upsert

if TYPE_CHECKING:
    from .sql import Tables

TABLES = {
    "release_notes": """CREATE TABLE IF NOT EXISTS release_notes (product, version, severity, notes,
    PRIMARY KEY (product, version)) WITHOUT ROWID"""
}


_OF = "SELECT version, severity, notes FROM release_notes WHERE product = ?"
_PUT = upsert("release_notes", ("product", "version"), Notes._fields)
_DROP = "DELETE FROM release_notes WHERE product = ? AND version = ?"


class ReleaseNotes:
    """The notes of a store; every method raises as `Tables.query`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def of(self, product: str) -> dict[str, Notes]:
        """Return what is said of releases of a product, by version."""
        return {version: Notes(*said) for version, *said in self._tables.query(_OF, (product,))}

    def set(self, product: str, version: str, notes: Notes) -> Notes:
        """Say this of a release, in place of what was said, and return it; raises InputError for what cannot be."""
        said = checked(notes)
        with self._tables.transaction() as transaction:
            transaction.execute(_DROP, (product, version))
            if said != NO_NOTES:
                transaction.execute(_PUT, (product, version, *said))
        return said
