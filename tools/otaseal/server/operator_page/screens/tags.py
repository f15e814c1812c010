"""The tags of a product: who has them, the rules by which devices have one, and a file of names and tags."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import ConfigError, counted
from ....pki.scope import ANY
from ....store.tag_rules import PARTS, TagRule
from ...operator_api import label_changes
from ...operator_api.uploads import Refused
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
        "What it would change is shown before.",
    ),
    "Show what it changes",
    (Field("file", "CSV file", "file"),),
)
MAX_FILE = 700 * 1024
"""Bytes of a file, which the form that confirms it carries within one field; `otaseal devices import` takes more."""
MAX_CARRIED = 1024 * 1024
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
    """Ask for a file of names, tags and notes; then show what it would change, and ask whether to take it."""
    product = _changed(page, visit)

    async def preview() -> Asked:
        if not visit.files.get("file"):
            raise ConfigError("there is no file", "choose a CSV file")
        return await _confirmation(page, visit, product, visit.files["file"])

    return Asked(IMPORT, address(product, "tags"), preview)


async def take_file(page: Page, visit: Visit) -> Asked:
    """Take a file that was shown; without one, as when the address is opened again, ask for it."""
    product, carried = _changed(page, visit), visit.form.get("csv", "")
    if not carried:
        return await import_file(page, visit)
    try:
        data = base64.b64decode(carried, validate=True)
    except ValueError as error:
        raise Refused(400, "the form cannot be read", "use the forms of the page") from error
    asked = await _confirmation(page, visit, product, data)
    return replace(asked, change=lambda: label_changes.import_csv(page.context, visit.caller, product, data))


async def _confirmation(page: Page, visit: Visit, product: str, data: bytes) -> Asked:
    """Return the question whether to take a file, which its form carries; raises InputError for what is not taken."""
    found = await label_changes.foresee_csv(page.context, product, data)
    facts = [f"{counted(found.changed, 'device')} would be changed, of {found.devices} in the file."]
    if found.unseen:
        facts.append(f"{counted(found.unseen, 'device')} in it asked for nothing yet: a name may be mistyped.")
    form = Form(
        "Import names and tags",
        "Take names, tags and notes from this file?",
        tuple(facts),
        f"Change {counted(found.changed, 'device')}",
        (Field.hidden("csv", base64.b64encode(data).decode()),),
        to=address(product, "tags", "import", "start"),
        is_long=True,
    )
    return Asked(form, address(product, "tags"), lambda: import_file(page, visit))


def _changed(page: Page, visit: Visit) -> str:
    """Return the product in the path, for who may change all of it; raises as `Page.product`."""
    product = page.product(visit)
    visit.caller.require(product, ANY)
    return product


def _words(rule: TagRule | None) -> str:
    """Return in words whom a rule means, "" without one."""
    globs = {} if rule is None else {LABELS[part]: getattr(rule, part) for part in PARTS}
    return ", ".join(f"{label.lower()} {glob}" for label, glob in globs.items() if glob)
