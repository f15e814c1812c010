"""What operators say of devices: names, notes, tags, pins, and rules for tags; for API and page alike.

One device needs the right to its channel; a file of many, and a rule, that to the whole product. Each is in the audit
log before it happens.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import InputError
from ...pki.profile import MAC_ADDRESS
from ...pki.scope import ANY
from ...store.labels import Edit, Label, check_tag, checked, checked_device, chip_of
from ...store.selection import CHIP_PREFIX, is_named
from ...store.tag_rules import TagRule
from . import device_changes
from .auth import Caller
from .handlers.context import OperatorContext

MAX_CSV = 16 * 1024 * 1024
MAX_ROWS = 50_000
NOTHING = "nothing was imported"
COLUMNS = ("device", "name", "tags", "note")


@dataclass(frozen=True)
class LabelChange:
    """What an operator says of a device; None and nothing leave what was said before."""

    name: str | None = None
    note: str | None = None
    tag: frozenset[str] = frozenset()
    untag: frozenset[str] = frozenset()
    pinned: bool | None = None

    def edit(self, before: Label) -> Label:
        """Return what is said then."""
        return Label(
            before.name if self.name is None else self.name,
            before.note if self.note is None else self.note,
            (before.tags | self.tag) - self.untag,
            before.pinned if self.pinned is None else self.pinned,
        )

    def as_event(self) -> dict[str, Any]:
        """Return it as the audit log has it."""
        said = {"name": self.name, "note": self.note, "pinned": self.pinned}
        tags = {"tag": sorted(self.tag), "untag": sorted(self.untag)}
        return {name: value for name, value in (said | tags).items() if value not in (None, [])}


async def label(
    context: OperatorContext, caller: Caller, product: str, device: str, said: LabelChange
) -> dict[str, Any]:
    """Say something of a device, which may not have been seen yet; return all that is said of it.

    Raises InputError, Refused.
    """
    if not said.as_event():
        raise InputError(f"nothing is said of '{device}'", "give a name, a note, a tag or whether it is pinned")
    for tag in said.tag | said.untag:
        check_tag(tag)
    checked(said.edit(Label()))
    named = checked_device(device)
    changed, who = await device_changes.begin(context, caller, product, device)
    event = {"event": "label", **changed, **said.as_event(), "by": who}
    await asyncio.to_thread(context.catalog.store.record_event, event)
    labels = await asyncio.to_thread(context.fleet.labels.change, product, {device: said.edit})
    context.changes.tell("devices", product)
    context.log("label", product, changed["channel"] or "", who, device=device, **said.as_event())
    return {**changed, **as_json(labels[named])}


class Foreseen(NamedTuple):
    """What a file would do: the devices that it names, those of which it says something else, those never seen."""

    devices: int
    changed: int
    unseen: int


async def foresee_csv(context: OperatorContext, product: str, data: bytes) -> Foreseen:
    """Return what `import_csv` would do; raises InputError for what it does not take, SystemFaultError."""
    fleet = context.fleet

    def read() -> Foreseen:
        edits, before = read_csv(data), fleet.labels.of(product)
        changed = sum(edit(known := before.get(device, Label())) != known for device, edit in edits.items())
        where = is_named(edits)
        sql = f"SELECT device FROM devices WHERE product = ? AND {where.sql}"  # noqa: S608 - our own words
        seen = {chip_of(device) for (device,) in fleet.devices.query(sql, (product, *where.values))}
        return Foreseen(len(edits), changed, len(edits.keys() - seen))

    return await asyncio.to_thread(read)


async def import_csv(context: OperatorContext, caller: Caller, product: str, data: bytes) -> dict[str, Any]:
    """Take the names, tags and notes of many devices from a CSV file, all or nothing; raises as `label`."""
    who = caller.require(product, ANY)
    edits = await asyncio.to_thread(read_csv, data)
    event = {"event": "import", "product": product, "devices": len(edits), "by": who}
    await asyncio.to_thread(context.catalog.store.record_event, event)
    await asyncio.to_thread(context.fleet.labels.change, product, edits)
    context.changes.tell("devices", product)
    context.log("import", product, "", who, devices=len(edits))
    return {"product": product, "devices": len(edits)}


async def set_rule(context: OperatorContext, caller: Caller, product: str, rule: TagRule) -> dict[str, Any]:
    """Let all devices that fit have a tag; raises InputError, Refused."""
    check_tag(rule.tag)
    return await _rule(context, caller, product, rule, lambda: context.fleet.labels.rules.set(product, rule))


async def drop_rule(context: OperatorContext, caller: Caller, product: str, tag: str) -> dict[str, Any]:
    """Remove the rule for a tag; raises NotFoundError, Refused."""
    rules = context.fleet.labels.rules
    return await _rule(context, caller, product, TagRule(tag), lambda: rules.drop(product, tag))


async def _rule(
    context: OperatorContext, caller: Caller, product: str, rule: TagRule, change: Callable[[], object]
) -> dict[str, Any]:
    who, globs = caller.require(product, ANY), rule._asdict()
    tag, parts = globs.pop("tag"), {name: glob for name, glob in globs.items() if glob}
    # within a field: patterns for a channel and a version are not the line's own
    event = {"event": "tag-rule", "product": product, "tag": tag, **({"rule": parts} if parts else {}), "by": who}
    await asyncio.to_thread(context.catalog.store.record_event, event)
    await asyncio.to_thread(change)
    context.log("tag-rule", product, "", who, tag=rule.tag)
    return rules_of(context, product)


def rules_of(context: OperatorContext, product: str) -> dict[str, Any]:
    """Return the rules for tags of a product, as JSON."""
    rules = context.fleet.labels.rules.of(product)
    return {"product": product, "rules": [rule._asdict() for rule in rules.values()]}


def as_json(said: Label) -> dict[str, Any]:
    """Return what is said of a device by hand, as JSON."""
    return {**said._asdict(), "tags": sorted(said.tags)}


def read_csv(data: bytes) -> Mapping[str, Edit]:
    """Return what a CSV file says of devices, by device; an empty field leaves what was said before.

    Its first line names the columns: device, and name, tags (separated by blanks) and note, or some of these. Raises
    InputError with the number of the line.
    """
    reader = csv.reader(io.StringIO(_decoded(data), newline=""), strict=True)
    edits: dict[str, Edit] = {}
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        if "device" not in columns or not set(columns) <= set(COLUMNS) or len(set(columns)) < len(columns):
            raise InputError(
                f"line 1: '{','.join(columns)[:64]}' does not name the columns",
                f"begin with a line '{','.join(COLUMNS)}'",
            )
        for fields in reader:
            if fields:
                device, edit = _read_row(dict(zip(columns, fields, strict=False)), len(columns) - len(fields))
                if device in edits:
                    raise InputError(f"'{device}' is there twice", "name each device once")
                if len(edits) == MAX_ROWS:
                    raise InputError(f"more than {MAX_ROWS} devices", "import them in several files")
                edits[device] = edit
    except InputError as error:
        where = "" if error.message.startswith("line ") else f"line {reader.line_num}: "
        raise InputError(f"{where}{error.message}", f"{error.hint}; {NOTHING}") from error
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}", f"save it as CSV with commas; {NOTHING}") from error
    return edits


def _read_row(row: Mapping[str, str], missing: int) -> tuple[str, Edit]:
    if missing:
        raise InputError(
            f"{'too few' if missing > 0 else 'too many'} fields", "give as many as the first line names columns"
        )
    name = row["device"].strip()
    address = name.upper().replace("-", ":")
    device = checked_device(CHIP_PREFIX + address if MAC_ADDRESS.fullmatch(address) else name)
    said = LabelChange(
        row.get("name", "").strip() or None,
        row.get("note", "").strip() or None,
        frozenset(map(check_tag, row.get("tags", "").split())),
    )
    checked(said.edit(Label()))
    return device, said.edit


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data[: error.start].count(b"\n")
        raise InputError(f"line {line}: that is not UTF-8", f"save the file as CSV in UTF-8; {NOTHING}") from error
