"""The keys by which devices prove their names, durable: enrolled by an operator, or agreed at first contact.

All of them are in memory, because every request asks for one; changes are noted there at once, and `write` makes them
durable, so that no device waits for a disk. A key that was agreed and is lost in a power cut is agreed again. Which
keys stay is what `KnownKeys` says.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .device_rows import change_name, changed_key
from .known_keys import MAX_KEYS, KnownKeys, LastProof
from .proof_key_rows import Name, ProofKey, read_closed, read_keys, read_one, read_waiting, statements

if TYPE_CHECKING:
    from .sql import Tables, Transaction

FINGERPRINT = 16
"""Hex digits by which a key is named."""


class ProofKeys(KnownKeys):
    """The keys of a store; in one process at a time, or in several that `tell` the names they have changed.

    Who is told by another one calls `apply`. A name in which two have agreed a key at once has that which was written
    first; an operator's word is never overwritten. "" stands for `closed`. The number of a proof is known to the others
    when the device's row is, ten seconds later: until then a replay repeats there what the device has just said.
    """

    def __init__(
        self,
        secrets: Tables,
        proofs: Mapping[Name, LastProof] | None = None,
        limit: int = MAX_KEYS,
        tell: Callable[[Transaction, Iterable[str]], None] = lambda transaction, names: None,
    ) -> None:
        """Read all keys; `proofs` are the last ones that were written down. Raises as `Tables.query`."""
        super().__init__(limit)
        self._secrets = secrets
        self._tell = tell
        self._writing = threading.Lock()
        self.load(proofs)

    def load(self, proofs: Mapping[Name, LastProof] | None = None) -> None:
        """Read all keys anew; of what is not written yet, keys of new names stay. Raises as `Tables.query`."""
        with self._writing:
            keys, waiting, closed = read_keys(self._secrets), read_waiting(self._secrets), read_closed(self._secrets)
            with self._lock:  # of which no request waits for the database
                unwritten = {name: self._keys[name] for name in self._changed if name in self._keys}
                self._changed.clear()
                self._replaced.clear()
                self._copies = None
                self._keys, self._waiting, self.closed = keys, waiting, closed
                self._index(proofs or {})
                for name in unwritten.keys() - keys.keys():
                    self._put(name, unwritten[name])
                    self._new[name] = self._proved[name] = unwritten[name].agreed or 0.0

    def close(self, now: float) -> None:
        """Let keys that are agreed from now on wait for an operator, if they do not yet; raises as `enrol`.

        From now on is behind all that were agreed, whatever clock was right.
        """
        if self.closed is None:
            with self._lock:
                now = max([now, *(math.nextafter(key.agreed, math.inf) for key in self._keys.values() if key.agreed)])
            with self._secrets.transaction() as database:
                if (since := read_closed(self._secrets)) is None:  # else by another server just now
                    database.execute("INSERT INTO closed VALUES (?)", (now,))
                    self._tell(database, ("",))
            self.closed = now if since is None else since

    def reopen(self) -> None:
        """Let no key wait any more; raises as `enrol`."""
        if self.closed is not None:
            with self._secrets.transaction() as database:
                database.execute("DELETE FROM closed")
                self._tell(database, ("",))
            self.closed = None

    def enrol(self, product: str, device: str, key: bytes, now: float) -> None:
        """Make `key` that of a device, in place of any other; durable on return. Raises as `Secrets.transaction`."""
        with self._writing:
            with self._lock:
                self._put((product, device), ProofKey(key, enrolled=now))
            self._write((product, device))

    def forget(self, product: str, device: str) -> None:
        """Drop the keys of a device, if there are any; durable on return, raises as `enrol`."""
        with self._writing:
            with self._lock:
                if (product, device) in self._keys:
                    self._drop((product, device))
            self._write((product, device))

    @property
    def changed(self) -> bool:
        """Whether there is something to `write`."""
        return bool(self._changed)

    def write(self) -> None:
        """Make all changes durable; raises as `Secrets.transaction`, and then they are still to be made.

        One thread after the other: what another is writing is not durable yet, and must not come after what is newer.
        """
        with self._writing:
            self._write()

    def _write(self, decided: Name | None = None) -> None:
        """Write what changed; of the name `decided` an operator says what is."""
        with self._lock:
            changed, self._changed = self._changed, set()
            rows = [(name, self._keys.get(name), self._waiting.get(name)) for name in changed]
        if not rows:
            return
        try:
            with self._secrets.transaction() as database:
                first = {name for name, key, _ in rows if name != decided and self._is_taken(name, key)}
                for statement, values in statements(row for row in rows if row[0] not in first):
                    database.execute(statement, values)
                self._tell(database, [change_name(name) for name in changed - first])
        except BaseException:
            with self._lock:
                self._changed |= changed
            raise
        for name in changed:
            self._replaced.pop(name, None)
        self._apply(first)

    def apply(self, names: Iterable[str]) -> None:
        """Take what was told of names; raises as `Tables.query`."""
        told = set(names)
        if "" in told:
            self.closed = read_closed(self._secrets)
        with self._writing:
            self._apply({changed_key(name) for name in told if name})

    def _apply(self, names: Iterable[Name]) -> None:
        for name in names:
            key, waiting = read_one(self._secrets, name)
            with self._lock:
                self._take(name, key)
                self._waiting.pop(name, None)
                if waiting is not None:
                    self._wait(name, waiting)
                self._changed.discard(name)

    def _take(self, name: Name, key: ProofKey | None) -> None:
        before = self._keys.get(name)
        if key == before:
            return
        if key is None:
            self._drop(name)
            return
        self._put(name, key)
        if key.enrolled is None:
            self._proved[name] = key.agreed or 0.0
            if before is None:  # who replaces a known key takes no place of the new ones
                self._new[name] = key.agreed or 0.0

    def _is_taken(self, name: Name, key: ProofKey | None) -> bool:
        """Return whether somebody else has given a name a key that must not give way to this one, or to none."""
        known, _ = read_one(self._secrets, name)
        if known is None:
            return False
        if known.enrolled is not None:
            return key is None or key.enrolled is None or key.enrolled < known.enrolled
        return key is not None and key.enrolled is None and known.key not in (key.key, self._replaced.get(name))


def fingerprint(key: bytes) -> str:
    """Return what names a key to people, and does not give it away."""
    return hashlib.sha256(key).hexdigest()[:FINGERPRINT]
