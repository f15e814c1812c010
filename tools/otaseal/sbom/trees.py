"""The hash of a folder's files as they lie on the disk, of which a second look reads only what may have changed.

SHA-256 over a line for each file, sorted by its path: the path from the folder with slashes, a NUL, the file's SHA-256
in hexadecimal. What version control and Python leave there is passed over, and what PlatformIO notes there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .. import files
from ..errors import OtasealError, SystemFaultError

PASSED_OVER = frozenset({".git", ".hg", ".svn", ".piopm", "__pycache__", ".DS_Store"})
MAX_CACHE = 4 * 1024 * 1024


class _File(NamedTuple):
    """A file's path from the folder, with slashes; its own path; and what changes when it does."""

    name: str
    path: str
    size: int
    changed: int


class Trees:
    """The hashes of folders; what was computed is kept in the file `cache`, by size and time of each file."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known = _load(cache)
        self._new = False

    def digest(self, folder: Path) -> str:
        """Return the hash of a folder in hexadecimal; raises SystemFaultError where it cannot be read."""
        try:
            found = sorted(_walk(os.path.realpath(folder)))
            stamp = hashlib.sha256("\n".join(map(repr, found)).encode("utf-8", "surrogateescape")).hexdigest()
            known, digest = self._known.get(str(folder), ("", ""))
            if known != stamp:
                digest = _hashed(found)
                self._known[str(folder)] = (stamp, digest)
                self._new = True
        except OSError as error:
            raise SystemFaultError(
                f"'{folder}' cannot be read: {error.strerror}", "check its permissions, or install it anew"
            ) from error
        return digest

    def save(self) -> None:
        """Keep what was computed; where that cannot be, it is computed again."""
        if self._new:
            with contextlib.suppress(OtasealError, OSError):
                self._cache.parent.mkdir(parents=True, exist_ok=True)
                files.write_atomic(self._cache, json.dumps(self._known).encode())
            self._new = False


def _walk(folder: str, prefix: str = "") -> Iterator[_File]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in PASSED_OVER or entry.name.endswith(".pyc"):
                continue
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/")
            elif entry.is_file():  # a link to a folder may lead in a circle, and no compiler reads a pipe
                status = entry.stat()
                yield _File(name, entry.path, status.st_size, status.st_mtime_ns)


def _hashed(found: list[_File]) -> str:
    tree = hashlib.sha256()
    for file in found:
        with Path(file.path).open("rb") as opened:
            content = hashlib.sha256()
            while piece := opened.read(1 << 20):
                content.update(piece)
        tree.update(file.name.encode("utf-8", "surrogateescape") + b"\0" + content.hexdigest().encode() + b"\n")
    return tree.hexdigest()


def _load(cache: Path) -> dict[str, tuple[str, str]]:
    with contextlib.suppress(OtasealError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        found = json.loads(files.read_bounded(cache, MAX_CACHE, "cache of hashes"))
        return {str(folder): (str(stamp), str(digest)) for folder, (stamp, digest) in found.items()}
    return {}
