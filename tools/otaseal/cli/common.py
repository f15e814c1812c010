"""What the subcommands share: declaring themselves, options, keys, and output as lines or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .. import files, settings
from ..commands import COMMANDS
from ..errors import ConfigError, InputError
from ..names import is_database

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import KeySource, Signer

Subparsers = Any
"""What argparse's add_subparsers returns; its class is private."""

MAX_PUBLIC_KEY_SIZE = 64 * 1024


class Help(argparse.HelpFormatter):
    """argparse's own help, but for examples: one that takes several lines can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = textwrap.wrap(text, width - 2, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        return " \\\n".join(lines) if text.startswith("example: ") else super()._fill_text(text, width, indent)


def command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    example: str,
    summary: str = "",
    json_help: str | None = "print JSON",
) -> argparse.ArgumentParser:
    """Declare the subcommand `name` that `run` executes; without a summary it is one of COMMANDS, and has its own.

    `json_help` is the help of `--json`; None where the command has no such option, or declares it itself.
    """
    parser = _declare(subparsers, name, example, summary)
    parser.set_defaults(run=run)
    if json_help is not None:
        parser.add_argument("--json", action="store_true", help=json_help)
    return parser


def group(subparsers: Subparsers, name: str, example: str) -> Subparsers:
    """Declare one of COMMANDS that has actions, and return what they are declared in."""
    return _declare(subparsers, name, example).add_subparsers(metavar="<action>", required=True)


def _declare(subparsers: Subparsers, name: str, example: str, summary: str = "") -> argparse.ArgumentParser:
    summary = summary or COMMANDS[name].summary
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example: {example}",
        formatter_class=Help,
    )
    return parser


def add_project(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a project, the one here by default, and one of its environments."""
    parser.add_argument("--project", type=path, default=Path(), metavar="DIR", help="default: this folder")
    parser.add_argument("-e", "--env", metavar="NAME", help="of platformio.ini; default: what 'pio run' builds first")


def add_signing_key(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `signer` takes."""
    parser.add_argument(
        "--key",
        metavar="URI",
        help="a path, file:<path>, env:<variable>, pkcs11:... or command:...; else OTASEAL_SIGNING_KEY",
    )
    parser.add_argument("--passphrase-file", metavar="FILE", help="unlock the key with the first line of FILE")


def show(arguments: argparse.Namespace, value: object, *lines: str) -> int:
    """Print `value` as JSON where that was asked for, else the `lines`; return 0, the exit status of success."""
    if arguments.json:
        print(json.dumps(value, indent=2))
    else:
        for line in lines:
            print(line)
    return 0


def note_unknown(products: Iterable[str], known: Collection[str]) -> None:
    """Say on standard error which products, or `*`, a store does not know: they may be mistyped, or yet to come.

    A store that has none is one before its first product.
    """
    for product in sorted({*products} - {*known, "*"}) if known else ():
        print(f"otaseal: note: the store has no product '{product}' yet, but {', '.join(known)}", file=sys.stderr)


def remove_stale(output: Path, *sources: Path, limit: int, kind: str, is_kind: Callable[[bytes], bool]) -> None:
    """Remove an older `output`, so that a failure leaves none that looks like the new one (F4).

    Raises ConfigError if it is one of the `sources`, InputError if it is not of its `kind`, or larger than `limit`.
    """
    if not output.exists():
        return
    if any(source.exists() and output.samefile(source) for source in sources):
        raise ConfigError(f"'{output}' would overwrite its own input", "name another file with --output")
    if not is_kind(files.read_bounded(output, limit, "output")):
        raise InputError(f"'{output}' exists and is not a {kind}", "name another file with --output, or remove it")
    files.remove(output)


def colours(stream: TextIO) -> bool:
    """Tell whether colours are wanted on `stream`: a terminal's, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def path(text: str) -> Path:
    """Return an argument as a path, `~` included, which no shell expands behind an equals sign; raises ConfigError."""
    return files.resolve_path(text, Path())


def location(text: str) -> str:
    """Return where a release store is: a directory as `path` has it, or the address of a database.

    Raises ConfigError for any other address, which may have a password in it.
    """
    scheme, separator, _ = text.partition("://")
    if separator and not is_database(text):
        raise ConfigError(f"'{scheme}://' is no address of a store", "give a directory, or postgresql://...")
    return text if is_database(text) else str(path(text))


def beside(source: Path, suffix: str) -> Path:
    """Return the path of what is made of `source`, whose name it has with a suffix; "." and "/" have none."""
    return source.parent / f"{source.name}{suffix}"


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
    """Return an argument type for whole numbers from `least` to `most`; `what` ends its ConfigError's message."""

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


def load_key(uri: str | Path) -> RSAPublicKey:
    """Return the public key in a file, `file:` before it or not; raises InputError and KeyRefusedError by name."""
    from ..keys.public import load_public_key

    file = path(str(uri).removeprefix("file:"))
    return load_public_key(files.read_bounded(file, MAX_PUBLIC_KEY_SIZE, "public key"), f"public key '{file}'")
