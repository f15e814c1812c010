"""Which devices were seen, what they say they run, and what they were sent, in the tables of any SQL database.

Telemetry, not promises: no release depends on it. Everything a device says is a claim of bounded length, and the number
of devices is bounded too: beyond it those go first that are new and prove nothing, the longest silent among them, so
that a flood of invented devices cannot push out a fleet.
"""

from __future__ import annotations

import contextlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ..release.evidence import PROVEN_PREFIX
from ..release.rollout import Tally
from . import history, statements
from .device_batch import SELECT, TAKE, Key, Rows
from .device_rows import (
    CERTIFIED,
    IN_JSON,
    IN_STATE,
    IS_NEW,
    LATE,
    PROVEN,
    UNPROVEN,
    Device,
    Sighting,
    change_name,
    device_key,
)
from .known_keys import LastProof
from .proof_key_rows import Name
from .rollout_rows import BEGIN, BEGUN, OUTCOMES, SET_ASIDE, TALLY, Rollout, outcomes_of, tally_of, tally_values
from .row_changes import says_nothing_new, seen
from .selection import ANY, CHIP_PREFIX, Condition, is_in, names_of
from .sql import Transaction, Values
from .statements import Said

MAX_DEVICES = 100_000
EVICTED_AT_ONCE = 100
NEWCOMERS_SHARE = 10
"""One of so many places is kept for newcomers: beyond that they push out each other only."""
NEWCOMERS = f"SELECT count(*) FROM devices WHERE {IS_NEW}"  # noqa: S608 - our own names
IS_LABELLED = f"(product || ' ' || device) IN {IN_JSON}"
EVICT_NEWCOMERS = f"""DELETE FROM devices WHERE (product, device) IN (
    SELECT product, device FROM devices WHERE {IS_NEW}
    ORDER BY {IS_LABELLED}, last_seen LIMIT ?)"""  # noqa: S608
EVICT = f"""DELETE FROM devices WHERE (product, device) IN (
    SELECT product, device FROM devices WHERE NOT {IS_NEW}
    ORDER BY {IS_LABELLED}, {PROVEN}, last_seen LIMIT ?)"""  # noqa: S608
RUNNING = """SELECT md5, version, count(*) FROM (
    SELECT md5, version FROM devices WHERE product = :product AND channel = :channel UNION ALL
    SELECT md5, version FROM statements WHERE product = :product AND channel = :channel AND said_at >= :since) AS said
    GROUP BY md5, version"""
CLONES = (
    "SELECT product, device, mac, other_mac FROM devices WHERE other_mac IS NOT NULL ORDER BY product, device LIMIT ?"
)
ACTIVE = "SELECT md5, version, count(*) FROM devices WHERE product = ? AND last_seen > ? GROUP BY md5, version"
RUNS = "md5 || '|' || version"
HAD = """SELECT coalesce(back.at, first_seen) FROM devices LEFT JOIN (
        SELECT device, min(at) AS at FROM history WHERE product = ? AND event = 'back' AND {back} GROUP BY device
    ) AS back ON back.device = devices.device WHERE product = ? AND last_seen > ? AND {meant}"""
PROOFS = "SELECT product, device, sequence, last_seen FROM devices WHERE sequence IS NOT NULL"
WITHOUT_PROOF = f"""SELECT count(*) FROM devices
    WHERE last_seen >= ? AND sequence IS NULL AND NOT {CERTIFIED} AND NOT {UNPROVEN}"""  # noqa: S608 - our own names
NEEDS = """SELECT DISTINCT md5, offered FROM devices WHERE product = :product UNION ALL
    SELECT DISTINCT md5, NULL FROM statements WHERE product = :product"""


class Kind(NamedTuple):
    """What devices are and run that are counted together."""

    channel: str
    md5: str
    version: str
    board: str
    chip: str


class Flash(NamedTuple):
    """What decides whether a device has room for a release: its kind, and its flash."""

    channel: str
    md5: str
    version: str
    board: str
    chip: str
    free_space: int | None
    sketch_size: int | None
    chip_size: int | None
    counter: int | None

    @property
    def text(self) -> str:
        """All of it as one text, as `FLASH` is in SQL."""
        values = (getattr(self, name) for name in _IN_TEXT)
        return "|".join("" if value is None else str(value) for value in values)


_IN_TEXT = (*("channel", "board", "chip", "free_space", "sketch_size", "chip_size", "counter"), "md5", "version")
"""Only the last two can have the sign in them that is between all."""


FLASH = " || '|' || ".join(
    f"coalesce(CAST({name} AS text), '')" if name in Flash._fields[len(Kind._fields) :] else name for name in _IN_TEXT
)
FLASHES = f"SELECT DISTINCT {', '.join(Flash._fields)} FROM devices"  # noqa: S608 - our own names
_BY_FLASH = ", ".join(map(str, range(1, len(Flash._fields) + 1)))
_COUNTED = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in (*IN_STATE.values(), LATE))


FIRST_SEEN = """SELECT product, CAST(round((first_seen - 43199.9999) / 86400.0) AS integer) AS day, count(*),
    min(first_seen), max(first_seen) FROM devices WHERE (product = :product OR :product = '')
    GROUP BY product, day ORDER BY day DESC, product DESC"""
# Only rounding is alike in all databases, but for halves.


class FirstSeen(NamedTuple):
    """How many of a product's devices, as far as they are still known, were seen first on one day in UTC, from when to
    when; in days and seconds since 1970.
    """

    product: str
    day: int
    devices: int
    first: float
    last: float


class Active(NamedTuple):
    """How many devices that were heard of lately run the same: the sketch MD5, and the version that they say."""

    md5: str
    version: str
    devices: int


class Census(NamedTuple):
    """How many devices there are: of each kind, in each state, late, and answered for each reason."""

    kinds: Mapping[Flash, int]
    states: Mapping[str, int]
    late: int
    answered: Mapping[str, int]


class DeviceTable(ABC):
    """The devices in a database: `limit` of them at most, and `room` for so many more before they are counted again."""

    limit = MAX_DEVICES
    room = 0
    digest = "sha256(? || device)"
    """In SQL, the SHA-256 of a parameter and a device's name, as bytes."""
    losses = 0
    """How often rows have gone or changed, or may have, that the caller believes to know."""
    labelled: Callable[[], Iterable[Key]] = tuple
    """Returns of which devices operators have said something, by `labels.chip_of`: these go last of all."""

    pinned: Callable[[str], Iterable[str]] = staticmethod(lambda product: ())
    """Returns the devices of a product that get no new release, by `labels.chip_of`."""

    @abstractmethod
    def query(self, statement: str, values: Values = ()) -> Sequence[Any]:
        """Return the rows of a statement, within this thread's transaction if there is one; raises SystemFaultError."""

    @abstractmethod
    def close(self) -> None:
        """Release what was opened."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Make one change of what is executed within, when one raises, none; raises SystemFaultError."""

    def take_changed(self) -> set[str]:
        """Return the products of which others have changed devices since the last call; nobody else does in a file."""
        return set()

    def preview(
        self, known: Device | None, claim: Sighting, now: float, sequence: int | None = None
    ) -> tuple[Device, bool]:
        """Return what `Rows.see` would of a device whose row is `known`, and whether there is something to write."""
        return preview(known, claim, now, sequence, self._said)

    def get(self, product: str, device: str) -> Device | None:
        """Return what is known of a device, None if nothing is."""
        return self._row(*device_key(product, device))

    def history(self, product: str, device: str) -> tuple[history.Event, ...]:
        """Return what became of a device, the newest first."""
        return tuple(history.Event(*row) for row in self.query(history.SELECT, device_key(product, device)))

    def list(self, product: str, where: Condition = ANY, after: str = "", limit: int = 1000) -> tuple[Device, ...]:
        """Return the devices of a product that are meant, by name, at most `limit` of those behind the name `after`."""
        rows = self.query(
            f"{SELECT} WHERE product = ? AND device > ? AND {where.sql} ORDER BY device LIMIT ?",
            (product, after, *where.values, limit),
        )
        return tuple(Device(*row) for row in rows)

    def active(self, product: str, since: float) -> tuple[Active, ...]:
        """Return what the devices of a product run that were heard of since then."""
        return tuple(Active(*row) for row in self.query(ACTIVE, (product, since)))

    def count(self, product: str, where: Condition = ANY) -> int:
        """Return how many devices of a product are meant."""
        statement = f"SELECT count(*) FROM devices WHERE product = ? AND {where.sql}"  # noqa: S608 - our own words
        return int(self.query(statement, (product, *where.values))[0][0])

    def flashes(self, product: str, where: Condition) -> Iterator[Flash]:
        """Yield each kind of flash that the devices which are meant say they have, with what they run."""
        statement = f"{FLASHES} WHERE product = ? AND free_space IS NOT NULL AND {where.sql}"
        yield from (Flash(*row) for row in self.query(statement, (product, *where.values)))

    def first_seen(self, product: str = "") -> Sequence[FirstSeen]:
        """Return how many devices of a product, or of all, were seen first on each day, the latest first."""
        return [FirstSeen(*row) for row in self.query(FIRST_SEEN, {"product": product})]

    def census(self, product: str, where: Condition, now: float) -> Census:
        """Return how many of the devices that are meant are of each kind: by three statements, each with an index."""
        meant, values = f"FROM devices WHERE product = ? AND {where.sql}", (product, *where.values)
        ((*states, late),) = self.query(f"SELECT {_COUNTED} {meant}", (now, *values))
        answered = self.query(f"SELECT answered, count(*) {meant} GROUP BY answered", values)
        kinds = self.query(f"SELECT {', '.join(Flash._fields)}, count(*) {meant} GROUP BY {_BY_FLASH}", values)
        return Census(
            {Flash(*kind): count for *kind, count in kinds},
            dict(zip(IN_STATE, states, strict=True)),
            late,
            dict(answered),
        )

    def named_kinds(self, product: str, where: Condition) -> Iterator[tuple[str, Kind]]:
        """Yield the devices that are meant, by name, each with its kind."""
        statement = f"SELECT device, {', '.join(Kind._fields)} FROM devices WHERE product = ? AND {where.sql}"  # noqa: S608
        yield from ((name, Kind(*kind)) for name, *kind in self.query(statement, (product, *where.values)))

    def had(self, product: str, since: float, running: Iterable[Active], versions: Iterable[str]) -> tuple[float, ...]:
        """Return since when each device has one of these versions that was heard of since then and runs one of these.

        That is when it first came back with one, as far as is remembered, else when it was seen first.
        """
        meant, back = is_in(RUNS, (f"{one.md5}|{one.version}" for one in running)), is_in("version", versions)
        statement = HAD.format(back=back.sql, meant=meant.sql)
        return tuple(at for (at,) in self.query(statement, (product, *back.values, product, since, *meant.values)))

    def needs(self, product: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the sketch MD5s that a product's devices named last, and the versions that they were offered last."""
        rows = self.query(NEEDS, {"product": product})
        return frozenset(md5 for md5, _ in rows), frozenset(version for _, version in rows if version)

    def count_needing(self, product: str, version: str, md5s: Collection[str]) -> int:
        """Return how many devices named one of these sketch MD5s last, or were offered the version last."""
        marks = ", ".join("?" * len(md5s))
        statement = f"SELECT count(*) FROM devices WHERE product = ? AND (offered = ? OR md5 IN ({marks}))"  # noqa: S608
        return int(self.query(statement, (product, version, *md5s))[0][0])

    def proofs(self) -> dict[Name, LastProof]:
        """Return the last proof by a key that was written down, by product and device."""
        return {(product, device): LastProof(*last) for product, device, *last in self.query(PROOFS)}

    def without_proof(self, since: float) -> int:
        """Return how many devices that were heard of since then have never proved their names, as far as is known."""
        return int(self.query(WITHOUT_PROOF, (since,))[0][0])

    def running(self, product: str, channel: str, since: float = math.inf) -> tuple[tuple[str, str, int], ...]:
        """Return what a channel's devices named last, each with their number: sketch MD5 and version, "" for none.

        Statements count beside that (`statements`) which were made `since` then, in seconds since 1970.
        """
        return tuple(self.query(RUNNING, {"product": product, "channel": channel, "since": since}))

    def tally(self, product: str, channel: str, rollout: Rollout, now: float, patience: float | None) -> Tally:
        """Return how a rollout goes, by the evidence for what is said, as `tally_values` has it."""
        return tally_of(self.query(TALLY, self._rollout(product, channel) | tally_values(rollout, now, patience)))

    def outcomes(self, product: str, channel: str, rollout: Rollout, now: float, patience: float | None) -> Tally:
        """Return of `tally` the devices without their votes, which cost twice as much again: to show, not to judge."""
        rows = self.query(OUTCOMES, self._rollout(product, channel) | tally_values(rollout, now, patience))
        return Tally(outcomes_of(rows))

    def _rollout(self, product: str, channel: str) -> dict[str, Any]:
        """Return what OUTCOMES and TALLY have to know of a channel."""
        pinned = json.dumps([name for chip in self.pinned(product) for name in names_of(chip)])
        return {"product": product, "channel": channel, "pinned": pinned}

    def rollout(self, product: str, channel: str, version: str) -> Rollout | None:
        """Return what is known of the rollout of a version, None where it has not begun."""
        rows = self.query(BEGUN, (product, channel, version))
        return Rollout(*rows[0]) if rows else None

    def begin(self, product: str, channel: str, version: str, now: float) -> None:
        """Note that a channel's rollout of a version begins now, unless it has begun; those of others are over."""
        if self.rollout(product, channel, version) is not None:
            return
        with self.transaction() as rows:
            rows.execute(BEGIN, (product, channel, version, now))

    def set_aside(self, product: str, channel: str, version: str, now: float) -> None:
        """Note that the failures of a rollout until now do not count."""
        with self.transaction() as rows:
            rows.execute(SET_ASIDE, (now, product, channel, version))

    def clones(self, limit: int) -> tuple[str, ...]:
        """Return in words of which certificates there are copies on other chips, of `limit` of them at most."""
        return tuple(
            f"the certificate of '{device}' of '{product}' is on two chips, {' and '.join(sorted((mac, other)))}: "
            "revoke it, and forget the device"
            for product, device, mac, other in self.query(CLONES, (limit,))
        )

    def take(self, rows: Iterable[Device]) -> None:
        """Add devices as another file has them; of one that is known, what was seen last stays."""
        with self.transaction() as transaction:
            transaction.executemany(TAKE, rows)

    def read_all(self) -> Iterator[Device]:
        """Yield every device, for `take`."""
        yield from (Device(*row) for row in self.query(SELECT))

    def _row(self, product: str, device: str) -> Device | None:
        rows = self.query(f"{SELECT} WHERE product = ? AND device = ?", (product, device))
        return Device(*rows[0]) if rows else None

    def _said(self, known: Device) -> Said:
        return self.query(statements.SAID, (known.product, known.device))

    def make_room(self) -> None:
        """Make room for one more device in a transaction, evicting some when there are too many.

        Counting them all is too slow to do for every new one. Raises SystemFaultError.
        """
        ((count,),) = self.query("SELECT count(*) FROM devices")
        if count >= self.limit:
            surplus = count - self.limit + self._evicted_at_once
            ((newcomers,),) = self.query(NEWCOMERS)
            labelled = self._labelled()
            theirs = max(0, min(surplus, newcomers - self.limit // NEWCOMERS_SHARE + 1))
            count -= self._evicted(EVICT_NEWCOMERS, labelled, theirs)
            count -= self._evicted(EVICT, labelled, surplus - theirs)
            self.losses += 1
        self.room = self.limit - count - 1

    def flood(self) -> str:
        """Return in words that newcomers push out each other, "" while there is room."""
        ((count,),) = self.query("SELECT count(*) FROM devices")
        if count < self.limit - self._evicted_at_once or self.query(NEWCOMERS)[0][0] < self.limit // NEWCOMERS_SHARE:
            return ""
        places = self.limit // NEWCOMERS_SHARE
        return (
            f"the list of devices is full: more than {places} of {self.limit} are new within a day; they "
            "push out each other, and nobody who was known before"
        )

    def touch(self, transaction: Transaction, touched: Sequence[tuple[str, str, float, int | None]]) -> None:
        """Write when devices that are known were seen, and the numbers of their proofs."""
        statement = "UPDATE devices SET last_seen = ?, sequence = ? WHERE product = ? AND device = ?"
        transaction.executemany(statement, [(when, number, *key) for *key, when, number in touched])

    @contextlib.contextmanager
    def batch(self, keys: Iterable[Key] = ()) -> Iterator[Rows]:
        """Make one transaction of all changes within, which are of devices of `keys`; when one raises, none is made."""
        with self.transaction() as transaction:
            rows = Rows(self, transaction)
            yield rows
            rows.write()

    def _evicted(self, statement: str, labelled: str, count: int) -> int:
        """Evict so many devices, and return how many went."""
        return len(self.query(f"{statement} RETURNING 1", (labelled, count))) if count else 0

    def _labelled(self) -> str:
        """Return the names of rows, in JSON, of which operators have said something."""
        named = (
            (product, device.replace(CHIP_PREFIX, prefix, 1))
            for product, device in self.labelled()
            for prefix in (CHIP_PREFIX, PROVEN_PREFIX)
        )
        return json.dumps(list(dict.fromkeys(map(change_name, named))))

    @property
    def _evicted_at_once(self) -> int:
        return min(EVICTED_AT_ONCE, 1 + self.limit // NEWCOMERS_SHARE)


def preview(
    known: Device | None, claim: Sighting, now: float, sequence: int | None, said: Callable[[Device], Said]
) -> tuple[Device, bool]:
    """See `DeviceTable.preview`; `said` returns what a device said."""
    if known is not None and says_nothing_new(known, claim, now):
        is_said = not claim.md5 or claim.md5 == known.md5  # as of nearly every poll
        if is_said or not statements.is_new(said(known), known, claim, now):
            return known, False
    return seen(known, claim, now, sequence), True
