"""`otaseal completion`: what makes a shell complete commands, options and files."""

from __future__ import annotations

import argparse

from ..errors import SystemFaultError, from_checkout
from . import common

SHELLS = ("bash", "zsh", "tcsh")


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = common.command(
        subparsers,
        "completion",
        _completion,
        example="otaseal completion bash > ~/.local/share/bash-completion/completions/otaseal",
        json_help=None,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to run it")


def _completion(arguments: argparse.Namespace) -> int:
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise SystemFaultError("the package 'shtab' is missing", from_checkout("completion")) from error
    from . import parser

    whole = parser("")
    _complete_files(whole)
    print(shtab.complete(whole, arguments.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Mark every argument that is a path, for shtab to complete it as one."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for nested in action.choices.values():
                _complete_files(nested)
        elif action.type is common.path:
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
