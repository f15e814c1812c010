"""The forms that change what a channel gives out: another release, another share of the devices, the way back.

Each says first what it does to the devices that were seen, and asks for the same consent as the command line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from ....errors import counted
from ....names import check_name
from ....release import plan_fields
from ....release.channels import Channel
from ....release.notes import NO_NOTES, Notes
from ....release.records import check_version
from ....release.stranding import Consent, Effect
from ....release.waves import MAX_PATIENCE
from ...operator_api import channel_changes
from ...operator_api.channel_changes import Target
from ...operator_api.rollout_options import RolloutOptions
from ..forms import Asked, Field, Form
from ..page import Page, Visit, address

STATE = "generation"
LIMITS = ("percent", "max_failed", "patience")
RAMP = (
    Field("ramp", "Or in waves, each a larger share", note="As in 1,10,50,100: in place of the share above."),
    Field("soak", "Time between two waves", note="As in 90m, 2h or 1d."),
)


async def promote(page: Page, visit: Visit) -> Asked:
    """Ask which release a channel is to have, then for whom, and say what that does; point the channel at it."""
    target, version = target_of(page, visit), visit.given.get("version", "")

    async def change() -> object:
        options = RolloutOptions.parse(_in_waves(visit))
        return await channel_changes.promote(page.context, target, check_version(version), options, consent_in(visit))

    return Asked(await _promotion(page, target, version, visit.query), channel_page(target), change)


async def percent(page: Page, visit: Visit) -> Asked:
    """Ask to how many devices a release is to go, and set that; a halted rollout goes on."""
    target = target_of(page, visit)

    async def change() -> object:
        options = RolloutOptions.parse({"percent": None, **given_in(visit)})
        aside = "set_aside" in visit.form
        return await channel_changes.set_percent(page.context, target, options, set_aside=aside)

    return Asked(_percentage(page, target, visit.query.get("percent")), channel_page(target), change)


async def rollback(page: Page, visit: Visit) -> Asked:
    """Ask before a channel goes back, and say whom that leaves behind; point it at what all its devices had."""
    target = target_of(page, visit)

    async def change() -> object:
        return await channel_changes.roll_back(page.context, target, consent_in(visit))

    return Asked(await _return(page, target), channel_page(target), change)


async def _promotion(page: Page, target: Target, version: str, query: Mapping[str, str]) -> Form:
    """Return the form that gives a channel a version: one that asks for the version first, where there is none."""
    catalog, (product, channel, *_) = page.context.catalog, target
    if not version:
        versions = tuple(release.version for release in await asyncio.to_thread(catalog.releases, product))
        choice = Field("version", "Release", "select", choices=versions)
        question = f"Which release is channel {channel} to give out?"
        return Form("Promote", question, (), "Go on", (choice,), is_query=True)
    facts, consents = await what_it_does(page, target, check_version(version))
    before = catalog.channel(product, channel)
    share = str(before.pointer.percent) if before and before.pointer.version == version else "10"
    shares = (_share(query.get("percent", share)), *RAMP, *limit_fields(before))
    fields = (Field.hidden("version", version), state_field(page, target), *shares, *consents)
    question = f"Give {version} to the devices of channel {channel}?"
    return Form("Promote", question, facts, f"Give out {version}", fields)


async def what_it_does(page: Page, target: Target, version: str) -> tuple[tuple[str, ...], tuple[Field, ...]]:
    """Return in words what it does to give a channel a version, and the consents that takes; raises NotFoundError."""
    context, (product, channel, *_) = page.context, target
    release, before = context.catalog.release(product, version), context.catalog.channel(product, channel)
    effect = await asyncio.to_thread(context.fleet.effect, release, channel, before)
    said = (await asyncio.to_thread(context.notes.of, product)).get(version, NO_NOTES)
    now = f"It gives out {before.pointer.version} now." if before else "The channel is new."
    return (now, *_purpose(said), *_facts(effect)), _consents(effect)


def _percentage(page: Page, target: Target, percent: str | None) -> Form:
    before = page.context.channel_state(target.product, target.channel)
    pointer = before.pointer
    now = "Its rollout was halted, and goes on." if pointer.halted else f"It goes to {pointer.percent} % now."
    share = _share(percent or str(pointer.percent))
    fields: tuple[Field, ...] = (state_field(page, target), share, *limit_fields(before))
    if pointer.halted:
        note = "Only if they are not to be believed: the audit log says who decided that."
        fields = (*fields, Field("set_aside", "Count the failures so far no more", "check", note=note))
    question = f"To how many devices of channel {target.channel} is {pointer.version} to go?"
    return Form("Share of the devices", question, (now,), "Set the share", fields)


async def _return(page: Page, target: Target) -> Form:
    """Return the form that takes a channel back, with what that does."""
    context, (product, channel, *_) = page.context, target
    before = context.channel_state(product, channel)
    release = None if before.previous is None else context.catalog.sound(product, before.previous)
    if release is None:
        none = "There is no version that all devices of this channel had before."
        return Form("Roll back", f"Roll channel {channel} back?", (none,), "Roll back", danger=True)
    effect = await asyncio.to_thread(context.fleet.effect, release, channel, before)
    count = sum((await asyncio.to_thread(context.fleet.versions, product, channel)).values())
    facts = (
        f"All {counted(count, 'device')} of the channel get {release.version} when they ask next.",
        f"{before.pointer.version} is given to nobody any more.",
        *(_facts(effect) or ("Nobody seen is left behind.",)),
    )
    question = f"Roll channel {channel} back from {before.pointer.version} to {release.version}?"
    fields = (state_field(page, target), *_consents(effect))
    return Form("Roll back", question, facts, f"Roll back to {release.version}", fields, danger=True)


def _purpose(said: Notes) -> tuple[str, ...]:
    """Return in words what a release is for, nothing where that is not said."""
    what = f"It is a release for {said.severity}." if said.severity == "security" else f"It is a {said.severity}."
    closes = f"It closes {said.cves}." if said.cves else ""
    return tuple(filter(None, (what if said.severity else "", closes, said.notes)))


def _facts(effect: Effect) -> tuple[str, ...]:
    """Return in words what a release does to the devices that were seen, nothing where all take it."""
    facts = [
        f"{counted(count, 'device')} seen {why}, and would get no firmware any more."
        for count, why in (
            (effect.by_key, "do not have the key that signed it"),
            (effect.by_counter, "have a higher security counter"),
            (effect.by_board, "are of a board for which it has no image"),
        )
        if count
    ]
    if effect.raised is not None:
        before, after = effect.raised
        facts.append(f"The security counter rises from {before} to {after}: no device that takes it goes back below.")
    return (*facts, *(f"{warning[0].upper()}{warning[1:]}." for warning in effect.warnings()))


def _consents(effect: Effect) -> tuple[Field, ...]:
    asked = []
    if effect.stranded:
        asked.append(Field("strand_devices", f"Leave {counted(effect.stranded, 'device')} behind", "check"))
    if effect.raised is not None:
        asked.append(Field("raise_counter", "Raise the security counter for good", "check"))
    return tuple(asked)


def _share(percent: str) -> Field:
    return Field("percent", "Share of the devices, in per cent", "number", percent, least=0, most=100)


def limit_fields(
    before: Channel | None, max_failed: int | None = None, patience: int | None = None
) -> tuple[Field, Field]:
    """Return the fields of what a rollout halts by: what is given, else as in the rollout before."""
    pointer = None if before is None else before.pointer
    failed = max_failed if max_failed is not None or pointer is None else pointer.max_failed
    minutes = patience if patience is not None or pointer is None else pointer.patience
    shown = ["" if number is None else str(number) for number in (failed, minutes)]
    silence = "Longer than the longest pause between two polls."
    return (
        Field("max_failed", "Halt above this share of failures, in per cent", "number", shown[0], least=0, most=100),
        Field(
            "patience", "Minutes until silence is a failure", "number", shown[1], silence, least=1, most=MAX_PATIENCE
        ),
    )


def target_of(page: Page, visit: Visit) -> Target:
    """Return the channel in the path, for who may change it; raises Refused, InputError, NotFoundError."""
    product, channel = page.product(visit), check_name(visit.request.path_params["channel"], "channel")
    seen = visit.form.get(STATE)
    generation = None if seen is None else int(seen) if re.fullmatch(r"[0-9]{1,9}", seen) else -1
    return Target(product, channel, visit.caller.require(product, channel), generation)


def state_field(page: Page, target: Target) -> Field:
    """Return the field that says in which state a channel was shown: another one is not what somebody agreed to."""
    state = page.context.catalog.channel(target.product, target.channel)
    return Field.hidden(STATE, str(0 if state is None else state.generation))


def channel_page(target: Target) -> str:
    """Return the address of a channel."""
    return address(target.product, "channels", target.channel)


def given_in(visit: Visit) -> dict[str, object]:
    """Return the options in a form; a field that is empty is not given."""
    return {name: value.strip() for name in LIMITS if (value := visit.form.get(name, "")).strip()}


def _in_waves(visit: Visit) -> dict[str, object]:
    """Return the options in a form, with waves in place of the share where a ramp is given; raises ConfigError."""
    given, ramp = given_in(visit), visit.form.get("ramp", "").strip()
    if not ramp:
        return given
    waves = plan_fields.ramp(ramp.replace(" ", ""), visit.form.get("soak", "").strip() or "0")
    given.pop("percent", None)
    return {**given, "waves": [plan_fields.wave_fields(wave) for wave in waves]}


def consent_in(visit: Visit) -> Consent:
    """Return what a form agrees to."""
    return Consent("raise_counter" in visit.form, "strand_devices" in visit.form)
