"""In which waves a deployment goes out, and what the release is for, shown before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import files
from ..settings import Settings
from . import build

if TYPE_CHECKING:
    from ..client.client import Client
    from ..client.deployment import Admitted, Options


def wanted(env: build.Env, options: Settings, connected: Client, product: str) -> Options:
    """Return how the firmware is published, and print who will be in which wave; raises as `plans.read_plan`."""
    from ..client import plans
    from ..client.deployment import Options

    wanted = Options(options.channel)
    if options.rollout is None:
        return wanted
    plan = plans.read_plan(files.resolve_path(options.rollout, build.path(env, ".")))
    for line in plans.preview_lines(plans.preview(connected, product, options.channel, plan.waves)):
        print(f"otaseal: {line}")
    return wanted.with_plan(plan)


def say_purpose(connected: Client, admitted: Admitted) -> None:
    """Print what is said of a release that the server has already; raises as `Client.get`."""
    from ..client import purpose

    for line in purpose.of_deployment(connected, admitted, {}).lines():
        print(f"otaseal: {line}")
