"""Finds and reads the files with CA certificates, named by files, folders and patterns, sorted by path.

A folder counts with everything below it, hidden files and folders excepted. Content decides: PEM, DER or PKCS#7 is
taken whatever its name is, and a file that is named like a certificate has to be one. Other files are passed over, by
name, after a search for private keys, because what lies here is meant to be shipped. A pattern that matches nothing is
an error, so that no certificate goes missing silently.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError, KeyRefusedError, SystemFaultError
from ..files import read_bounded, resolve_path
from .pem import Source, is_pkcs7, refuse_private_key
from .x509_fields import read_certificate

SUFFIXES = (".pem", ".crt", ".cer", ".cert", ".der", ".ca-bundle", ".p7b", ".p7c")
FILE_LIMIT = 4 * 1024 * 1024  # bytes; the largest public bundle has about 300 KB
FILE_COUNT_LIMIT = 2000

_KEY_SUFFIXES = (".key", ".p12", ".pfx", ".jks", ".ppk")
_PEM = re.compile(rb"-----BEGIN (?:(?:X509 |TRUSTED )?CERTIFICATE|PKCS7|CMS)-----")


def collect(patterns: Sequence[str], root: Path) -> list[Source]:
    """Return the files that `patterns` lead to, relative to `root`, each once and sorted by path.

    A pattern is a path (a leading `~` is the home directory) or a glob, in which `**` crosses folders. What a folder,
    or a pattern without a suffix, leads to and is no certificate comes as passed over. Raises ConfigError for the home
    directory of nobody, InputError for a pattern that leads to no certificate and beyond the limits, KeyRefusedError
    for a private key or a file named like one, SystemFaultError for a file that cannot be read.
    """
    sources: dict[Path, tuple[Path, Source]] = {}
    for pattern in patterns:
        matched = False
        for path, named in _paths(pattern, root):
            known = sources.get(path.resolve())
            if known is None or (named and known[1].passed_over):
                known = sources[path.resolve()] = path, _read(path, root, named=named)
            matched |= not known[1].passed_over
            if sum(not source.passed_over for _, source in sources.values()) > FILE_COUNT_LIMIT:
                raise InputError(f"'{pattern}' leads to more than {FILE_COUNT_LIMIT} files", "name a smaller folder")
        if not matched:
            hint = f"the path is relative to '{root}'; certificates are PEM, DER or PKCS#7"
            raise InputError(f"no certificate file matches '{pattern}'", hint)
    return [source for _, source in sorted(sources.values(), key=lambda entry: entry[0].as_posix())]


def _paths(pattern: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the files that a pattern leads to, and whether it names them, so that they have to be certificates."""
    literal = resolve_path(pattern, Path())
    if not pattern.strip():
        raise InputError(f"'{pattern}' is not a path to certificates", "name a file, a folder or a pattern")
    if (root / literal).exists():
        paths = [root / literal]
    else:  # not Path.glob, which takes no absolute pattern and finds hidden files
        paths = [root / name for name in glob.glob(str(literal), root_dir=root, recursive=True)]  # noqa: PTH207
    anything = pattern.endswith("*")  # such a pattern names no suffix: it takes files as a folder does
    for path in sorted(paths):
        if not path.is_dir():
            named = not anything or path == root / literal
            if named or path.is_file():
                yield path, named
        elif not (anything and "**" in pattern):  # `**` leads to the files below as well
            yield from ((file, False) for file in _folder(path))


def _folder(folder: Path) -> Iterator[Path]:
    seen = 0
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(directory, name) for name in sorted(files) if not name.startswith(".")]
        seen += len(paths)
        if seen > FILE_COUNT_LIMIT:
            raise InputError(f"'{folder}' holds more than {FILE_COUNT_LIMIT} files", "name a smaller folder")
        yield from (path for path in paths if path.is_file() or path.suffix.lower() in SUFFIXES)


def _read(path: Path, root: Path, *, named: bool) -> Source:
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    if path.suffix.lower() in _KEY_SUFFIXES:
        raise KeyRefusedError(
            f"'{name}' is named like a private key",
            "keep keys elsewhere: what lies among the certificates is shipped to every device",
        )
    must_be = named or path.suffix.lower() in SUFFIXES
    data = read_bounded(path, FILE_LIMIT, "certificate file") if must_be else _beginning(path, name)
    refuse_private_key(name, data)
    return Source(name, data) if must_be or _holds_certificates(data) else Source(name, b"", passed_over=True)


def _beginning(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError as error:
        hint = "check its permissions, or move it out of the certificates"
        raise SystemFaultError(f"'{name}' cannot be read: {error.strerror}", hint) from error


def _holds_certificates(data: bytes) -> bool:
    if _PEM.search(data.replace(b"\0", b"")):  # without zeros, UTF-16 text reads as ASCII
        return True
    try:
        read_certificate(data)
    except ValueError:
        return is_pkcs7(data)
    return True
