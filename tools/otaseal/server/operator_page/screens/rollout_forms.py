"""The forms that stop a rollout, let it go on, and let its next wave begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from ....errors import NotFoundError
from ...operator_api import rollouts
from ...operator_api.channel_changes import Target
from ...operator_api.handlers.context import OperatorContext
from ..forms import Asked, Field, Form
from ..page import Page, Visit
from .channel_forms import channel_page, state_field, target_of

NOW = Field(
    "now",
    "Begin it at once, whatever else it waits for",
    "check",
    note="Without this it begins when its time and its devices' answers are there, too.",
)


class _Change(NamedTuple):
    form: Form
    run: Callable[[OperatorContext, Target, Visit], Awaitable[object]]


def _approve(context: OperatorContext, target: Target, visit: Visit) -> Awaitable[object]:
    return rollouts.approve(context, target, at_once="now" in visit.form)


CHANGES = {
    "pause": _Change(
        Form(
            "Pause",
            "Pause the rollout?",
            ("Who has the release keeps it.", "Nobody else gets it until you let it go on."),
            "Pause",
        ),
        lambda context, target, visit: rollouts.pause(context, target),
    ),
    "resume": _Change(
        Form("Go on", "Let the rollout go on?", ("The devices of the waves that have begun get it again.",), "Go on"),
        lambda context, target, visit: rollouts.resume(context, target),
    ),
    "halt": _Change(
        Form(
            "Halt",
            "Halt the rollout?",
            (
                "Nobody who has it not gets the release.",
                "It counts as one that failed, and is nothing to roll back to, until somebody lets it go on.",
            ),
            "Halt",
            danger=True,
        ),
        lambda context, target, visit: rollouts.halt(context, target),
    ),
    "approve": _Change(
        Form("Approve", "Approve of the next wave?", ("The audit log says who did.",), "Approve", (NOW,)), _approve
    ),
}


async def change(page: Page, visit: Visit) -> Asked:
    """Ask before a rollout is changed, and change it."""
    target, change = target_of(page, visit), CHANGES.get(visit.request.path_params["change"])
    if change is None:
        raise NotFoundError("there is no such page", "go back to the channel")
    page.channel(visit)
    form = replace(change.form, fields=(state_field(page, target), *change.form.fields))
    return Asked(form, channel_page(target), lambda: change.run(page.context, target, visit))
