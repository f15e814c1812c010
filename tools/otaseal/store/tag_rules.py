"""Tags by rule: every device has the tag whose board, chip, version, channel and name fit patterns.

A rule is an operator's word, and kept as labels are. What it is compared with is what a device reports, so that a tag
comes and goes with that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError, NotFoundError
from .selection import ANY, Condition, Facts, Match, Reported, all_of
from .sql import upsert

if TYPE_CHECKING:
    from .sql import Tables, Transaction

MAX_RULES = 50
"""Of one product."""
GLOB = re.compile(r"[0-9A-Za-z._+~:*? -]{1,64}")
TABLES = {
    "tag_rules": """CREATE TABLE IF NOT EXISTS tag_rules (product, tag, board, chip, version, channel, name,
    PRIMARY KEY (product, tag)) WITHOUT ROWID"""
}


class TagRule(NamedTuple):
    """Which devices have a tag: patterns with * and ?, "" for any; those of `name` fit no device without one."""

    tag: str
    board: str = ""
    chip: str = ""
    version: str = ""
    channel: str = ""
    name: str = ""

    def fits(self, row: Reported, facts: Facts, name: str) -> bool:
        """Return whether a device with that name has the tag."""
        told = (facts.board(row), row.chip, facts.version(row), row.channel, name)
        return all(Match(glob, glob=True).fits(value) for glob, value in zip(self[1:], told, strict=True) if glob)

    def condition(self, facts: Facts, named: Callable[[Match], Condition]) -> Condition:
        """Return the condition that a device has the tag; `named` returns that its name fits."""
        parts = {
            "board": facts.on_board,
            "chip": lambda match: match.on("chip"),
            "version": facts.runs,
            "channel": lambda match: match.on("channel"),
            "name": named,
        }
        globs = ((part, getattr(self, part)) for part in parts)
        return all_of(*(parts[part](Match(glob, glob=True)) if glob else ANY for part, glob in globs))


PARTS = TagRule._fields[1:]
_COLUMNS = ", ".join(TagRule._fields)
_PUT = upsert("tag_rules", ("product", "tag"), PARTS)


class TagRules:
    """The rules of a store, in memory; whoever changes one `tell`s the other servers, who `load` them."""

    def __init__(self, tables: Tables, tell: Callable[[Transaction], None] = lambda transaction: None) -> None:
        """Read all rules; raises as `Tables.query`."""
        self._tables = tables
        self._tell = tell
        self._rules: Mapping[str, Mapping[str, TagRule]] = {}
        self.load()

    def load(self) -> None:
        """Read all rules anew; raises as `Tables.query`."""
        rules: dict[str, dict[str, TagRule]] = {}
        for product, *values in self._tables.query(f"SELECT product, {_COLUMNS} FROM tag_rules ORDER BY product, tag"):  # noqa: S608
            rule = TagRule(*values)
            rules.setdefault(product, {})[rule.tag] = rule
        self._rules = rules

    def of(self, product: str) -> Mapping[str, TagRule]:
        """Return the rules of a product, by tag."""
        return self._rules.get(product, {})

    def set(self, product: str, rule: TagRule) -> None:
        """Keep a rule, in place of one with its tag; durable on return. Raises InputError; as `Tables.transaction`."""
        if not any(rule[1:]):
            raise InputError(
                f"the rule for '{rule.tag}' says nothing of its devices", f"give one of {', '.join(PARTS)}"
            )
        for part, glob in zip(PARTS, rule[1:], strict=True):
            if glob and not GLOB.fullmatch(glob):
                raise InputError(
                    f"'{glob[:64]}' is no pattern for a {part}",
                    "use up to 64 of a-z, 0-9, '._+~:-', blanks, * and ?",
                )
        with self._tables.transaction() as transaction:
            ((count,),) = self._tables.query(
                "SELECT count(*) FROM tag_rules WHERE product = ? AND tag <> ?", (product, rule.tag)
            )
            if count >= MAX_RULES:
                raise InputError(f"'{product}' has {count} rules for tags", "remove one that nobody needs")
            transaction.execute(_PUT, (product, *rule))
            self._tell(transaction)
        self.load()

    def drop(self, product: str, tag: str) -> TagRule:
        """Remove the rule for a tag, and return it; durable on return. Raises NotFoundError."""
        rule = self.of(product).get(tag)
        if rule is None:
            raise NotFoundError(f"there is no rule for the tag '{tag}'", "otaseal devices rules lists them")
        with self._tables.transaction() as transaction:
            transaction.execute("DELETE FROM tag_rules WHERE product = ? AND tag = ?", (product, tag))
            self._tell(transaction)
        self.load()
        return rule
