"""`otaseal rollout`: where a rollout stands, what a plan would be, and what an operator does to one that runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import files
from ..client import plans
from ..client.client import Client
from ..errors import ConfigError
from ..release.channels import MAX_FAILED, PATIENCE
from ..release.plan_fields import PlanFile, ramp
from ..release.stranding import Consent
from ..release.waves import MAX_PATIENCE, Wave
from . import common, remote

PERCENT = common.number(0, 100, "is not a percentage")
DONE = {
    "pause": "paused: nobody gets it who has it not",
    "resume": "goes on",
    "halt": "HALTED",
    "approve": "approved: the next wave begins when the rest of its gate has passed",
    "grant": "gets it when it asks next",
}


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = remote.command(
        subparsers,
        "rollout",
        _rollout,
        example="otaseal rollout approve --channel stable --server https://update.local:8444 --product blink",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "preview", *DONE),
        default="show",
        help="preview shows what --plan or --ramp would be; grant gives the release to one device now",
    )
    parser.add_argument("device", nargs="?", help="for grant, as otaseal devices lists it")
    parser.add_argument("--now", action="store_true", help="for approve: begin the next wave, whatever its gate says")
    add_plan(parser)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say in which waves a release goes out."""
    parser.add_argument("--plan", type=common.path, metavar="FILE", help="rollout.toml, with the waves of the rollout")
    parser.add_argument("--ramp", metavar="PERCENTAGES", help="waves by share, as in 1,10,50,100")
    parser.add_argument("--soak", metavar="TIME", help="of --ramp: how old a wave is before the next, as in 2h")


def add_consent(parser: argparse.ArgumentParser) -> None:
    """Declare the options that agree to what a release does to devices for good."""
    parser.add_argument(
        "--raise-counter", action="store_true", help="even if its security counter is higher: devices never go back"
    )
    parser.add_argument(
        "--strand-devices", action="store_true", help="even if devices seen would refuse it: they are left behind"
    )


def consent(arguments: argparse.Namespace) -> Consent:
    """Return what the options agree to."""
    return Consent(raise_counter=arguments.raise_counter, strand_devices=arguments.strand_devices)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say when a rollout halts."""
    parser.add_argument(
        "--max-failed", type=common.number(0, 100, "is not a percentage of failures"), metavar="PERCENT",
        help=f"halt when more of the devices that took it do not come back with it; default: {MAX_FAILED}",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=common.number(1, MAX_PATIENCE, "is not a valid number of minutes"), metavar="MINUTES",
        help=f"when a silent device has not come back: longer than they pause between polls; default: {PATIENCE}",
    )  # fmt: skip


def plan_of(arguments: argparse.Namespace, default: Path | None = None) -> PlanFile | None:
    """Return the plan that the options name, or the file `default` has; None for none. Raises ConfigError."""
    given = [name for name in ("plan", "ramp", "percent") if getattr(arguments, name, None) is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)} contradict each other", "give one of them")
    if arguments.soak is not None and arguments.ramp is None:
        raise ConfigError("--soak is given, and no --ramp", "a plan says in each wave how long it soaks")
    if arguments.ramp is not None:
        return PlanFile(ramp(arguments.ramp, arguments.soak or "0"))
    path = arguments.plan or (None if given else default)
    return None if path is None else plans.read_plan(path)


def project_plan(arguments: argparse.Namespace) -> PlanFile | None:
    """Return the plan that the options name, or the project; raises ConfigError."""
    given, folder = remote.options(arguments).rollout, remote.folder(arguments) or Path()
    return plan_of(arguments, None if given is None else files.resolve_path(given, folder))


def show_plan(
    arguments: argparse.Namespace, connected: Client, product: str, channel: str, waves: tuple[Wave, ...]
) -> None:
    """Print who will be in which wave, and when, before it starts."""
    if waves and not arguments.json:
        print("\n".join(plans.preview_lines(plans.preview(connected, product, channel, waves))))


def limits(arguments: argparse.Namespace, plan: PlanFile | None) -> dict[str, int | None]:
    """Return what a rollout halts by: what an option says, else the plan."""
    planned = plan or PlanFile(())
    return {
        "max_failed": planned.max_failed if arguments.max_failed is None else arguments.max_failed,
        "patience": planned.patience if arguments.patience is None else arguments.patience,
    }


def _rollout(arguments: argparse.Namespace) -> int:
    action, plan = arguments.action, plan_of(arguments)
    _check(arguments, plan)
    connected, product, channel = remote.connect(arguments)
    if plan is not None:
        answer = plans.preview(connected, product, channel, plan.waves)
        return common.show(arguments, answer, *plans.preview_lines(answer))
    if action == "show":
        answer = connected.get(plans.rollout_path(product, channel))
        return common.show(arguments, answer, *plans.status_lines(answer))
    body = {"device": arguments.device} if action == "grant" else {"now": True} if arguments.now else {}
    answer = connected.post(plans.rollout_path(product, channel, action), body)
    what = "the next wave has begun" if arguments.now else DONE[action]
    who = f"{arguments.device} " if action == "grant" else ""
    return common.show(arguments, answer, f"channel  {channel}: {answer['channel']['version']}: {who}{what}")


def _check(arguments: argparse.Namespace, plan: PlanFile | None) -> None:
    """Raise ConfigError for options that are not for the action."""
    action = arguments.action
    if (action == "preview") is not (plan is not None):
        hint = "give --plan or --ramp" if plan is None else "otaseal deploy and promote begin it; preview shows it"
        raise ConfigError(f"'{action}' has {'a' if plan else 'no'} plan", hint)
    if (action == "grant") is not (arguments.device is not None):
        hint = "name it as otaseal devices lists it" if action == "grant" else "leave the device out"
        raise ConfigError(f"'{action}' has {'a' if arguments.device else 'no'} device", hint)
    if arguments.now and action != "approve":
        raise ConfigError(f"--now is not for '{action}'", "otaseal rollout approve --now begins the next wave")
