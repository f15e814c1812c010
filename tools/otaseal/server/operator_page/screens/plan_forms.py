"""The forms that begin a rollout by a plan in a file: who would be in which wave is shown before it begins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from ....client import plans
from ....errors import ConfigError
from ....release.plan_fields import PlanFile, wave_fields
from ....release.records import check_version
from ...operator_api import channel_changes, rollout_status
from ...operator_api.channel_changes import Target
from ...operator_api.rollout_options import RolloutOptions
from ..forms import Asked, Field, Form
from ..page import Page, Visit, address
from .channel_forms import channel_page, consent_in, given_in, limit_fields, state_field, target_of, what_it_does

FILE_NAME = "rollout.toml"


async def choose(page: Page, visit: Visit) -> Asked:
    """Ask for a release and the file with the plan; then show what that would do, and ask whether to begin it."""
    target, version = target_of(page, visit), visit.given.get("version", "")
    releases = await asyncio.to_thread(page.context.catalog.releases, target.product)

    async def preview() -> Asked:
        if not visit.files.get("file"):
            raise ConfigError("there is no file", f"choose {FILE_NAME}")
        plan = plans.parse_plan(visit.files["file"], FILE_NAME)
        text = json.dumps([wave_fields(wave) for wave in plan.waves])
        RolloutOptions.parse({"waves": text})
        return Asked(await _plan_form(page, target, version, plan, text), channel_page(target), preview)

    versions = tuple(release.version for release in releases)
    note = f"{FILE_NAME}, as otaseal promote --plan takes it."
    fields = Field("version", "Release", "select", version, choices=versions), Field("file", "Plan", "file", note=note)
    question = f"By which plan is channel {target.channel} to get a release?"
    facts = ("What it would do is shown before it begins.",)
    form = Form("Plan", question, facts, "Show the plan", fields, to=_place(target))
    return Asked(form, channel_page(target), preview)


async def start(page: Page, visit: Visit) -> Asked:
    """Begin a plan that was shown; without one, as when the address is opened again, ask for it."""
    target, version, text = target_of(page, visit), visit.given.get("version", ""), visit.given.get("waves", "")
    if not text:
        return await choose(page, visit)
    plan = PlanFile(RolloutOptions.parse({"waves": text}).waves or ())

    async def change() -> object:
        given = {name: value for name, value in given_in(visit).items() if name != "percent"}
        options = RolloutOptions.parse({**given, "waves": text})
        return await channel_changes.promote(page.context, target, check_version(version), options, consent_in(visit))

    return Asked(await _plan_form(page, target, version, plan, text), channel_page(target), change)


async def _plan_form(page: Page, target: Target, version: str, plan: PlanFile, text: str) -> Form:
    """Return the form that begins a plan, which it carries as the `text` of its waves in JSON."""
    product, channel, *_ = target
    facts, consents = await what_it_does(page, target, check_version(version))
    shown = await asyncio.to_thread(rollout_status.preview, page.context, product, channel, plan.waves)
    limits = limit_fields(page.context.catalog.channel(product, channel), plan.max_failed, plan.patience)
    return Form(
        "Plan",
        f"Give {version} to the devices of channel {channel} by this plan?",
        (*facts, *_sentences(plans.preview_lines(shown))),
        f"Begin the rollout of {version}",
        (Field.hidden("version", version), Field.hidden("waves", text), state_field(page, target), *limits, *consents),
        to=f"{_place(target)}/start",
    )


def _sentences(lines: Iterable[str]) -> list[str]:
    """Return lines for a terminal with each that goes on, which is indented, behind the one before."""
    said: list[str] = []
    for line in lines:
        if line.startswith(" "):
            said[-1] += f"; {line.strip()}"
        else:
            said.append(line[0].upper() + line[1:])
    return [f"{one}." for one in said]


def _place(target: Target) -> str:
    return address(target.product, "channels", target.channel, "plan")
