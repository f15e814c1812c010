"""`otaseal promote` and `rollback`: which of the published releases a channel gives out, and to whom."""

from __future__ import annotations

import argparse
from typing import Any

from ..client import purpose
from ..client.client import product_path
from ..errors import ConfigError
from ..release.plan_fields import wave_fields
from . import common, remote, rollout
from .release import channel_state


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    promote = remote.command(
        subparsers,
        "promote",
        _promote,
        example="otaseal promote beta --to stable --percent 10 --server https://update.local:8444 --product blink",
        channel="the same as --to; else OTASEAL_CHANNEL, else stable",
    )
    promote.add_argument("source", nargs="?", help="the channel whose release is taken")
    promote.add_argument("--to", metavar="CHANNEL", help="the channel that gets it; default: what --channel says")
    promote.add_argument("--version", help="take this release instead")
    promote.add_argument("--percent", type=rollout.PERCENT, help="of the devices; alone: continue a rollout")
    rollout.add_plan(promote)
    promote.add_argument(
        "--set-aside", action="store_true", help="the failures of the rollout so far do not count any more"
    )
    rollout.add_consent(promote)
    rollout.add_limits(promote)

    rollback = remote.command(
        subparsers,
        "rollback",
        _rollback,
        example="otaseal rollback --channel stable --server https://update.local:8444 --product blink",
    )
    rollout.add_consent(rollback)


def _promote(arguments: argparse.Namespace) -> int:
    plan = rollout.plan_of(arguments)
    connected, product, channel = remote.connect(arguments)
    target = _target(arguments, channel)
    sources = [source for source in (arguments.source, arguments.version) if source is not None]
    path, told = product_path(product, "channels", target), dict[str, Any]()
    if len(sources) > 1 or (not sources and arguments.percent is None):
        raise ConfigError("it is not clear what to promote", "name a channel, --version, or --percent alone")
    limits = rollout.limits(arguments, plan)
    given = {name: value for name, value in limits.items() if value is not None}
    consent = rollout.consent(arguments).given()
    if sources and arguments.set_aside:
        raise ConfigError("--set-aside is for the rollout that goes on", "leave it out, or give --percent alone")
    if not sources:
        if consent:
            what = " and ".join(f"--{option.replace('_', '-')}" for option in consent)
            raise ConfigError(f"{what} is for another release, and none is named", "leave it out, or name the release")
        aside = {"set_aside": True} if arguments.set_aside else {}
        path, asked = f"{path}/percent", {"percent": arguments.percent, **given, **aside}
    else:
        wanted = {"from": arguments.source} if arguments.source else {"version": arguments.version}
        share: dict[str, Any] = {"percent": 100 if arguments.percent is None else arguments.percent}
        what_for = purpose.of_release(connected, product, arguments.source, arguments.version)
        told = {"notes": what_for.as_json()}
        for line in () if arguments.json else what_for.lines():
            print(line)
        if plan is not None:
            share = {"waves": [wave_fields(wave) for wave in plan.waves]}
            rollout.show_plan(arguments, connected, product, target, plan.waves)
        path, asked = f"{path}/promote", {**wanted, **share, **given, **dict.fromkeys(consent, True)}
    with remote.interruptible(lambda: remote.published_state(connected, product, target)):
        answer = connected.post(path, asked)
    return _report(arguments, target, {**answer, **told})


def _target(arguments: argparse.Namespace, channel: str) -> str:
    if arguments.to and arguments.channel and arguments.to != arguments.channel:
        raise ConfigError(f"--to '{arguments.to}' and --channel '{arguments.channel}' differ", "give one of them")
    return str(arguments.to or channel)


def _rollback(arguments: argparse.Namespace) -> int:
    connected, product, channel = remote.connect(arguments)
    path = product_path(product, "channels", channel, "rollback")
    with remote.interruptible(lambda: remote.published_state(connected, product, channel)):
        answer = connected.post(path, dict.fromkeys(rollout.consent(arguments).given(), True))
    return _report(arguments, channel, answer)


def _report(arguments: argparse.Namespace, channel: str, answer: dict[str, Any]) -> int:
    line = f"channel  {channel}: {channel_state(answer['channel'])}, before: {answer['before'] or 'nothing'}"
    devices = (f"devices  {count} run {version}" for version, count in answer["devices"].items())
    return common.show(arguments, {"name": channel, **answer}, line, *devices)
