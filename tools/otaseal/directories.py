"""The directory of a PKI: readable by its owner only, locked by one command at a time, cleaned after a killed one.

How single files get onto the disk is known in `files`; where one is replaced, a temporary one stands beside it for a
moment, and who holds the lock next removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from . import files
from .errors import SystemFaultError

try:
    import fcntl
except ImportError:  # Windows: one command at a time is up to its user
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
PRIVATE_DIRECTORY_MODE = 0o700


def make_private_directory(path: Path) -> None:
    """Make `path` and its parents, readable by nobody else; raises SystemFaultError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY_MODE)
    except OSError as error:
        raise SystemFaultError(
            f"'{path}' cannot be made: {error.strerror}", "check its parent's permissions"
        ) from error


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on `directory`; other writers wait. It ends with the process."""
    try:
        descriptor = _lock(directory / LOCK_FILE)
    except OSError as error:
        raise SystemFaultError(f"'{directory}' cannot be locked: {error.strerror}", "check its permissions") from error
    try:
        yield
    finally:
        os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove temporary files that a killed process left in `directory` and below; the caller holds the lock."""
    for path in directory.rglob(".*.tmp"):
        files.remove(path)


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, files.PRIVATE_MODE)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        descriptor = os.open(path, os.O_RDONLY)  # to read along with those who write elsewhere
    try:
        files.give_to_owner(descriptor, path.parent)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
