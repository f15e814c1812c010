"""What the commands share that talk to an update server: which server, who asks, which product and channel."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from .. import client
from ..client import Client
from ..errors import ConfigError
from ..settings import OPTIONS
from . import common

__all__ = ["command", "connect", "named_channel"]


def command(
    subparsers: common.Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
    *,
    channel: str | None = "else OTASEAL_CHANNEL, else stable",
) -> argparse.ArgumentParser:
    """Declare a command that talks to an update server, with the options that name it and say who asks.

    `channel` is the help of `--channel`; None where no channel is meant.
    """
    parser = common.command(subparsers, name, run, summary, example)
    parser.add_argument("--server", metavar="URL", help="https://host:port of its operators; else OTASEAL_SERVER")
    parser.add_argument("--product", help="else OTASEAL_PRODUCT")
    if channel is not None:
        parser.add_argument("--channel", help=channel)
    parser.add_argument("--token-file", metavar="FILE", help="its first line is the token; else OTASEAL_TOKEN")
    parser.add_argument("--ca", metavar="FILE", help="the authority of the server; else that of the system")
    parser.add_argument("--cert", type=common.path, metavar="FILE", help="an operator certificate, instead of a token")
    parser.add_argument("--cert-key", type=common.path, metavar="FILE", help="the private key of --cert")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def connect(arguments: argparse.Namespace) -> tuple[Client, str, str]:
    """Return the client, the product and the channel, "stable" unless another is said; raises ConfigError."""
    given = common.options(
        server=arguments.server,
        product=arguments.product,
        channel=getattr(arguments, "channel", None),
        token_file=arguments.token_file,
        server_ca=arguments.ca,
    )
    if given.server is None:
        raise ConfigError("no server is given", "use --server https://host:port, or set OTASEAL_SERVER")
    if given.product is None:
        raise ConfigError("no product is given", "use --product <name>, or set OTASEAL_PRODUCT")
    if (arguments.cert is None) != (arguments.cert_key is None):
        raise ConfigError("--cert and --cert-key go together", "give both, or a token")
    token = client.load_token(None if given.token_file is None else common.path(given.token_file), os.environ)
    certificate = None if arguments.cert is None else (arguments.cert, arguments.cert_key)
    authority = None if given.server_ca is None else common.path(given.server_ca)
    return Client(given.server, token, authority, certificate), given.product, given.channel


def named_channel(arguments: argparse.Namespace) -> str | None:
    """Return the channel that is named by option or environment, None where none is."""
    return arguments.channel or os.environ.get(OPTIONS["channel"].environment_name, "").strip() or None
