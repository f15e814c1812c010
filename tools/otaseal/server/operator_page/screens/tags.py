"""The tags of a product: who has them, the rules by which devices have one, and a file of names and tags."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ....errors import ConfigError
from ....pki.scope import ANY
from ....store.tag_rules import PARTS, TagRule
from ...operator_api import label_changes
from ..forms import Asked, Field, Form
from ..page import Page, Visit, address

if TYPE_CHECKING:
    from starlette.responses import Response

RULE = (
    "Those that fit all of it, by what they report at the time: * stands for anything, ? for one character.",
    "A rule for the same tag is replaced.",
)
IMPORT = Form(
    "Import names and tags",
    "Import names, tags and notes from a file?",
    (
        "CSV in UTF-8 with a first line device,name,tags,note, or some of these; tags apart by blanks.",
        "A field that is empty leaves what was said before. All of the file is taken, or nothing.",
    ),
    "Import",
    (Field("file", "CSV file", "file"),),
)
LABELS = {
    "tag": "Tag",
    "board": "Board",
    "chip": "Chip",
    "version": "Runs the version",
    "channel": "Channel",
    "name": "Name",
}


async def show(page: Page, visit: Visit) -> Response:
    """Return the tags with how many devices have each, and the rules."""
    product = page.product(visit)
    counts = await asyncio.to_thread(page.counts, product)
    rules = page.context.fleet.labels.rules.of(product)
    found = [(tag, count, _words(rules.get(tag))) for tag, count in counts["tags"].items()]
    return page.show(visit, "tags.html", title="Tags", found=found, may_all=visit.caller.covers(product, ANY))


async def set_rule(page: Page, visit: Visit) -> Asked:
    """Ask for a rule, that which there is for a `tag`; let all devices that fit have the tag."""
    product = _changed(page, visit)
    before = page.context.fleet.labels.rules.of(product).get(visit.given.get("tag", ""), TagRule(""))

    async def change() -> object:
        rule = TagRule(**{name: visit.form.get(name, "").strip() for name in TagRule._fields})
        return await label_changes.set_rule(page.context, visit.caller, product, rule)

    fields = [Field(part, LABELS[part], value=getattr(before, part)) for part in TagRule._fields]
    form = Form("Rule for a tag", "Which devices are to have a tag?", RULE, "Save the rule", tuple(fields))
    return Asked(form, address(product, "tags"), change)


async def drop_rule(page: Page, visit: Visit) -> Asked:
    """Ask before a rule is removed, and remove it."""
    product, tag = _changed(page, visit), visit.given.get("tag", "")

    async def change() -> object:
        return await label_changes.drop_rule(page.context, visit.caller, product, tag)

    facts, fields = ("Who has the tag by hand keeps it.",), (Field.hidden("tag", tag),)
    form = Form("Remove a rule", f"Remove the rule for the tag {tag}?", facts, "Remove the rule", fields)
    return Asked(form, address(product, "tags"), change)


async def import_file(page: Page, visit: Visit) -> Asked:
    """Ask for a file of names, tags and notes, and take it."""
    product = _changed(page, visit)

    async def change() -> object:
        if not visit.files.get("file"):
            raise ConfigError("there is no file", "choose a CSV file")
        return await label_changes.import_csv(page.context, visit.caller, product, visit.files["file"])

    return Asked(IMPORT, address(product, "tags"), change)


def _changed(page: Page, visit: Visit) -> str:
    """Return the product in the path, for who may change all of it; raises as `Page.product`."""
    product = page.product(visit)
    visit.caller.require(product, ANY)
    return product


def _words(rule: TagRule | None) -> str:
    """Return in words whom a rule means, "" without one."""
    globs = {} if rule is None else {LABELS[part]: getattr(rule, part) for part in PARTS}
    return ", ".join(f"{label.lower()} {glob}" for label, glob in globs.items() if glob)
