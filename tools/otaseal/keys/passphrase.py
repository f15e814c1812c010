"""Where a passphrase comes from: a file, an environment variable, or a prompt; never an argument, never a log.

The file and the variable come first, so that a build server never waits at a prompt.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from .. import files
from ..errors import ConfigError, InputError

VARIABLE = "OTASEAL_PASSPHRASE"
MAX_FILE_SIZE = 4096
MAX_PASSPHRASE_SIZE = 1023
"""Bytes; OpenSSL takes no more."""
TRIES = 3
_unattended = ContextVar("_unattended", default="")


@contextmanager
def unattended(reason: str) -> Iterator[None]:
    """Ask for nothing in this context, even at a terminal: a passphrase that is not given is an error, for `reason`."""
    before = _unattended.set(reason)
    try:
        yield
    finally:
        _unattended.reset(before)


def from_settings(file: str | None, project: Path, environment: Mapping[str, str]) -> Callable[[str], bytes]:
    """Return a callback that gives the passphrase for what its argument names, as a key's opener wants it.

    The callback raises ConfigError where there is neither file, variable nor terminal. A variable that is set to
    nothing counts as unset, as a secret is on a build server that does not have it.
    """

    def ask(what: str) -> bytes:
        given = _given(file, project, environment)
        if given is not None:
            return given
        if reason := _why_not_ask("its passphrase"):
            raise ConfigError(
                f"{what} is locked, and {reason}",
                f"set {VARIABLE}, or name a file with custom_otaseal_passphrase_file",
            )
        return _prompt(f"Passphrase for {what}: ")

    return ask


def ask_new(what: str, file: str | None, environment: Mapping[str, str], *, optional: bool = True) -> bytes:
    """Return the passphrase for a new key: from the file, the variable, or typed twice at a prompt.

    An empty one, typed, means none where it is `optional`. Raises ConfigError for an empty one where it is not, where
    there is no terminal, or the two differ TRIES times.
    """
    given = _given(file, Path.cwd(), environment)
    if given is not None:
        return given
    if reason := _why_not_ask("one"):
        ways = [f"set {VARIABLE}", "use --passphrase-file", *(["say --no-passphrase"] if optional else [])]
        message = f"no passphrase is given for {what}, and {reason}"
        raise ConfigError(message, f"{', '.join(ways[:-1])}, or {ways[-1]}")
    for _ in range(TRIES):
        first = _prompt(f"New passphrase for {what}{' (empty for none)' if optional else ''}: ")
        if not (first or optional):
            raise ConfigError("an empty passphrase locks nothing", "type one, or leave the keys as they are")
        if first == _prompt("The same again: "):
            return first
        print("The two differ.", file=sys.stderr)
    raise ConfigError("the two passphrases differ", "start again, or use --passphrase-file")


def read_file(path: Path) -> bytes:
    """Return the first line of `path` without its end; raises InputError if it is empty, too long or no file."""
    content = files.read_bounded(path, MAX_FILE_SIZE, "passphrase file")
    line = content.splitlines()[0] if content else b""
    if not line:
        raise InputError(f"passphrase file '{path}' is empty", "write the passphrase into its first line")
    return _bounded(line)


def _given(file: str | None, project: Path, environment: Mapping[str, str]) -> bytes | None:
    if file is not None:
        return read_file(files.resolve_path(file, project))
    value = environment.get(VARIABLE, "")
    return _bounded(value) if value else None


def _prompt(text: str) -> bytes:
    try:
        return _bounded(getpass.getpass(text))
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigError("no passphrase could be read from the terminal", "type it, or use a file") from error


def _bounded(passphrase: bytes | str) -> bytes:
    secret = passphrase.encode(errors="surrogateescape") if isinstance(passphrase, str) else passphrase
    if len(secret) > MAX_PASSPHRASE_SIZE:
        raise InputError(f"a passphrase of {len(secret)} bytes", f"{MAX_PASSPHRASE_SIZE} are the most that a key takes")
    return secret


def _why_not_ask(what: str) -> str:
    """Return why a person cannot be asked for `what`, "" where one can."""
    if _unattended.get():
        return _unattended.get()
    return "" if _has_terminal() else f"there is no terminal to ask for {what}"


def _has_terminal() -> bool:
    # getpass talks to the controlling terminal by itself, even where a build has redirected the standard streams.
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False
