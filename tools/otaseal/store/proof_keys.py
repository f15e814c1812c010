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
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from .device_rows import AT_HOME_SECONDS, CLOCK_SECONDS
from .sql import upsert

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
TABLES = {
    "keys": """CREATE TABLE IF NOT EXISTS keys (product, device, key, agreed, enrolled,
    PRIMARY KEY (product, device)) WITHOUT ROWID""",
    "closed": "CREATE TABLE IF NOT EXISTS closed (since)",
    "waiting_keys": """CREATE TABLE IF NOT EXISTS waiting_keys (product, device, key, shown, address, last,
    PRIMARY KEY (product, device)) WITHOUT ROWID""",
}

Name = tuple[str, str]
"""A product, and one of its devices as `mac:AA:BB:CC:DD:EE:FF`."""


class ProofKey(NamedTuple):
    """The key of one device, and when it was agreed at first contact, or else enrolled (seconds since 1970)."""

    key: bytes
    agreed: float | None = None
    enrolled: float | None = None


class LastProof(NamedTuple):
    """The number of a device's last proof, and when that was heard (seconds since 1970)."""

    sequence: int
    when: float


class WaitingKey(NamedTuple):
    """A key that a device shows in place of the known one: since when, and last, and from which network."""

    key: bytes
    shown: float
    address: str
    last: float


class ProofKeys:
    """The keys of a store; in one process at a time, or in several that `tell` the names they have changed.

    Who is told by another one calls `apply`. A name in which two have agreed a key at once has that which was written
    first. "" stands for `closed`.
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
        self._keys: dict[Name, ProofKey] = {}
        self._sequences: dict[Name, int] = {}
        self.load(proofs)

    def load(self, proofs: Mapping[Name, LastProof] | None = None) -> None:
        """Read all keys anew; of what is not written yet, keys of new names stay. Raises as `Tables.query`."""
        with self._writing, self._lock:
            unwritten = {name: self._keys[name] for name in self._changed if name in self._keys}
            self._load(proofs or {})
            for name in unwritten.keys() - self._keys.keys():
                self._put(name, unwritten[name])
                self._new[name] = self._proved[name] = unwritten[name].agreed or 0.0

    def _load(self, proofs: Mapping[Name, LastProof]) -> None:
        secrets = self._secrets
        self._changed.clear()
        self._copies = None
        self._keys = {}
        self._waiting: OrderedDict[Name, WaitingKey] = OrderedDict()
        for product, device, *values in secrets.query(
            "SELECT product, device, key, agreed, enrolled FROM keys ORDER BY product, device"
        ):
            self._keys[intern(product), device] = ProofKey(*values)
        columns = "product, device, key, shown, address, last"
        for product, device, *values in secrets.query(f"SELECT {columns} FROM waiting_keys ORDER BY shown"):  # noqa: S608
            self._waiting[product, device] = WaitingKey(*values)
        self.closed: float | None = self._read_closed()
        """Since when a key that is agreed at first contact waits for an operator, None where none does."""
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
                database.execute("INSERT INTO closed VALUES (?)", (now,))
                self._tell(database, ("",))
            self.closed = now

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
        with self._lock:
            self._put((product, device), ProofKey(key, enrolled=now))
        self.write()

    def agree(self, product: str, device: str, key: bytes, now: float) -> bool:
        """Note the key that a device shows at first contact; return False where there is no place for it."""
        name = product, device
        with self._lock:
            if len(self._changed) >= self.limit:  # the disk takes nothing: what waits for it must not fill the memory
                return False
            while self._new and next(iter(self._new.values())) <= now - NEW_SECONDS:
                self._new.popitem(last=False)
            if (full := len(self._keys) >= self.limit) or len(self._new) >= self._places:
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
        with self._lock:
            if (product, device) in self._keys:
                self._drop((product, device))
        self.write()

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
            with self._lock:
                changed, self._changed = self._changed, set()
                rows = [(name, self._keys.get(name), self._waiting.get(name)) for name in changed]
            if not rows:
                return
            try:
                with self._secrets.transaction() as database:
                    first = {name for name, key, _ in rows if key is not None and self._is_taken(name, key)}
                    for statement, values in _statements(row for row in rows if row[0] not in first):
                        database.execute(statement, values)
                    self._tell(database, [" ".join(name) for name in changed - first])
            except BaseException:
                with self._lock:
                    self._changed |= changed
                raise
            if first:
                self._apply(first)

    def apply(self, names: Iterable[str]) -> None:
        """Take what was told of names; raises as `Tables.query`."""
        told = set(names)
        if "" in told:
            self.closed = self._read_closed()
        with self._writing:
            self._apply({(product, device) for product, _, device in (name.partition(" ") for name in told if name)})

    def heard(self, name: Name, sequence: int) -> None:
        """Note the number of a proof that somebody else has taken."""
        self._sequences[name] = max(sequence, self._sequences.get(name, -1))

    def _apply(self, names: Iterable[Name]) -> None:
        for name in names:
            where = "WHERE product = ? AND device = ?"
            keys = self._secrets.query(f"SELECT key, agreed, enrolled FROM keys {where}", name)  # noqa: S608
            waiting = self._secrets.query(f"SELECT key, shown, address, last FROM waiting_keys {where}", name)  # noqa: S608
            with self._lock:
                self._take(name, ProofKey(*keys[0]) if keys else None)
                if waiting:
                    self._wait(name, WaitingKey(*waiting[0]))
                self._changed.discard(name)

    def _take(self, name: Name, key: ProofKey | None) -> None:
        if key is None:
            if name in self._keys:
                self._drop(name)
            return
        self._put(name, key)
        if key.enrolled is None:
            self._new[name] = self._proved[name] = key.agreed or 0.0

    def _is_taken(self, name: Name, key: ProofKey) -> bool:
        """Return whether somebody else has made another key the one of a name, which this one may not replace."""
        rows = self._secrets.query("SELECT key, agreed, enrolled FROM keys WHERE product = ? AND device = ?", name)
        if not rows or key.enrolled is not None:
            return False
        known = ProofKey(*rows[0])
        lately = (key.agreed or 0.0) - (known.agreed or 0.0) < REPLACED_SECONDS
        return known.key != key.key and (known.enrolled is not None or lately)

    def _read_closed(self) -> float | None:
        rows = self._secrets.query("SELECT since FROM closed")
        return rows[0][0] if rows else None

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


def _statements(
    rows: Iterable[tuple[Name, ProofKey | None, WaitingKey | None]],
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield what makes the tables say what `rows` do."""
    for name, *values in rows:
        for table, value in zip(("keys", "waiting_keys"), values, strict=True):
            if value is None:
                yield f"DELETE FROM {table} WHERE product = ? AND device = ?", name  # noqa: S608 - our own names
            else:
                yield upsert(table, ("product", "device"), value._fields), (*name, *value)
