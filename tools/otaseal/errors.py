"""Every error that otaseal raises on purpose: a message, a hint, and a family that says whose fault it is.

This module imports nothing of ours, and everything else may import it. A message is lower case, has no full
stop and quotes the offending value; the hint names the fix. Only `cli` and `hooks` print them or exit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

INSTALLABLE = {name: name for name in ("bsdiff4", "cryptography", "zopfli")} | {"cyclonedx": "cyclonedx-python-lib"}
"""Packages that a build or a command may lack, by their modules: who prints errors says how to install them, in which
Python."""


class OtasealError(Exception):
    """The base class: `message` says what is wrong, `hint` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(OtasealError):
    """An option, argument or environment variable is wrong: the project's settings need a change."""

    exit_code = 2


class InputError(OtasealError):
    """A file or its bytes are not what they have to be: image, archive, certificate."""


class KeyRefusedError(InputError):
    """A key is of a kind, a size or in a place that would lock devices out or give the key away."""


class VerificationError(InputError):
    """Everything parses, and the signature or the certificate does not hold."""


class NotFoundError(InputError):
    """What is named is not there: a product, a release, a channel."""


class ConflictError(InputError):
    """The state has changed since the caller read it, or the name is taken."""


class LaterFormatError(InputError):
    """A file has the format of a later otaseal: it is not damaged, and this version must not change it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was made by a newer otaseal", "update otaseal; nothing was changed")
        self.what = what


class SystemFaultError(OtasealError):
    """The operating system or a tool failed: disk full, permission denied, a package that is missing."""

    exit_code = 3


class CorruptStoreError(SystemFaultError):
    """A file of the release store is damaged or missing: an alarm, and never an answer to a device."""


def describe(error: OtasealError) -> str:
    """Return the two lines that a person sees, without a final newline."""
    return f"otaseal: error: {one_line(error.message)}\notaseal: hint: {one_line(error.hint)}"


def from_checkout(extra: str, python: str = "python3") -> str:
    """Return the hint that installs what a part of otaseal needs: from the checkout, for no index has otaseal."""
    return f"in the checkout of otaseal: {python} -m pip install '.[{extra}]'"


def as_dict(error: OtasealError) -> dict[str, str]:
    """Return an error as JSON has it, on the command line and from the server."""
    return {"error": error.message, "hint": error.hint}


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Name the file in an InputError about what is in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"'{path}': {error.message}", error.hint) from error


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 certificate", "2 certificates"; `plural` where it takes more than an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def duration(seconds: float, least: int = 1) -> str:
    """Return a time in words: "3 hours", in the largest unit of which there are at `least` so many."""
    size, unit = next((row for row in UNITS if seconds >= least * row[0]), UNITS[-1])
    return counted(int(seconds // size), unit)


def one_line(text: str) -> str:
    """Escape line breaks and control characters: quoted values may come from anybody."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
