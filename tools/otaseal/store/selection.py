"""Which devices are meant, as conditions on their rows: one text for both SQL databases, and values beside it.

What a device runs and on which board is told by the release whose sketch MD5 it names, else it is what it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from ..release.evidence import PROVEN_PREFIX, UNPROVEN_PREFIX
from .device_rows import IN_JSON, IN_STATE, LATE

CHIP_PREFIX = "mac:"
"""What the name of a device begins with that is named by its MAC address, and proves that by a key or not at all."""
MAX_PATTERNS = 512
ESCAPED = re.compile(r"([%_\\])")


class Condition(NamedTuple):
    """A condition in SQL, and the values for its places."""

    sql: str
    values: tuple[str | float | bytes, ...] = ()


class Reported(Protocol):
    """What rules for tags look at: a `Device`, or what many have in common."""

    @property
    def channel(self) -> str: ...  # noqa: D102 - as of a Device

    @property
    def chip(self) -> str: ...  # noqa: D102

    @property
    def board(self) -> str: ...  # noqa: D102

    @property
    def md5(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> str: ...  # noqa: D102


ANY, NONE = Condition("true"), Condition("false")


class Match(NamedTuple):
    """What a text has to be: exactly `text`, or like a pattern (`glob`) with * and ?, whose case does not matter."""

    text: str
    glob: bool = False

    def fits(self, value: str) -> bool:
        """Return whether a text matches; an empty one never does."""
        return bool(value) and (bool(_pattern(self.text).fullmatch(value)) if self.glob else value == self.text)

    def on(self, column: str) -> Condition:
        """Return the condition that a column matches; an empty one never does."""
        if not self.glob:
            return Condition(f"({column} <> '' AND {column} = ?)", (self.text,))
        wanted = escaped(self.text.lower()).replace("*", "%").replace("?", "_")
        return Condition(f"({column} <> '' AND lower({column}) LIKE ? ESCAPE '\\')", (wanted,))


@dataclass(frozen=True)
class Facts:
    """What the releases of a product tell of devices: the version and the board of those that name a sketch MD5.

    `names` are the boards' names by the id that the library says. A device that names another MD5 is what it says.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    boards: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def version(self, row: Reported) -> str:
        """Return which version a device runs, "" where nothing tells."""
        return self.versions.get(row.md5) or row.version

    def board(self, row: Reported) -> str:
        """Return the name of a device's board, its id where no release knows that, "" where nothing tells."""
        return self.boards.get(row.md5) or self.names.get(row.board, row.board)

    def runs(self, match: Match) -> Condition:
        """Return the condition that a device runs a version that fits."""
        by_md5 = is_in("md5", (md5 for md5, version in self.versions.items() if match.fits(version)))
        return any_of(by_md5, all_of(match.on("version"), negated(is_in("md5", self.versions))))

    def on_board(self, match: Match) -> Condition:
        """Return the condition that a device has a board that fits."""
        by_md5 = is_in("md5", (md5 for md5, board in self.boards.items() if match.fits(board)))
        by_id = is_in("board", (key for key, name in self.names.items() if match.fits(name)))
        said = any_of(by_id, all_of(match.on("board"), negated(is_in("board", self.names))))
        return any_of(by_md5, all_of(said, negated(is_in("md5", self.boards))))


NO_FACTS = Facts()


def all_of(*parts: Condition) -> Condition:
    """Return the condition that all parts hold."""
    kept = [part for part in parts if part != ANY]
    return NONE if NONE in kept else _joined(" AND ", kept, ANY)


def any_of(*parts: Condition) -> Condition:
    """Return the condition that one of the parts holds."""
    kept = [part for part in parts if part != NONE]
    return ANY if ANY in kept else _joined(" OR ", kept, NONE)


def negated(part: Condition) -> Condition:
    """Return the condition that `part` does not hold; of columns that are never NULL."""
    if part in (ANY, NONE):
        return NONE if part == ANY else ANY
    return Condition(f"NOT {part.sql}", part.values)


def is_in(column: str, values: Iterable[str]) -> Condition:
    """Return the condition that a column is one of `values`."""
    wanted = sorted(set(values))
    return Condition(f"{column} IN {IN_JSON}", (json.dumps(wanted),)) if wanted else NONE


def in_channel(channel: str) -> Condition:
    """Return the condition that a device asks for a channel."""
    return Condition("channel = ?", (channel,))


def in_state(state: str) -> Condition:
    """Return the condition that a device is in one of STATES."""
    return Condition(f"({IN_STATE[state]})")


def was_answered(reason: str) -> Condition:
    """Return the condition that a device's polls are answered for one of `protocol.answers.REASONS`."""
    return Condition("answered = ?", (reason,))


def is_late(now: float) -> Condition:
    """Return the condition that a device should have asked again long ago."""
    return Condition(LATE, (now,))


def changed_since(when: float) -> Condition:
    """Return the condition that a device has asked, or was offered or given a release, since then."""
    return Condition("(last_seen >= ? OR coalesce(offered_at, 0) >= ? OR coalesce(delivered_at, 0) >= ?)", (when,) * 3)


def says(text: str, named: Iterable[str]) -> Condition:
    """Return the condition that a text is in a device's name or MAC address, in any case, or it is one of `named`."""
    wanted = f"%{escaped(text.lower())}%"
    return any_of(Condition("lower(device || ' ' || mac) LIKE ? ESCAPE '\\'", (wanted,)), is_named(named))


def is_named(chips: Iterable[str]) -> Condition:
    """Return the condition that a device is one of these, by `labels.chip_of`."""
    return is_in("device", (name for chip in chips for name in names_of(chip)))


def names_of(chip: str) -> tuple[str, ...]:
    """Return the names under which a chip can be in the list, by its name as `labels.chip_of` has it."""
    if not chip.startswith(CHIP_PREFIX):
        return (chip,)
    return tuple(chip.replace(CHIP_PREFIX, prefix, 1) for prefix in (CHIP_PREFIX, PROVEN_PREFIX, UNPROVEN_PREFIX))


def escaped(text: str) -> str:
    """Return a text as it is in a LIKE with the escape character '\\'."""
    return ESCAPED.sub(r"\\\1", text)


def _joined(word: str, parts: list[Condition], otherwise: Condition) -> Condition:
    if len(parts) <= 1:
        return parts[0] if parts else otherwise
    values = tuple(value for part in parts for value in part.values)
    return Condition(f"({word.join(part.sql for part in parts)})", values)


@lru_cache(MAX_PATTERNS)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(re.escape(glob).replace(r"\*", ".*").replace(r"\?", "."), re.IGNORECASE | re.ASCII | re.DOTALL)
