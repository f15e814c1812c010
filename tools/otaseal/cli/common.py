"""What the subcommands share: declaring themselves, keys from options, JSON on request."""

from __future__ import annotations

import argparse
import json
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .. import files, settings
from ..errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signer import Signer
    from ..keys.signers import KeySource

__all__ = [
    "Help",
    "Subparsers",
    "absolute",
    "colours",
    "command",
    "key_uri",
    "load_key",
    "number",
    "options",
    "path",
    "print_json",
    "signer",
    "signing_options",
    "source",
    "with_tilde",
]

Subparsers = Any
"""What argparse's add_subparsers returns; its class is private."""

MAX_PUBLIC_KEY_SIZE = 64 * 1024


class Help(argparse.HelpFormatter):
    """argparse's own help, but for examples: one that takes several lines can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = textwrap.wrap(text, width - 2, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        return " \\\n".join(lines) if text.startswith("example: ") else super()._fill_text(text, width, indent)


def command(
    subparsers: Subparsers, name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    """Declare the subcommand `name` that `run` executes, with a summary and an example in its help."""
    description = summary[0].upper() + summary[1:] + "."
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=description, epilog=f"example: {example}", formatter_class=Help
    )
    parser.set_defaults(run=run)
    return parser


def print_json(value: object) -> None:
    """Print `value` as JSON for programs."""
    print(json.dumps(value, indent=2, sort_keys=False))


def colours(stream: TextIO) -> bool:
    """Tell whether colours are wanted on `stream`: a terminal's, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def path(text: str) -> Path:
    """Return an argument as a path, `~` included, which no shell expands behind an equals sign; raises ConfigError."""
    return files.resolve_path(text, Path())


def absolute(path: Path | None, project: Path | None) -> str | None:
    """Return the path of a command's option as text that starts at `project`; None where it is not given.

    A person meant the current directory, and reads in messages what was typed.
    """
    if path is None:
        return None
    return str(path if project in (None, Path()) else path.absolute())


def with_tilde(path: Path) -> str:
    """Return `path` as it is right for everybody who builds the project: `~` for the home directory."""
    home, whole = files.resolve_path("~", Path()), path.absolute()
    return f"~/{whole.relative_to(home).as_posix()}" if whole.is_relative_to(home) else whole.as_posix()


def number(least: int, most: int, what: str) -> Callable[[str], int]:
    """Return what reads an argument as a whole number from `least` to `most`; it raises ConfigError for `what`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ConfigError(f"'{text}' {what}", f"use a whole number from {least} to {most}")
        return int(text)

    return read


def options(**flags: str | None) -> settings.Settings:
    """Return the settings of this command: a flag, else the environment, else the default; raises ConfigError."""
    return settings.resolve({}, os.environ, flags)


def key_uri(text: str) -> str:
    """Return a signing key's URI; a bare path, which people type, is a `file:` key."""
    return text if re.match(r"[a-z][a-z0-9+.-]+:", text) else f"file:{text}"


def signing_options(text: str | None, passphrase_file: str | None) -> settings.Settings:
    """Return the options that name a signing key; raises ConfigError where none is named."""
    given = options(signing_key=text, passphrase_file=passphrase_file)
    if given.signing_key is None:
        raise ConfigError("no signing key is given", "use --key <path>, or set OTASEAL_SIGNING_KEY")
    return given


def signer(text: str | None, passphrase_file: str | None) -> Signer:
    """Return the signer that the option `--key` names, else the environment's OTASEAL_SIGNING_KEY.

    Raises ConfigError when there is neither, and what `open_signer` raises.
    """
    given = signing_options(text, passphrase_file)
    assert given.signing_key is not None
    from ..keys import signers

    return signers.open_signer(key_uri(given.signing_key), source(given.passphrase_file))


def source(passphrase_file: str | None) -> KeySource:
    """Return what opens keys on the command line; relative paths start at the current directory."""
    from ..keys import signers
    from ..keys.passphrase import from_settings

    here = Path.cwd()
    return signers.KeySource(here, os.environ, from_settings(passphrase_file, here, os.environ))


def load_key(file: Path) -> RSAPublicKey:
    """Return the public key in `file`; raises InputError and KeyRefusedError by name."""
    from ..keys.public import load_public_key

    return load_public_key(files.read_bounded(file, MAX_PUBLIC_KEY_SIZE, "public key"), f"public key '{file}'")
