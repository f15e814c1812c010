"""Where a passphrase comes from: a file, an environment variable, or a prompt; never an argument, never a log.

Layer 2. The file and the variable come first, so that a build server never waits at a prompt.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from . import files
from .errors import ConfigError, InputError

__all__ = ["VARIABLE", "ask_new", "from_settings"]

VARIABLE = "OTASEAL_PASSPHRASE"
MAX_PASSPHRASE_SIZE = 4096
"""Bytes, of the file as a whole."""


def from_settings(file: str | None, project: Path, environment: Mapping[str, str]) -> Callable[[str], bytes]:
    """Return a callback that gives the passphrase for what its argument names, as a key's opener wants it.

    The callback raises ConfigError where there is neither file, variable nor terminal.
    """

    def ask(what: str) -> bytes:
        if file is not None:
            return read_file(project / Path(file).expanduser())
        if VARIABLE in environment:
            return environment[VARIABLE].encode()
        if not _has_terminal():
            raise ConfigError(
                f"{what} is encrypted, and there is no terminal to ask for its passphrase",
                f"set {VARIABLE}, or name a file with custom_otaseal_passphrase_file",
            )
        return getpass.getpass(f"Passphrase for {what}: ").encode()

    return ask


def ask_new(what: str, file: str | None, environment: Mapping[str, str]) -> bytes:
    """Return the passphrase for a new key: from the file, the variable, or typed twice at a prompt.

    An empty one, typed, means none. Raises ConfigError where there is no terminal, or the two differ.
    """
    if file is not None or VARIABLE in environment:
        return from_settings(file, Path.cwd(), environment)(what)
    if not _has_terminal():
        raise ConfigError(
            f"{what} needs a passphrase, and there is no terminal to ask for one",
            f"set {VARIABLE}, use --passphrase-file, or say --no-passphrase",
        )
    first = getpass.getpass(f"New passphrase for {what} (empty for none): ")
    if first != getpass.getpass("The same again: "):
        raise ConfigError("the two passphrases differ", "try again")
    return first.encode()


def read_file(path: Path) -> bytes:
    """Return the first line of `path` without its end; raises InputError if it is empty or no file."""
    content = files.read_bounded(path, MAX_PASSPHRASE_SIZE, "passphrase file")
    line = content.splitlines()[0] if content else b""
    if not line:
        raise InputError(f"passphrase file '{path}' is empty", "write the passphrase into its first line")
    return line


def _has_terminal() -> bool:
    # getpass talks to the controlling terminal by itself, even where a build has redirected the standard streams.
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False
