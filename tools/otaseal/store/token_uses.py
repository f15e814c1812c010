"""When operators' tokens were used last, give or take some minutes: which one can be revoked.

Whoever asks with a token writes nothing: the time is in memory, and is written by `write` from time to time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from .sql import upsert

if TYPE_CHECKING:
    from .sql import Tables

WRITE_SECONDS = 300.0
TABLES = {"token_uses": "CREATE TABLE IF NOT EXISTS token_uses (id, used, PRIMARY KEY (id)) WITHOUT ROWID"}
_ALL = "SELECT id, used FROM token_uses"
_PUT = upsert("token_uses", ("id",), ("used",))
_DROP = "DELETE FROM token_uses WHERE id = ?"


class TokenUses:
    """The last use of each token of a store, by the token's id. Safe in threads."""

    def __init__(self, tables: Tables, clock: Callable[[], float] = time.time) -> None:
        self._tables, self._clock = tables, clock
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        self._due = clock() + WRITE_SECONDS

    def note(self, identifier: str) -> None:
        """Note that a token is used now."""
        self._noted[identifier] = self._clock()

    def all(self) -> dict[str, float]:
        """Return when each was used last, in seconds since 1970; raises as `Tables.query`."""
        return {**dict(self._tables.query(_ALL)), **self._noted}

    def write(self, valid: Collection[str], *, now: bool = False) -> None:
        """Write what was noted, if it is time or `now`, and forget those that are not `valid`.

        Raises as `Tables.transaction`, and tries again after some minutes.
        """
        with self._lock:
            if not self._noted or not (now or self._clock() >= self._due):
                return
            self._due = self._clock() + WRITE_SECONDS
            noted = dict(self._noted)
            with self._tables.transaction() as transaction:
                known = {identifier for (identifier,) in transaction.execute("SELECT id FROM token_uses").fetchall()}
                transaction.executemany(_PUT, [(one, used) for one, used in noted.items() if one in valid])
                transaction.executemany(_DROP, [(one,) for one in known if one not in valid])
            for identifier, used in noted.items():
                if self._noted.get(identifier) == used:
                    del self._noted[identifier]
