"""The pages of the reference that are read off the code, as Markdown; `conf.py` has them written at each build."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from operators_page import operator_api
from tables import cell, code, table

from otaseal import cli, settings
from otaseal.errors import ConfigError
from otaseal.simulator.error_numbers import HttpError, TlsError, UpdateError

LIBRARY = Path(__file__).resolve().parent.parent / "firmware" / "OtaSeal" / "src" / "otaseal"
ERROR = re.compile(r"^  (\w+) = (\d+),(?: *// (.*))?$", re.M)
ERROR_TEXT = re.compile(r'^ +"\\([0-7]+)" "(.*?)(?:\\0)?";?(?: *//.*)?$', re.M)


def write(folder: Path) -> None:
    """Write every page to `folder`; one that would not change keeps its time, so that Sphinx reads it once."""
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its name."""
    made = {"options": _options(), "commands": _commands(), "errors": _errors(), "operator-api": operator_api()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _options() -> Iterator[str]:
    yield "# Options\n"
    yield (
        "Each stands in `platformio.ini`, in `[env]` or an environment of its own. The environment variable comes "
        "before it, and a command's own option before both. An unknown `custom_otaseal_` name is an error."
    )
    default = settings.Settings()
    for option in settings.OPTIONS.values():
        value = getattr(default, option.name)
        text = ", ".join(value) if isinstance(value, tuple) else value
        yield f"\n## `{option.ini_name}`\n\n{cell(option.help[0].upper() + option.help[1:])}.\n"
        yield f"- Environment variable: `{option.environment_name}`"
        yield "- Default: " + ("none" if text is None else code(text))
        yield from (f"- Values: {cell(hint)}" for hint in _values(option))


def _values(option: settings.Option) -> Iterator[str]:
    """Yield what otaseal answers to a value that the option cannot have, if there is one."""
    try:
        option.parse(option.ini_name, "?")
    except ConfigError as error:
        yield error.hint


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield (
        "Exit codes: 0 when what the command names is true, 1 when it is not, 2 for wrong options, 3 when the system "
        "failed, 130 when interrupted."
    )
    for command in _leaves(cli.parser("")):
        command.color = False  # since Python 3.14
        formatter = command._get_formatter()  # argparse has no public way to an argument's own two texts
        usage = command.format_usage().removeprefix("usage: ")
        yield f"\n## `{command.prog}`\n\n{cell(command.description)}\n\n```text\n{usage}```"
        shown = [one for one in command._actions if one.help != argparse.SUPPRESS and one.dest != "help"]
        rows = (
            (code(formatter._format_action_invocation(one)), cell(formatter._expand_help(one) if one.help else ""))
            for one in shown
        )
        yield from table("argument, meaning", rows)
        if command.epilog:
            yield "```sh\n" + command.epilog.removeprefix("example: ") + "\n```"


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of the commands that do something, in the order of `--help`."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for one in action.choices.values():
            yield from _leaves(one)


def _errors() -> Iterator[str]:
    yield "# Device errors\n"
    yield (
        "What a device says on its serial console, and what it reports to the server. What to do about the usual ones "
        "is told [with the hooks](../hooks.md#when-a-build-or-a-device-complains), and when a device says which "
        "[in the device facts](../device-facts.md)."
    )
    yield "\n## Of the OtaSeal library\n\n`lastError()`, and `X-Otaseal-Error` in a request."
    source, header = ((LIBRARY / name).read_text("utf-8") for name in ("error_texts.cpp", "errors.h"))
    texts = {int(octal, 8): text for octal, text in ERROR_TEXT.findall(source)}
    told = ((n, code(name), texts.get(int(n), "no error"), why) for name, n, why in ERROR.findall(header))
    rows = ((n, name, f"**{cell(text)}**" + (f": {cell(why)}" if why else "")) for n, name, text, why in told)
    yield from table("number, name, text and meaning", rows)
    yield from _numbers("Of the core's updater", "`Update.getError()`.", UpdateError)
    yield from _numbers("Of the HTTP client and the HTTP updater", "`ESPhttpUpdate.getLastError()`.", HttpError)
    yield from _numbers("Of BearSSL", "`getLastSSLError()`; the detail of the library's error 12.", TlsError)


def _numbers(title: str, where: str, errors: type[IntEnum]) -> Iterator[str]:
    yield f"\n## {title}\n\n{where} {(errors.__doc__ or '').strip()}"
    yield from table("number, name", ((str(int(one)), code(one.name)) for one in errors))
