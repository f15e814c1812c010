"""Which files hold the CA certificates, and their bytes: files, folders and patterns, in an order of their own.

A folder counts with everything below it, hidden files and folders excepted: files that end in one of SUFFIXES are
certificates, other files are only looked through for private keys, because what lies here is meant to be shipped. A
pattern that matches nothing is an error, so that a certificate never goes missing unsaid.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .errors import InputError, KeyRefusedError, SystemFaultError
from .files import read_bounded
from .pem import Source, refuse_private_key

__all__ = ["FILE_COUNT_LIMIT", "FILE_LIMIT", "SUFFIXES", "collect"]

SUFFIXES = (".pem", ".crt", ".cer", ".der", ".ca-bundle")
FILE_LIMIT = 4 * 1024 * 1024  # bytes; the largest public bundle has about 300 KB
FILE_COUNT_LIMIT = 2000

_KEY_SUFFIXES = (".key", ".p12", ".pfx", ".jks", ".ppk")


def collect(patterns: Sequence[str], root: Path) -> list[Source]:
    """Return the certificate files that `patterns` name, relative to `root`, each once and sorted by path.

    A pattern is a path (a leading `~` is the home directory) or a glob, in which `**` crosses folders. Raises
    InputError for a pattern that matches nothing, for a folder without certificates and beyond the limits,
    KeyRefusedError for a private key or a file named like one, SystemFaultError for a file that cannot be read.
    """
    chosen: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _matches(pattern, root):
            chosen.setdefault(path.resolve(), path)
            if len(chosen) > FILE_COUNT_LIMIT:
                raise InputError(f"'{pattern}' leads to more than {FILE_COUNT_LIMIT} files", "name a smaller folder")
    paths = sorted(chosen.values(), key=lambda path: path.as_posix())
    return [Source(_shown(path, root), _read(path, root)) for path in paths]


def _matches(pattern: str, root: Path) -> Iterator[Path]:
    literal = Path(pattern).expanduser()
    if not pattern.strip():
        raise InputError(f"'{pattern}' is no path to certificates", "name a file, a folder or a pattern")
    if (root / literal).exists():
        found = [root / literal]
    else:  # not Path.glob, which takes no absolute pattern and finds hidden files
        found = [root / name for name in glob.glob(str(literal), root_dir=root, recursive=True)]  # noqa: PTH207
    anything = pattern.endswith("*")  # such a pattern names no suffix: it takes files as a folder does
    matched = False
    for path in sorted(found):
        if path.is_dir():
            files = [] if anything and "**" in pattern else _folder(path, root)  # `**` names the files below as well
        else:
            files = _certificates([path], root) if anything and path != root / literal else [path]
        for file in files:
            matched = True
            yield file
    if not matched:
        hint = f"the path is relative to '{root}'; a certificate ends in {', '.join(SUFFIXES)}"
        raise InputError(f"no certificate file matches '{pattern}'", hint)


def _folder(folder: Path, root: Path) -> Iterator[Path]:
    """Yield the certificate files below `folder`, and refuse private keys among all others."""
    seen = 0
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(directory, name) for name in sorted(files) if not name.startswith(".")]
        seen += len(paths)
        if seen > FILE_COUNT_LIMIT:
            raise InputError(f"'{folder}' holds more than {FILE_COUNT_LIMIT} files", "name a smaller folder")
        yield from _certificates(paths, root)


def _certificates(paths: Iterable[Path], root: Path) -> Iterator[Path]:
    """Yield what is named like a certificate, and look through the rest."""
    for path in paths:
        if path.suffix.lower() in SUFFIXES:
            yield path
        elif path.is_file():
            _look_through(path, root)


def _look_through(path: Path, root: Path) -> None:
    _refuse_key_file(path, root)
    try:
        with path.open("rb") as file:
            refuse_private_key(_shown(path, root), file.read(FILE_LIMIT))
    except OSError as error:
        hint = "check its permissions, or move it out of the certificates"
        raise SystemFaultError(f"'{_shown(path, root)}' cannot be read: {error.strerror}", hint) from error


def _read(path: Path, root: Path) -> bytes:
    _refuse_key_file(path, root)
    data = read_bounded(path, FILE_LIMIT, "certificate file")
    refuse_private_key(_shown(path, root), data)
    return data


def _refuse_key_file(path: Path, root: Path) -> None:
    if path.suffix.lower() in _KEY_SUFFIXES:
        raise KeyRefusedError(
            f"'{_shown(path, root)}' is named like a private key",
            "keep keys elsewhere: what lies among the certificates is shipped to every device",
        )


def _shown(path: Path, root: Path) -> str:
    """Return the path as people wrote it down: relative to the project where it lies inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
