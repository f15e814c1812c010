"""The keys by which devices prove their names, in memory: which one a device has, which waits, and who gives way.

Who comes first may agree a key for any name. So these are bounded: those of the last day have a tenth of the places,
and push out each other. Keys that are older go only where all places are taken, those first that nobody proved for the
longest time, and for REPLACED_SECONDS; what was enrolled never goes by itself. Another key for a known name only waits,
until an operator accepts it, or until nobody has proved the known one for REPLACED_SECONDS.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from operator import itemgetter
from typing import NamedTuple

from .proof_key_rows import Name, ProofKey, WaitingKey
from .row_changes import AT_HOME_SECONDS, CLOCK_SECONDS

MAX_KEYS = 100_000
NEW_SHARE = 10
"""One of so many places is for keys that were agreed in the last day, and so many may wait."""
NEW_SECONDS = 86400.0
REPLACED_SECONDS = 7 * 86400.0
"""How long a key waits beside one that was agreed at first contact, and that nobody proves."""


class LastProof(NamedTuple):
    """The number of a device's last proof, and when that was heard (seconds since 1970)."""

    sequence: int
    when: float


class KnownKeys:
    """Up to `limit` keys; what changes is noted in `_changed`, and made durable by who derives from this."""

    def __init__(self, limit: int = MAX_KEYS) -> None:
        self.limit = limit
        self.closed: float | None = None
        """Since when a key that is agreed at first contact waits for an operator, None where none does."""
        self._lock = threading.RLock()
        self._changed: set[Name] = set()
        self._copies: dict[Name, Name] | None = None
        self._replaced: dict[Name, bytes] = {}
        """Keys that have been replaced here, and are in the database yet."""
        self._keys: dict[Name, ProofKey] = {}
        self._waiting: OrderedDict[Name, WaitingKey] = OrderedDict()
        self._sequences: dict[Name, int] = {}
        self._index({})

    def get(self, product: str, device: str) -> ProofKey | None:
        """Return the key of a device, None where none is known."""
        return self._keys.get((product, device))

    def accepts(self, key: ProofKey) -> bool:
        """Return whether a key proves enough, or waits for an operator."""
        return self.closed is None or key.enrolled is not None or (key.agreed or 0.0) < self.closed

    def waiting(self, product: str, device: str) -> WaitingKey | None:
        """Return the key that waits for a device, None where none does."""
        return self._waiting.get((product, device))

    def counts(self) -> dict[str, int]:
        """Return how many keys there are, by how they came."""
        with self._lock:
            enrolled = sum(key.enrolled is not None for key in self._keys.values())
            return {"enrolled": enrolled, "agreed": len(self._keys) - enrolled, "waiting": len(self._waiting)}

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

    def heard(self, name: Name, sequence: int) -> None:
        """Note the number of a proof that somebody else has taken."""
        if name in self._keys:
            self._sequences[name] = max(sequence, self._sequences.get(name, -1))

    def flood(self) -> str:
        """Return in words that keys agreed at first contact push out each other, "" while there is room."""
        if len(self._new) < self._places and len(self._keys) < self.limit:
            return ""
        return (
            f"there is no room for more keys of devices: {len(self._new)} of {self.limit} were agreed at first contact "
            "within a day; they push out each other, and no key that was known before and proved within a week"
        )

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

    def _index(self, proofs: Mapping[Name, LastProof]) -> None:
        last = {name: proof for name, proof in proofs.items() if name in self._keys}
        for name, proof in last.items():
            self.heard(name, proof.sequence)
        agreed = [(name, key.agreed or 0.0) for name, key in self._keys.items() if key.enrolled is None]
        self._new = OrderedDict(sorted(agreed, key=itemgetter(1)))
        proved = [(name, max(since, last[name].when if name in last else since)) for name, since in agreed]
        self._proved = dict(sorted(proved, key=itemgetter(1)))
        """When each key that was agreed was proved last, to NEW_SECONDS, or else agreed; in this order."""

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

    def _touch(self, name: Name) -> None:
        self._changed.add(name)
        self._copies = None
