"""What operators say of devices: a name, a note, tags, and whether a device stays with what it runs (`pinned`).

Promises, not telemetry: a label is durable when it is set, is in backups, and is there before the device is seen and
after its row is gone. It belongs to a chip: by whatever a device proves its name, and whether it does, the label of its
MAC address is the same. All of them are in memory, because every request asks whether its device is pinned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from ..names import TAG
from ..pki.profile import MAC_ADDRESS
from ..release.evidence import DEVICE_PREFIXES
from . import tag_rules
from .device_rows import MAX_CLAIM, change_name, changed_key
from .selection import CHIP_PREFIX, NO_FACTS, Condition, Facts, Match, any_of, is_named
from .sql import upsert
from .tag_rules import TagRule, TagRules

if TYPE_CHECKING:
    from .device_rows import Device
    from .sql import Tables, Transaction

MAX_LABELS = 90_000
"""Of all products: as many devices as there are places which no newcomer takes (`device_table`)."""
MAX_NAME, MAX_NOTE = 64, 500
"""Characters."""
MAX_TAGS = 16
"""Of one device."""
MAX_TAGS_OF_PRODUCT = 200
MANY = 100
"""From so many changed labels on it is cheaper to read all."""

TABLES = {
    "labels": """CREATE TABLE IF NOT EXISTS labels (product, device, name, note, tags, pinned,
    PRIMARY KEY (product, device)) WITHOUT ROWID""",
    **tag_rules.TABLES,
}
RULES = ""
"""In place of a device's name where servers are told that rules have changed."""


class Label(NamedTuple):
    """What operators say of one device."""

    name: str = ""
    note: str = ""
    tags: frozenset[str] = frozenset()
    pinned: bool = False


NO_LABEL = Label()
Key = tuple[str, str]
"""A product, and one of its devices, by `chip_of`."""
Edit = Callable[[Label], Label]
_COLUMNS = ", ".join(Label._fields)
_SELECT = f"SELECT product, device, {_COLUMNS} FROM labels"  # noqa: S608 - our own names
_PUT = upsert("labels", ("product", "device"), Label._fields)
_DROP = "DELETE FROM labels WHERE product = ? AND device = ?"


class Labels:
    """The labels of a store. Safe in threads.

    Several processes may have them: each `tell`s the others which it has changed, and calls `apply` when it is told.
    """

    def __init__(
        self,
        tables: Tables,
        tell: Callable[[Transaction, Iterable[str]], None] = lambda transaction, names: None,
    ) -> None:
        """Read all labels; raises as `Tables.query`."""
        self._tables = tables
        self._tell = tell
        self._lock = threading.RLock()
        self._labels: dict[Key, Label] = {}
        self._pinned: frozenset[Key] = frozenset()
        self._tagged: dict[Key, frozenset[str]] = {}
        """Devices by product and tag."""
        self.rules = TagRules(tables, lambda transaction: tell(transaction, (RULES,)))
        self.facts: Callable[[str], Facts] = lambda product: NO_FACTS
        """Returns what the releases of a product tell of devices, to which rules refer."""
        self.load()

    def load(self) -> None:
        """Read all labels and rules anew; raises as `Tables.query`."""
        self.rules.load()
        with self._lock:
            self._take({(product, device): _label(*values) for product, device, *values in self._tables.query(_SELECT)})

    def apply(self, names: Iterable[str]) -> None:
        """Read the labels anew that another process has changed; raises as `Tables.query`."""
        told = set(names)
        if RULES in told:
            self.rules.load()
        keys = [changed_key(name) for name in told - {RULES}]
        if len(keys) > MANY:
            self.load()
            return
        with self._lock:
            self._take({**self._labels, **{key: self._read(key) for key in keys}})

    def get(self, product: str, device: str) -> Label:
        """Return what is said of a device, NO_LABEL where that is nothing."""
        return self._labels.get((product, chip_of(device)), NO_LABEL)

    def is_pinned(self, product: str, device: str | None) -> bool:
        """Return whether a device gets no new release; never so of one without a name."""
        pinned = self._pinned
        return bool(pinned) and device is not None and (product, chip_of(device)) in pinned

    def of(self, product: str) -> dict[str, Label]:
        """Return all labels of a product, by the device's name as `chip_of` has it."""
        labels = self._labels  # which is replaced as a whole, and never changed
        return {device: label for (owner, device), label in labels.items() if owner == product}

    def pinned(self, product: str) -> list[str]:
        """Return the devices of a product that are pinned, as `chip_of` has them."""
        return [device for owner, device in self._pinned if owner == product]

    def keys(self) -> tuple[Key, ...]:
        """Return the devices that have a label."""
        return tuple(self._labels)

    def tagged(self, product: str, tag: str) -> frozenset[str]:
        """Return the devices that have a tag by hand, by their names as `chip_of` has them."""
        return self._tagged.get((product, tag), frozenset())

    def tags(self, product: str) -> list[str]:
        """Return the tags that devices of a product have by hand or may have by rule."""
        return sorted({*self.rules.of(product), *(tag for owner, tag in self._tagged if owner == product)})

    def tags_of(self, product: str, device: str, row: Device | None) -> frozenset[str]:
        """Return the tags of a device: those by hand, and those by rule where a `row` is known of it."""
        label, rules = self.get(product, device), self.rules.of(product)
        if not rules or row is None:
            return label.tags
        facts = self.facts(product)
        return label.tags | {tag for tag, rule in rules.items() if rule.fits(row, facts, label.name)}

    def has_tag(self, product: str, tag: str) -> Condition:
        """Return the condition that a device of a product has a tag, by hand or by rule."""
        rule = self.rules.of(product).get(tag)
        by_hand = is_named(self.tagged(product, tag))
        return by_hand if rule is None else any_of(by_hand, self.by_rule(product, rule))

    def by_rule(self, product: str, rule: TagRule) -> Condition:
        """Return the condition that a rule gives a device of a product its tag."""
        return rule.condition(self.facts(product), lambda match: is_named(self.named(product, match)))

    def named(self, product: str, match: Match) -> list[str]:
        """Return the devices whose name fits, as `chip_of` has them."""
        return [device for device, label in self.of(product).items() if match.fits(label.name)]

    def set(self, product: str, device: str, label: Label) -> None:
        """Replace the label of a device; raises as `change`."""
        self.change(product, {device: lambda before: label})

    def change(self, product: str, edits: Mapping[str, Edit]) -> dict[str, Label]:
        """Edit the labels of devices, all or none, and return them by device; durable on return.

        Each edit gets the label as it is stored, whichever server wrote it. Raises InputError for what cannot be said,
        or where there is no room; else as `Tables.transaction`.
        """
        edits_by_key = {(product, checked_device(device)): edit for device, edit in edits.items()}
        with self._lock, self._tables.transaction() as transaction:
            before = self._stored(edits_by_key)
            after = {key: checked(edit(before.get(key, NO_LABEL))) for key, edit in edits_by_key.items()}
            labels = _without_empty({**self._labels, **before, **after})
            _require_room(labels, product)
            transaction.executemany(_DROP, [key for key, label in after.items() if label == NO_LABEL])
            said = [(*key, *_values(label)) for key, label in after.items() if label != NO_LABEL]
            transaction.executemany(_PUT, said)
            self._tell(transaction, [change_name(key) for key in after])
        with self._lock:
            self._take({**self._labels, **after})
        return {device: label for (_, device), label in after.items()}

    def _stored(self, keys: Iterable[Key]) -> dict[Key, Label]:
        wanted = set(keys)
        if len(wanted) <= MANY:
            return {key: self._read(key) for key in wanted}
        rows = self._tables.query(_SELECT)
        return {(product, device): _label(*values) for product, device, *values in rows}

    def _read(self, key: Key) -> Label:
        rows = self._tables.query(f"SELECT {_COLUMNS} FROM labels WHERE product = ? AND device = ?", key)  # noqa: S608
        return _label(*rows[0]) if rows else NO_LABEL

    def _take(self, labels: Mapping[Key, Label]) -> None:
        self._labels = _without_empty(labels)
        self._pinned = frozenset(key for key, label in self._labels.items() if label.pinned)
        tagged: dict[Key, set[str]] = {}
        for (product, device), label in self._labels.items():
            for tag in label.tags:
                tagged.setdefault((product, tag), set()).add(device)
        self._tagged = {key: frozenset(devices) for key, devices in tagged.items()}


def chip_of(device: str) -> str:
    """Return the name under which the label of a device is kept: that of its MAC address, if it is named by one."""
    if device.startswith(CHIP_PREFIX):
        return device
    address = device.partition(":")[2]
    return CHIP_PREFIX + address if MAC_ADDRESS.fullmatch(address) else device


def checked(label: Label) -> Label:
    """Return a label as it is kept, without blanks around its texts; raises InputError for what cannot be said."""
    name, note = label.name.strip(), label.note.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise InputError(f"'{name[:MAX_NAME]}' is no name for a device", f"use up to {MAX_NAME} printable characters")
    if len(note) > MAX_NOTE or not note.replace("\n", "").isprintable():
        raise InputError(
            f"'{note[:MAX_NAME]}' is no note on a device", f"use up to {MAX_NOTE} printable characters, and new lines"
        )
    for tag in label.tags:
        check_tag(tag)
    if len(label.tags) > MAX_TAGS:
        raise InputError(f"{len(label.tags)} tags on one device", f"{MAX_TAGS} are the most: take some off")
    return Label(name, note, label.tags, label.pinned)


def check_tag(tag: str) -> str:
    """Return a tag that follows the rule; raises InputError."""
    if not TAG.fullmatch(tag):
        raise InputError(
            f"'{tag[:MAX_NAME]}' is not a valid tag",
            "use up to 32 of a-z, 0-9, '.', '_' and '-', a letter or digit first",
        )
    return tag


def checked_device(device: str) -> str:
    """Return under which name the label of a device is kept; raises InputError for what is no name of a device."""
    name, address = chip_of(device), device.removeprefix(CHIP_PREFIX).upper()
    if MAC_ADDRESS.fullmatch(address):
        return CHIP_PREFIX + address
    if not name.startswith(DEVICE_PREFIXES) or len(name) > MAX_CLAIM or not name.isprintable():
        raise InputError(
            f"'{device[:MAX_NAME]}' is no name of a device",
            "give its MAC address, or name it as otaseal devices lists it",
        )
    return name


def _require_room(labels: Mapping[Key, Label], product: str) -> None:
    if len(labels) > MAX_LABELS:
        raise InputError(
            f"{len(labels)} devices would have a name, a note, a tag or a pin",
            f"{MAX_LABELS} are the most: otaseal devices forget takes that of a device that is gone",
        )
    tags = {tag for (owner, _), label in labels.items() if owner == product for tag in label.tags}
    if len(tags) > MAX_TAGS_OF_PRODUCT:
        raise InputError(f"{len(tags)} tags in '{product}'", f"{MAX_TAGS_OF_PRODUCT} are the most: use fewer")


def _without_empty(labels: Mapping[Key, Label]) -> dict[Key, Label]:
    return {key: label for key, label in labels.items() if label != NO_LABEL}


def _label(name: str, note: str, tags: str, pinned: int) -> Label:
    return Label(name, note, frozenset(tags.split()), bool(pinned))


def _values(label: Label) -> tuple[str, str, str, int]:
    return label.name, label.note, " ".join(sorted(label.tags)), int(label.pinned)
