"""The devices of a product as operators look at them: a list by what is asked for, counts of the same, and one device.

For API and page alike: it takes values and returns values. Each count is of the devices that the list with that filter
has. Methods block, for threads.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ...errors import ConfigError
from ...names import check_name
from ...protocol.answers import REASONS
from ...release.evidence import proof_of
from ...release.record_fields import VERSION
from ...release.records import check_version
from ...store.device_rows import STATES
from ...store.device_table import Census, Flash, Kind
from ...store.labels import MAX_TAGS, Label, check_tag
from ...store.selection import (
    ANY,
    Condition,
    Match,
    all_of,
    changed_since,
    in_channel,
    in_state,
    is_in,
    is_late,
    is_named,
    names_of,
    negated,
    says,
    was_answered,
)
from .fleet import FLUSH_SECONDS, Fleet, Listed
from .handlers.context import no_channel
from .parameters import BOARD, MAX_TEXT, SINCE

MAX_NAMED = 100
"""Versions, and boards, that are counted by name: what a device says is a claim."""
FLAGS = {"0": False, "1": True}


@dataclass(frozen=True)
class Query:
    """Which devices are asked for; "", () and None stand for any. `since` is in seconds since 1970.

    Who is asked for by tags has all of them.
    """

    channel: str = ""
    state: str = ""
    version: str = ""
    board: str = ""
    tag: tuple[str, ...] = ()
    answered: str = ""
    text: str = ""
    late: bool | None = None
    no_room: bool | None = None
    pinned: bool | None = None
    since: float | None = None

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Query:
        """Return the query of what a URL says of it; raises ConfigError, InputError."""
        known = {name: value for name, value in given.items() if name in _READ}
        return cls(**{name: _READ[name](value) for name, value in known.items()})


def page(fleet: Fleet, product: str, query: Query, after: str, limit: int, now: float | None = None) -> dict[str, Any]:
    """Return a page of the devices that are asked for, behind the name `after`; the first one says how many there are.

    `now` is the time, that of the server's clock by default. Raises NotFoundError for a channel that does not exist.
    """
    now = time.time() if now is None else now
    where = condition(fleet, product, query, now)
    listed = fleet.page(product, where, after, limit + 1)
    rows = [as_json(fleet, one, now) for one in listed[:limit]]
    return {
        "product": product,
        "devices": rows,
        "next": rows[-1]["device"] if len(listed) > limit else None,
        "total": None if after else len(listed) if len(listed) <= limit else fleet.devices.count(product, where),
        "now": now,
    }


def first(fleet: Fleet, product: str, query: Query, limit: int) -> list[dict[str, Any]]:
    """Return the first of the devices that are asked for, which costs less than to count them all; raises as `page`."""
    now = time.time()
    listed = fleet.page(product, condition(fleet, product, query, now), "", limit)
    return [as_json(fleet, one, now) for one in listed]


def counts(fleet: Fleet, product: str, channel: str = "", now: float | None = None) -> dict[str, Any]:
    """Return how many devices of a product, or of one of its channels, there are of each kind; raises as `page`."""
    now, where, census = _taken(fleet, product, channel, now)
    rows = _labelled(fleet, product, where)
    short = fleet.room.short(product, (kind for kind in census.kinds if kind.free_space is not None))
    return {
        "product": product,
        "channel": channel or None,
        "now": now,
        **_kinds(fleet, product, census),
        "late": census.late,
        "no_room": sum(census.kinds[kind] for kind in short),
        "pinned": sum(label.pinned for _, label in rows),
        "tags": _tags(fleet, product, census.kinds, rows),
    }


def kinds(fleet: Fleet, product: str, channel: str) -> dict[str, Any]:
    """Return what `counts` says by what devices report alone, and not by labels and releases; raises as `page`."""
    return _kinds(fleet, product, _taken(fleet, product, channel, None)[2])


def _taken(fleet: Fleet, product: str, channel: str, now: float | None) -> tuple[float, Condition, Census]:
    """Return the time, which devices are meant, and their census."""
    now = time.time() if now is None else now
    fleet.recorder.flush(FLUSH_SECONDS)
    where = condition(fleet, product, Query(channel=channel), now)
    return now, where, fleet.devices.census(product, where, now)


def _kinds(fleet: Fleet, product: str, census: Census) -> dict[str, Any]:
    facts, found = fleet.catalog.facts(product), Counter[tuple[str, str]]()
    for kind, count in census.kinds.items():
        found["channels", kind.channel] += count
        found["versions", facts.version(kind)] += count
        found["boards", facts.board(kind)] += count
    return {
        "total": sum(census.kinds.values()),
        "states": {state: census.states[state] for state in STATES if census.states.get(state)},
        "answered": {reason: census.answered[reason] for reason in REASONS if reason in census.answered},
        "channels": _named(found, "channels", 0),
        "versions": _named(found, "versions", MAX_NAMED),
        "boards": _named(found, "boards", MAX_NAMED),
    }


def condition(fleet: Fleet, product: str, query: Query, now: float) -> Condition:
    """Return the condition on rows of devices that a query is; raises NotFoundError for an unknown channel."""
    if query.channel and fleet.catalog.channel(product, query.channel) is None:
        raise no_channel(product, query.channel)
    facts, labels = fleet.catalog.facts(product), fleet.labels
    channel = in_channel(query.channel) if query.channel else ANY
    parts = [
        channel,
        in_state(query.state) if query.state else ANY,
        was_answered(query.answered) if query.answered else ANY,
        facts.runs(Match(query.version)) if query.version else ANY,
        facts.on_board(Match(query.board)) if query.board else ANY,
        *(labels.has_tag(product, tag) for tag in query.tag),
        says(query.text, _said(labels.of(product), query.text)) if query.text else ANY,
        ANY if query.since is None else changed_since(query.since),
        _flag(query.late, is_late(now)),
        ANY if query.pinned is None else _flag(query.pinned, is_named(labels.pinned(product))),
        ANY if query.no_room is None else _flag(query.no_room, fleet.without_room(product, channel)),
    ]
    return all_of(*parts)


def as_json(fleet: Fleet, listed: Listed, now: float) -> dict[str, Any]:
    """Return what is known of a device, for people and programs."""
    device, version, evidence = listed
    product, label = device.product, fleet.labels.get(device.product, device.device)
    proof = proof_of(device.device, device.sequence, device.enrolled)
    running = fleet.catalog.known(product).get(device.md5)
    return {
        **device._asdict(),
        "state": device.state,
        "running": version,
        "evidence": evidence.value,
        "proof": proof.value,
        "board_name": fleet.catalog.facts(product).board(device) or None,
        "core": None if running is None else running.release.core_release,
        "next_poll": device.next_poll,
        "late": device.is_late(now),
        "name": label.name,
        "note": label.note,
        "pinned": label.pinned,
        "tags": sorted(fleet.labels.tags_of(product, device.device, device)),
    }


def history(fleet: Fleet, product: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return what became of a device under its `names`, the newest first, with the versions that releases tell."""
    versions = fleet.catalog.facts(product).versions
    found = [
        {"device": name, **event._asdict(), "version": versions.get(event.detail, event.version)}
        for name in names
        for event in fleet.devices.history(product, name)
    ]
    return sorted(found, key=itemgetter("at"), reverse=True)  # which keeps the order of those of one moment


def _labelled(fleet: Fleet, product: str, where: Condition) -> list[tuple[Kind, Label]]:
    """Return the devices in the list of which operators have said something."""
    by_name = {name: label for chip, label in fleet.labels.of(product).items() for name in names_of(chip)}
    if not by_name:
        return []
    found = fleet.devices.named_kinds(product, all_of(where, is_in("device", by_name)))
    return [(kind, by_name[name]) for name, kind in found]


def _tags(fleet: Fleet, product: str, kinds: Mapping[Flash, int], rows: Iterable[tuple[Kind, Label]]) -> dict[str, int]:
    """Return how many devices have each tag: by hand, and by rule where that is not the same one."""
    facts, rules = fleet.catalog.facts(product), fleet.labels.rules.of(product)
    found = Counter(dict.fromkeys(fleet.labels.tags(product), 0))
    unnamed = {tag: rule for tag, rule in rules.items() if not rule.name}
    for kind, count in kinds.items():
        found.update({tag: count for tag, rule in unnamed.items() if rule.fits(kind, facts, "")})
    for row, label in rows:
        found.update(tag for tag in label.tags if tag not in unnamed or not unnamed[tag].fits(row, facts, ""))
        by_name = (rules[tag] for tag in rules.keys() - unnamed.keys() - label.tags)
        found.update(rule.tag for rule in by_name if rule.fits(row, facts, label.name))
    return dict(sorted(found.items()))


def _tags_in(text: str) -> tuple[str, ...]:
    """Return the tags that a text lists, which commas separate."""
    tags = dict.fromkeys(map(check_tag, text.split(",")))
    if len(tags) > MAX_TAGS:
        raise ConfigError(f"more than {MAX_TAGS} tags are asked for", "no device has so many")
    return tuple(tags)


def _text(text: str) -> str:
    if not 0 < len(text) <= MAX_TEXT or not text.isprintable():
        raise ConfigError(f"text '{text[:32]}' is nothing to look for", f"use up to {MAX_TEXT} printable characters")
    return text


def _board(name: str) -> str:
    if not BOARD.fullmatch(name):
        raise ConfigError(f"board '{name[:32]}' is no name of a board", "name it as otaseal devices show does")
    return name


def _since(text: str) -> float:
    if not re.fullmatch(SINCE, text):
        raise ConfigError(f"since '{text[:32]}' is no time", "give seconds since 1970")
    return float(text)


def _flagged(text: str) -> bool:
    if text not in FLAGS:
        raise ConfigError(f"'{text[:32]}' is neither 0 nor 1", "say 1 for those devices, 0 for the others")
    return FLAGS[text]


def _one_of(what: str, names: Iterable[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ConfigError(f"{what} '{text[:32]}' is unknown", f"say one of {', '.join(names)}")
        return text

    return read


_READ: Mapping[str, Callable[[str], Any]] = {
    "channel": lambda text: check_name(text, "channel"),
    "state": _one_of("state", STATES),
    "version": check_version,
    "board": _board,
    "tag": _tags_in,
    "answered": _one_of("answer", REASONS),
    "text": _text,
    **dict.fromkeys(("late", "no_room", "pinned"), _flagged),
    "since": _since,
}
_NAMES = {"versions": VERSION, "boards": BOARD}
"""What the list can be asked for, where devices say what they like."""


def _named(found: Counter[tuple[str, str]], kind: str, most: int) -> dict[str, int]:
    """Return the counts of a kind that the list can be asked for."""
    is_name = _NAMES[kind].fullmatch if kind in _NAMES else bool
    named = Counter({name: count for (one, name), count in found.items() if one == kind and name and is_name(name)})
    return dict(sorted(named.most_common(most or None)))


def _said(labels: Mapping[str, Label], text: str) -> list[str]:
    wanted = text.casefold()
    return [device for device, label in labels.items() if wanted in f"{label.name}\n{label.note}".casefold()]


def _flag(wanted: bool | None, part: Condition) -> Condition:
    return ANY if wanted is None else part if wanted else negated(part)
