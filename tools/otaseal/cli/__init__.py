"""The command `otaseal`: one module a group of subcommands, each with `register(subparsers)`.

Only here and in `hooks` anything is printed, prompted, read from argv or the environment, or exited. Exit codes:
0 when what the command names is true, 1 when it is not (bad input, failed verification), 2 for wrong options, 3 when
the system failed, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from .. import __version__, terminal
from ..commands import COMMANDS, runnable
from ..errors import INSTALLABLE, ConfigError, OtasealError, SystemFaultError, as_dict, describe
from . import common

__all__ = ["main", "parser"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files and CAs need not fit the terminal's encoding
    streams = sys.stdout, sys.stderr
    if "--json" not in argv:
        sys.stdout, sys.stderr = map(terminal.wrapped, streams)
    try:
        return _guarded(argv)
    finally:
        sys.stdout, sys.stderr = streams


def _guarded(argv: Sequence[str]) -> int:
    try:
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()  # the reader went away, as `otaseal ... | head` does
        return 1
    except OSError as error:
        # Commands wrap their own: what is left is a standard output that is full, or a path that no call takes.
        _discard_output()
        what = "standard output" if error.filename is None else f"'{error.filename}'"
        return _report(
            SystemFaultError(
                f"{what} cannot be used: {error.strerror}", "check the path, the disk and the permissions"
            ),
            argv,
        )
    return code


def _attended(arguments: argparse.Namespace) -> int:
    """Run the command, which asks for nothing where a program reads what it prints."""
    code: int
    if not getattr(arguments, "json", False):
        code = arguments.run(arguments)
        return code
    from ..keys import passphrase

    with passphrase.unattended("--json asks no questions"):
        code = arguments.run(arguments)
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = parser(next((word for word in argv if not word.startswith("-")), None)).parse_args(argv)
        code = _attended(arguments)
    except OtasealError as error:
        return _report(error, argv)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in INSTALLABLE:
            raise
        return _report(
            SystemFaultError(
                f"the package '{package}' is missing", f'"{sys.executable}" -m pip install {INSTALLABLE[package]}'
            ),
            argv,
        )
    return code


class _Parser(argparse.ArgumentParser):
    """argparse with our two lines in place of its usage text, and options that are written in full."""

    command = ""
    """What the command line is for: whose help a hint names."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with what argparse found wrong."""
        raise ConfigError(message, f"see '{self.prog}{self.command} --help'")

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        """Return an argument's value; the errors of our own types name the option as argparse's do."""
        try:
            return super()._get_value(action, text)
        except OtasealError as error:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            raise ConfigError(f"argument {name}: {error.message}", error.hint) from error


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command line, with `command` alone if that is one: each costs its imports.

    Otherwise it has names and summaries only, for `--help`; "" declares every command in full.
    """
    whole = _Parser(
        prog="otaseal",
        description="Signed, encrypted over-the-air updates for the ESP8266, the ESP32 and the Pico, from PlatformIO.",
        epilog="example: otaseal key new ~/.config/otaseal/keys/blink/signing.key",
        formatter_class=common.Help,
    )
    whole.add_argument("--version", action="version", version=f"otaseal {__version__}")
    subparsers = whole.add_subparsers(metavar="<command>", required=True, parser_class=_Parser)
    if command in COMMANDS:
        whole.command = f" {command}"
        import_module(f".{COMMANDS[command].module}", __name__).register(subparsers)
        return whole
    for module in dict.fromkeys(row.module for row in COMMANDS.values()) if command == "" else ():
        import_module(f".{module}", __name__).register(subparsers)
    for name, row in COMMANDS.items() if command != "" else ():
        subparsers.add_parser(name, help=row.summary)
    return whole


def _discard_output() -> None:
    """Let what is still buffered go nowhere: Python would complain once more at exit."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: OtasealError, argv: Sequence[str]) -> int:
    """Say what is wrong in two lines, or in one of JSON for who asked for that, and return the exit code."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _discard_output()
    as_json = "--json" in argv  # looked for here: wrong options are errors, too
    print(json.dumps(as_dict(error)) if as_json else runnable(describe(error)), file=sys.stderr)
    return error.exit_code
