"""The keys by which devices prove their names: enrolled by an operator, or agreed at first contact.

All of them are in memory, because every request asks for one; changes are noted there at once, and `write` makes them
durable, so that no device waits for a disk. A key that was agreed and is lost in a power cut is agreed again.

Who comes first may agree a key for any name. So these are bounded: those of the last day have a tenth of the places,
and push out each other. Keys that are older go only where all places are taken, those first that nobody proved for the
longest time, and for REPLACED_SECONDS; what was enrolled never goes by itself. Another key for a known name only waits,
until an operator accepts it, or until nobody has proved the known one for REPLACED_SECONDS.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from .device_rows import change_name, changed_key
from .proof_key_rows import (
    Name,
    ProofKey,
    WaitingKey,
    read_closed,
    read_keys,
    read_one,
    read_waiting,
    statements,
)
from .row_changes import AT_HOME_SECONDS, CLOCK_SECONDS

if TYPE_CHECKING:
    from .sql import Tables, Transaction

MAX_KEYS = 100_000
NEW_SHARE = 10
"""One of so many places is for keys that were agreed in the last day, and so many may wait."""
NEW_SECONDS = 86400.0
REPLACED_SECONDS = 7 * 86400.0
"""How long a key waits beside one that was agreed at first contact, and that nobody proves."""
FINGERPRINT = 16
"""Hex digits by which a key is named."""


class LastProof(NamedTuple):
    """The number of a device's last proof, and when that was heard (seconds since 1970)."""

    sequence: int
    when: float


class ProofKeys:
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
        self.limit = limit
        self._secrets = secrets
        self._tell = tell
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._changed: set[Name] = set()
        self._copies: dict[Name, Name] | None = None
        self._replaced: dict[Name, bytes] = {}
        """Keys that have been replaced here, and are in the database yet."""
        self._keys: dict[Name, ProofKey] = {}
        self._waiting: OrderedDict[Name, WaitingKey] = OrderedDict()
        self.closed: float | None = None
        """Since when a key that is agreed at first contact waits for an operator, None where none does."""
        self._sequences: dict[Name, int] = {}
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

    def _index(self, proofs: Mapping[Name, LastProof]) -> None:
        last = {name: proof for name, proof in proofs.items() if name in self._keys}
        for name, proof in last.items():
            self.heard(name, proof.sequence)
        agreed = [(name, key.agreed or 0.0) for name, key in self._keys.items() if key.enrolled is None]
        self._new = OrderedDict(sorted(agreed, key=itemgetter(1)))
        proved = [(name, max(since, last[name].when if name in last else since)) for name, since in agreed]
        self._proved = dict(sorted(proved, key=itemgetter(1)))
        """When each key that was agreed was proved last, to NEW_SECONDS, or else agreed; in this order."""

    def get(self, product: str, device: str) -> ProofKey | None:
        """Return the key of a device, None where none is known."""
        return self._keys.get((product, device))

    def accepts(self, key: ProofKey) -> bool:
        """Return whether a key proves enough, or waits for an operator."""
        return self.closed is None or key.enrolled is not None or (key.agreed or 0.0) < self.closed

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

    def waiting(self, product: str, device: str) -> WaitingKey | None:
        """Return the key that waits for a device, None where none does."""
        return self._waiting.get((product, device))

    def counts(self) -> dict[str, int]:
        """Return how many keys there are, by how they came."""
        with self._lock:
            enrolled = sum(key.enrolled is not None for key in self._keys.values())
            return {"enrolled": enrolled, "agreed": len(self._keys) - enrolled, "waiting": len(self._waiting)}

    def enrol(self, product: str, device: str, key: bytes, now: float) -> None:
        """Make `key` that of a device, in place of any other; durable on return. Raises as `Secrets.transaction`."""
        with self._writing:
            with self._lock:
                self._put((product, device), ProofKey(key, enrolled=now))
            self._write((product, device))

    def agree(self, product: str, device: str, key: bytes, now: float) -> bool:
        """Note the key that a device shows at first contact; return False where there is no place for it."""
        name = product, device
        with self._lock:
            if name in self._keys:  # another server has agreed one just now
                return False
            if len(self._changed) >= self.limit:  # the disk takes nothing: what waits for it must not fill the memory
                return False
            while self._new and next(iter(self._new.values())) <= now - NEW_SECONDS:
                self._new.popitem(last=False)
            # Servers that are at the bound at once all make the same room: so what is too much goes here, too.
            while (full := len(self._keys) >= self.limit) or len(self._new) >= self._places:
                given_up = self._given_up(now) if full and len(self._new) < self._places else None
                if not (self._new or given_up):
                    return False
                self._drop(given_up or next(iter(self._new)))
            self._put(name, ProofKey(key, agreed=max(now, self.closed or now)))
            self._new[name] = self._proved[name] = now
        return True

    def show(self, product: str, device: str, key: bytes, address: str, now: float) -> bool:
        """Note a key that is shown in place of the known one; return True where it has replaced that by now.

        Who shows one holds its place as long as a device holds its address: somebody else's does not push it out.
        """
        name = product, device
        with self._lock:
            known, before = self._keys.get(name), self._waiting.get(name)
            if known is None:  # an operator has forgotten it just now
                return False
            since = AT_HOME_SECONDS if before is None else now - before.last
            if before is not None and before.key != key and -CLOCK_SECONDS < since < AT_HOME_SECONDS:
                return False
            if before is None or before.key != key:
                self._wait(name, WaitingKey(key, now, address, now))
                return False
            if self.closed is None and known.enrolled is None and before.shown <= now - REPLACED_SECONDS:
                self._replaced.setdefault(name, known.key)
                self._put(name, ProofKey(key, agreed=now))
                self._proved[name] = now
                return True
            if not -CLOCK_SECONDS < since < AT_HOME_SECONDS / 2:
                self._wait(name, before._replace(last=now))
            return False

    def advance(self, product: str, device: str, sequence: int, now: float) -> int | None:
        """Take the number of a proof that holds; return the last one where this is not above it: that is a replay.

        A key that waits beside the proved one is not the device's own.
        """
        name = product, device
        last = self._sequences.get(name, -1)
        if sequence <= last:
            return last
        self._sequences[name] = sequence
        if not 0 <= now - self._proved.get(name, now) < NEW_SECONDS and self._proved.pop(name, None) is not None:
            self._proved[name] = now
        self.end_waiting(product, device)
        return None

    def end_waiting(self, product: str, device: str) -> None:
        """Drop the key that waits for a device, if there is one."""
        name = product, device
        if name in self._waiting:
            with self._lock:
                self._waiting.pop(name, None)
                self._touch(name)

    def forget(self, product: str, device: str) -> None:
        """Drop the keys of a device, if there are any; durable on return, raises as `enrol`."""
        with self._writing:
            with self._lock:
                if (product, device) in self._keys:
                    self._drop((product, device))
            self._write((product, device))

    def flood(self) -> str:
        """Return in words that keys agreed at first contact push out each other, "" while there is room."""
        if len(self._new) < self._places and len(self._keys) < self.limit:
            return ""
        return (
            f"there is no room for more keys of devices: {len(self._new)} of {self.limit} were agreed at first contact "
            "within a day; they push out each other, and no key that was known before and proved within a week"
        )

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

    def heard(self, name: Name, sequence: int) -> None:
        """Note the number of a proof that somebody else has taken."""
        if name in self._keys:
            self._sequences[name] = max(sequence, self._sequences.get(name, -1))

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

    def copies(self) -> dict[Name, Name]:
        """Return the devices whose enrolled key is shown under another name, and that: it includes the name.

        Of a key that nobody enrolled this says nothing: anybody can invent one, and two names.
        """
        with self._lock:
            if self._copies is None:
                keys = [(name, key.key, key.enrolled) for name, key in self._keys.items()]
                enrolled = {key: name for name, key, since in keys if since is not None}
                shown = [(name, key.key, None) for name, key in self._waiting.items()]
                pairs = ((enrolled.get(key, name), name) for name, key, _ in (*keys, *shown))
                self._copies = {owner: name for owner, name in pairs if owner != name}
            return self._copies

    def _touch(self, name: Name) -> None:
        self._changed.add(name)
        self._copies = None

    @property
    def _places(self) -> int:
        return max(1, self.limit // NEW_SHARE)

    def _given_up(self, now: float) -> Name | None:
        """Return the agreed key that was not proved for the longest time, if that is long enough."""
        for name, last in self._proved.items():
            key = self._keys.get(name)
            if key is not None and key.enrolled is None:  # else it was changed while it was proved
                return name if last <= now - NEW_SECONDS - REPLACED_SECONDS else None
        return None

    def _put(self, name: Name, key: ProofKey) -> None:
        self._new.pop(name, None)
        self._proved.pop(name, None)
        self._waiting.pop(name, None)
        if (before := self._keys.get(name)) is not None and before.key != key.key:
            self._sequences.pop(name, None)  # whose key that was may have said the highest number there is
        self._keys[name] = key
        self._touch(name)

    def _drop(self, name: Name) -> None:
        self._new.pop(name, None)
        self._proved.pop(name, None)
        self._waiting.pop(name, None)
        self._sequences.pop(name, None)
        self._keys.pop(name)
        self._touch(name)

    def _wait(self, name: Name, key: WaitingKey) -> None:
        self._waiting[name] = key
        self._touch(name)
        if len(self._waiting) > self._places:
            self._touch(self._waiting.popitem(last=False)[0])


def fingerprint(key: bytes) -> str:
    """Return what names a key to people, and does not give it away."""
    return hashlib.sha256(key).hexdigest()[:FINGERPRINT]
