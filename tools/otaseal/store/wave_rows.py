"""The waves of a rollout in SQL: in which one each device of a channel is, and what became of it.

Counted by the database: to read a large fleet row by row takes seconds, and the interpreter from whoever answers
devices. Who is in a share is told by the same digest as `release.rollout.place`, compared as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..release.evidence import WEIGHTS
from ..release.rollout import share_end
from .rollout_rows import EVIDENCE, Rollout, tally_values
from .selection import ANY, NONE, Condition

FATES = ("offered", "downloaded", "came_back", "failed", "silent")
_HEARD = ", ".join(f"'{kind.value}'" for kind, weight in WEIGHTS.items() if weight.votes != 0)
_SUMS = ", ".join(f"count(*) FILTER (WHERE {fate})" for fate in FATES)
# One that runs a release without having been given it, as by cable, is back with it, too.
_FATES = """SELECT device, error, {wave} AS wave, evidence IN ({heard}) AS heard, {named}
    runs OR mine AS offered, runs OR (mine AND delivered_at IS NOT NULL) AS downloaded,
    runs OR (mine AND confirmed_at IS NOT NULL) AS came_back,
    NOT runs AND mine AND confirmed_at IS NULL AND failed_at IS NOT NULL AS failed,
    NOT runs AND mine AND confirmed_at IS NULL AND failed_at IS NULL AND late AS silent, failed_at, due FROM marked"""
_SINCE = "CASE WHEN failed THEN failed_at WHEN silent THEN due END"
UNANSWERED = Condition("(confirmed_at IS NULL AND delivered_at IS NOT NULL OR failed_at IS NOT NULL)")
"""Where one of those that failed or are silent may be."""


class Members(NamedTuple):
    """Who is in a wave: who is meant by tag or name, and a share of `percent`."""

    named: Condition
    percent: int

    @property
    def is_drawn(self) -> bool:
        """Whether the places of devices tell who is in it."""
        return 0 < self.percent < 100


class Fate(NamedTuple):
    """How many devices of a `wave` (from 0, None for none) there are, and what became of them; `heard` count.

    `is_set_aside`: their failures are. `counts` are those of FATES, `named` how many are meant by tag or name in each
    wave, whichever they are in.
    """

    wave: int | None
    heard: bool
    is_set_aside: bool
    devices: int
    counts: tuple[int, ...]
    named: tuple[int, ...]


@dataclass(frozen=True)
class WaveRows:
    """The statements on the devices of a `product` that are meant.

    `digest` is the SHA-256 of a parameter and the device's name in this SQL, `salt` that parameter. `runs` is the
    condition that a device runs the release, `waves` who is in them, and `times` what `tally_values` has.
    """

    product: str
    meant: Condition
    digest: str
    salt: str
    runs: Condition
    waves: Sequence[Members]
    begun: Rollout
    times: Mapping[str, Any]

    @classmethod
    def until(cls, now: float, patience: float | None, begun: Rollout, **values: Any) -> WaveRows:
        """Return the statements as of `now`, in seconds since 1970."""
        return cls(begun=begun, times=tally_values(begun, now, patience), **values)

    def fates(self) -> Condition:
        """Return the statement whose rows `fates_of` reads, and its values."""
        named = "".join(f", count(*) FILTER (WHERE named_{number})" for number in self._named)
        sql = f"SELECT wave, heard, {self._aside}, count(*), {_SUMS}{named} FROM fates GROUP BY 1, 2, 3"  # noqa: S608
        return self._on_fates(ANY, sql, "MATERIALIZED")

    def fates_of(self, rows: Sequence[Sequence[Any]]) -> list[Fate]:
        """Return what the rows of `fates` say."""
        size = len(FATES)
        return [
            Fate(wave, bool(heard), bool(aside), devices, tuple(counts[:size]), self._all_named(counts[size:]))
            for wave, heard, aside, devices, *counts in rows
        ]

    def failed(self, limit: int) -> Condition:
        """Return the statement for those that did not come back: name, wave, whether silent, since when, error.

        It reads rows in the order of names, and no more than it needs.
        """
        sql = f"""SELECT device, wave, silent, {_SINCE}, error FROM fates
            WHERE (failed OR silent) AND NOT {self._aside} ORDER BY device LIMIT {limit:d}"""  # noqa: S608
        return self._on_fates(UNANSWERED, sql)

    @property
    def _named(self) -> list[int]:
        return [number for number, members in enumerate(self.waves) if members.named != NONE]

    def _all_named(self, counts: Sequence[int]) -> tuple[int, ...]:
        found = dict(zip(self._named, counts, strict=True))
        return tuple(found.get(number, 0) for number in range(len(self.waves)))

    @property
    def _aside(self) -> str:
        if self.begun.set_aside is None:
            return "false"
        return f"coalesce({_SINCE} <= {self.begun.set_aside!r}, false)"

    def _on_fates(self, narrowed: Condition, statement: str, once: str = "") -> Condition:
        """Return a statement on the fates of devices; MATERIALIZED works out `once` what a digest or a list tells."""
        named, thresholds = [self.waves[number].named for number in self._named], self._thresholds
        digest = Condition(self.digest, (self.salt,)) if thresholds else Condition("NULL")
        marks = "".join(f", {one.sql} AS named_{number}" for number, one in zip(self._named, named, strict=True))
        marked = f"""SELECT device, error, {digest.sql} AS place{marks}, {EVIDENCE.replace(":began", "?")} AS evidence,
            {self.runs.sql} AS runs, coalesce(offered = ?, false) AS mine, delivered_at, confirmed_at, failed_at,
            coalesce(delivered_at <= ? OR delivered_at > ?, false) AS late, delivered_at + ? AS due
            FROM devices WHERE product = ? AND {self.meant.sql} AND {narrowed.sql}"""  # noqa: S608 - our own words
        fates = _FATES.format(wave=self._wave, heard=_HEARD, named="".join(f"named_{one}, " for one in self._named))
        times = (self.times["late"], self.times["early"], self.times["patience"])
        values = (
            *(value for condition in (digest, *named) for value in condition.values),
            *(self.begun.began, self.begun.began),
            *(*self.runs.values, self.begun.version, *times),
            *(self.product, *self.meant.values),
            *thresholds,
        )
        return Condition(f"WITH marked AS {once} ({marked}), fates AS ({fates}) {statement}", values)

    @property
    def _wave(self) -> str:
        """In SQL, in which wave a device is: the first that has it."""
        cases = []
        for number, members in enumerate(self.waves):
            is_named = f"named_{number} OR " if members.named != NONE else ""
            share = "place < ?" if members.is_drawn else "true" if members.percent else "false"
            cases.append(f"WHEN {is_named}{share} THEN {number}")
        return f"CASE {' '.join(cases)} END"

    @property
    def _thresholds(self) -> tuple[bytes, ...]:
        return tuple(share_end(members.percent) for members in self.waves if members.is_drawn)
