"""What is said of releases (`release.notes`), and until when a product is supported: durable, and in backups."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from ..errors import InputError
from ..protocol.answers import Headers
from ..release.notes import NO_NOTES, Notes, checked, device_headers
from .sql import upsert

if TYPE_CHECKING:
    from .sql import Tables

TABLES = {
    "release_notes": """CREATE TABLE IF NOT EXISTS release_notes (product, version, severity, notes,
    cves DEFAULT '', advisory DEFAULT '', PRIMARY KEY (product, version)) WITHOUT ROWID""",
    "support": "CREATE TABLE IF NOT EXISTS support (product PRIMARY KEY, ends) WITHOUT ROWID",
}

_OF = f"SELECT version, {', '.join(Notes._fields)} FROM release_notes WHERE product = ?"  # noqa: S608 - our own names
_PUT_SUPPORT = upsert("support", ("product",), ("ends",))
_ALL = f"SELECT product, version, {', '.join(Notes._fields)} FROM release_notes"  # noqa: S608 - our own names
_PUT = upsert("release_notes", ("product", "version"), Notes._fields)
_DROP = "DELETE FROM release_notes WHERE product = ? AND version = ?"


class ReleaseNotes:
    """The notes of a store; every method raises as `Tables.query`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._headers: dict[tuple[str, str], Headers] = {}

    def load(self) -> None:
        """Read what devices are told of releases into memory."""
        rows = self._tables.query(_ALL)
        self._headers = {(product, version): device_headers(Notes(*said)) for product, version, *said in rows}

    def headers(self, product: str, version: str) -> Headers:
        """Return what devices are told of a release, as it was loaded, or set here since."""
        return self._headers.get((product, version), ())

    def of(self, product: str) -> dict[str, Notes]:
        """Return what is said of releases of a product, by version."""
        return {version: Notes(*said) for version, *said in self._tables.query(_OF, (product,))}

    def support_ends(self, product: str) -> str | None:
        """Return the last day on which a product is supported, as in 2031-12-31; None where that is not said."""
        rows = self._tables.query("SELECT ends FROM support WHERE product = ?", (product,))
        return str(rows[0][0]) if rows else None

    def set_support_ends(self, product: str, ends: str) -> None:
        """Say until when a product is supported; raises InputError for what is no day."""
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", ends) or not _is_day(ends):
            raise InputError(f"'{ends[:32]}' is no day", "write it as in 2031-12-31")
        with self._tables.transaction() as transaction:
            transaction.execute(_PUT_SUPPORT, (product, ends))

    def set(self, product: str, version: str, notes: Notes) -> Notes:
        """Replace the notes of a release, and return them; raises InputError where they are not valid."""
        said = checked(notes)
        if said == NO_NOTES and version not in self.of(product):
            return said  # nothing is made durable where nothing was said
        with self._tables.transaction() as transaction:
            transaction.execute(_DROP, (product, version))
            if said != NO_NOTES:
                transaction.execute(_PUT, (product, version, *said))
        self._headers = {**self._headers, (product, version): device_headers(said)}
        return said


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
