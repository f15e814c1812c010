"""The rollouts of the devices' file in SQL: when each began, what was set aside, and how it goes by the evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..release.evidence import WEIGHTS, Evidence
from ..release.rollout import Counts, Tally
from .device_rows import CERTIFIED, UNPROVEN
from .row_changes import CLOCK_SECONDS

ROLLOUTS = """CREATE TABLE IF NOT EXISTS rollouts (product, channel, version, began, set_aside,
    PRIMARY KEY (product, channel)) WITHOUT ROWID"""
ROLLOUT_COLUMNS = ("product", "channel", "version", "began", "set_aside")
BEGIN = """INSERT INTO rollouts VALUES (?, ?, ?, ?, NULL) ON CONFLICT (product, channel) DO UPDATE SET
    version = excluded.version, began = excluded.began, set_aside = NULL WHERE rollouts.version <> excluded.version"""
BEGUN = "SELECT version, began, set_aside FROM rollouts WHERE product = ? AND channel = ? AND version = ?"
SET_ASIDE = "UPDATE rollouts SET set_aside = ? WHERE product = ? AND channel = ? AND version = ?"

EVIDENCE = f"""CASE WHEN {CERTIFIED} OR coalesce(enrolled < :began, false) THEN '{Evidence.PROVEN.value}'
    WHEN {UNPROVEN} THEN '{Evidence.NEWCOMER.value}'
    WHEN first_seen < :began THEN '{Evidence.KNOWN.value}' ELSE '{Evidence.NEWCOMER.value}' END"""
_VOTES = " ".join(
    f"WHEN '{kind.value}' THEN {'NULL' if weight.votes is None else weight.votes}" for kind, weight in WEIGHTS.items()
)


_COUNTED = ("mine", "delivered", "confirmed", "failed")
_COUNTS = ", ".join(("count(*)", *(f"count(*) FILTER (WHERE {outcome})" for outcome in _COUNTED)))


def _sums(*columns: str) -> str:
    """Return sums as integers, which PostgreSQL would make decimals."""
    return ", ".join(f"CAST(sum({column}) AS bigint)" for column in columns)


# What was set aside is no outcome, and its device not one to be waited for, until it comes back with the release. Nor
# is one that is pinned, and is not given the release.
_OUTCOMES = f"""WITH marked AS (
        SELECT {EVIDENCE} AS evidence, address, coalesce(offered = :version, false) AS mine,
            delivered_at IS NOT NULL AS delivered, confirmed_at IS NOT NULL AS confirmed, failed_at,
            coalesce(delivered_at <= :late OR delivered_at > :early, false) AS late, delivered_at + :patience AS due,
            device IN (SELECT value FROM json_each(:pinned)) AS pinned
        FROM devices WHERE product = :product AND channel = :channel),
    every AS (
        SELECT evidence, address, pinned, mine, mine AND delivered AS delivered, mine AND confirmed AS confirmed,
            mine AND NOT confirmed AND (failed_at IS NOT NULL OR late) AS failed, coalesce(failed_at, due) AS failed_at
        FROM marked),
    outcomes AS (
        SELECT * FROM every
        WHERE NOT (failed AND coalesce(failed_at <= :set_aside, false)) AND NOT (pinned AND NOT delivered))"""  # noqa: S608
OUTCOMES = f"{_OUTCOMES} SELECT evidence, {_COUNTS} FROM outcomes GROUP BY evidence"  # noqa: S608 - our own words
TALLY = f"""{_OUTCOMES},
    places (evidence, address, most, eligible, offered, delivered, confirmed, failed) AS (
        SELECT evidence, address, CASE evidence {_VOTES} END, {_COUNTS} FROM outcomes GROUP BY evidence, address),
    shares AS (
        SELECT *, CASE WHEN most < eligible THEN most ELSE eligible END AS voters,
            CASE WHEN coalesce(most, eligible) < confirmed + failed
                THEN coalesce(most, eligible) * 1.0 / (confirmed + failed) ELSE 1.0 END AS share FROM places)
    SELECT evidence, {_sums("eligible", "offered", "delivered", "confirmed", "failed")},
        {_sums("voters", "offered", "delivered")},
        CAST(sum(confirmed * share) AS double precision), CAST(sum(failed * share) AS double precision),
        count(*) FILTER (WHERE failed > 0 AND coalesce(most > 0, false)) FROM shares GROUP BY evidence"""  # noqa: S608


class Rollout(NamedTuple):
    """When a version began to go out in a channel, and until when its failures are set aside, in seconds since 1970."""

    version: str
    began: float
    set_aside: float | None = None


def tally_values(rollout: Rollout, now: float, patience: float | None) -> dict[str, Any]:
    """Return the times for TALLY: a delivery unanswered for `patience` seconds, or dated after `now`, has failed."""
    late, early = (-math.inf, math.inf) if patience is None else (now - patience, now + CLOCK_SECONDS)
    times = {"late": late, "early": early, "patience": patience or 0.0}
    return {**times, **rollout._asdict()}


def outcomes_of(rows: Iterable[tuple[Any, ...]]) -> dict[Evidence, Counts]:
    """Return what the rows of OUTCOMES say."""
    return {Evidence(evidence): Counts(*numbers) for evidence, *numbers in rows}


def tally_of(rows: Iterable[tuple[Any, ...]]) -> Tally:
    """Return what the rows of TALLY say."""
    devices, votes, addresses = {}, {}, 0
    for evidence, *numbers, failed_at in rows:
        kind = Evidence(evidence)
        devices[kind], votes[kind] = Counts(*numbers[:5]), Counts(*numbers[5:])
        addresses += failed_at
    return Tally(devices, votes, addresses)
