"""What the commands share that talk to an update server: which server, who asks, which product and channel.

Options say it, else environment variables, else the platformio.ini of a project: that of `--project`, or where one is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import runnable
from ..errors import ConfigError, OtasealError, one_line
from ..project import project
from ..project.config import INI_NAME
from ..settings import OPTIONS, Settings
from . import common

if TYPE_CHECKING:
    from ..client.client import Client
    from ..rehearsal import Report

SETTLE_SECONDS = 2.0
"""What a release may take to be published once the server has all of it."""


def command(
    subparsers: common.Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    example: str,
    summary: str = "",
    channel: str | None = "else OTASEAL_CHANNEL, else the project's, else stable",
) -> argparse.ArgumentParser:
    """Declare a command that talks to an update server, with the options that name it and say who asks.

    `channel` is the help of `--channel`; None where no channel is meant.
    """
    parser = common.command(subparsers, name, run, example=example, summary=summary)
    parser.add_argument("--project", type=common.path, metavar="DIR", help="whose options count; default: this folder")
    parser.add_argument("-e", "--env", metavar="NAME", help="of platformio.ini; default: what 'pio run' builds")
    parser.add_argument("--server", metavar="URL", help="https://host:port of its operators; else OTASEAL_SERVER")
    parser.add_argument("--product", help="else OTASEAL_PRODUCT")
    if channel is not None:
        parser.add_argument("--channel", help=channel)
    parser.add_argument(
        "--token-file", type=common.path, metavar="FILE", help="its first line is the token; else OTASEAL_TOKEN"
    )
    parser.add_argument(
        "--oidc", action="store_const", const="github", help="show the short-lived token of this GitHub Actions job"
    )
    parser.add_argument("--ca", type=common.path, metavar="FILE", help="the authority of the server; else the system's")
    parser.add_argument("--cert", type=common.path, metavar="FILE", help="an operator certificate, instead of a token")
    parser.add_argument("--cert-key", type=common.path, metavar="FILE", help="the private key of --cert")
    return parser


def connect(arguments: argparse.Namespace) -> tuple[Client, str, str]:
    """Return the client, the product and the channel, "stable" unless another is said; raises ConfigError."""
    from ..client import credentials

    given = options(arguments)
    connected = credentials.connect(given, folder(arguments) or Path(), os.environ)
    if given.product is None:
        raise ConfigError(
            "no product is named", "set custom_otaseal_product in platformio.ini, or OTASEAL_PRODUCT, or give --product"
        )
    return connected, given.product, given.channel


def folder(arguments: argparse.Namespace) -> Path | None:
    """Return the project whose options count, None outside of any."""
    if arguments.project is not None:
        return Path(arguments.project)
    return Path() if Path(INI_NAME).is_file() else None


def options(arguments: argparse.Namespace) -> Settings:
    """Return the options of the command line before those of the environment and of the project; raises ConfigError."""
    project_folder = folder(arguments)
    files = {"token_file": "token_file", "server_ca": "ca", "operator_cert": "cert", "operator_key": "cert_key"}
    flags = {
        "server": arguments.server,
        "product": arguments.product,
        "channel": getattr(arguments, "channel", None),
        "version": getattr(arguments, "version", None),
        "oidc": arguments.oidc,
        **{option: common.absolute(getattr(arguments, name), project_folder) for option, name in files.items()},
    }
    if project_folder is not None:
        chosen = arguments.env or _environment(project_folder, flags)
        return project.load(project_folder, chosen, os.environ).with_flags(**flags)
    if arguments.env is not None:
        raise ConfigError(f"--env '{arguments.env}' is given, and no project", "name its folder with --project")
    return common.options(**flags)


def _environment(project_folder: Path, flags: dict[str, str | None]) -> str | None:
    """Return the environment whose options count; raises ConfigError where it matters which, and nobody says."""
    targets: dict[tuple[str, str, str], str] = {}
    for settings in project.default_environments(project_folder, os.environ):
        given = settings.with_flags(**flags)
        if given.server is not None and given.product is not None:
            targets.setdefault((given.server, given.product, given.channel), settings.environment)
    if len(targets) > 1:
        names = ", ".join(f"'{name}'" for name in targets.values())
        raise ConfigError(
            f"the environments {names} go to another server, product or channel each", "say which: --env NAME"
        )
    return next(iter(targets.values()), None)


def rehearsed(report: Report, quiet: bool) -> str:
    """Print what a person should see of a rehearsal, and return what the server keeps of it; raises where it failed."""
    from .. import rehearsal
    from ..rehearsal import text

    if not report.good:
        print("\n".join(map(runnable, text.report_lines(report))), file=sys.stderr)
        raise rehearsal.refusal(report)
    if not quiet:
        print("\n".join(text.summary(report)))
    return report.record


@contextlib.contextmanager
def interruptible(ask: Callable[[], str]) -> Iterator[None]:
    """Say after Ctrl-C what the server has by then: `ask` asks it, and returns a sentence."""
    try:
        yield
    except KeyboardInterrupt:
        try:
            sentence = ask()
        except OtasealError as error:
            sentence = f"it is unknown what the server has: {error.message}"
        print(f"\notaseal: interrupted: {one_line(sentence)}", file=sys.stderr)
        raise


def published_state(connected: Client, product: str, channel: str, version: str | None = None) -> str:
    """Return whether the release `version` is published, and what a channel gives out; raises as `Client.get`."""
    from ..client.client import product_path

    path, published = product_path(product, "releases"), ""
    answer = connected.get(path)
    if version is not None:
        if answer["channels"].get(channel, {}).get("version") != version:
            # It may be storing just now what it had received whole: the release first, then the channel.
            time.sleep(SETTLE_SECONDS)
            answer = connected.get(path)
        there = any(release["version"] == version for release in answer["releases"])
        published = f"'{version}' is {'' if there else 'not '}published, "
    state = answer["channels"].get(channel)
    if state is None:
        return f"{published}channel '{channel}' gives out nothing"
    return f"{published}channel '{channel}' gives out '{state['version']}' to {state['percent']} % of the devices"


def named_channel(arguments: argparse.Namespace) -> str | None:
    """Return the channel that is named by option or environment, None where none is."""
    return arguments.channel or os.environ.get(OPTIONS["channel"].environment_name, "").strip() or None
