"""How certificates and keys get onto a disk: complete from the first instant, and nothing left after a kill.

A new file is written without a name and then given one (Linux: O_TMPFILE), so that there is no temporary file to find
later, least of all one with a key in it. Elsewhere, and where a file is replaced, a temporary one stands beside it for
a moment; what a kill leaves of those is swept by the next who holds the lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..errors import InputError, SystemFaultError

try:
    import fcntl
except ImportError:  # Windows: one command at a time is up to its user
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked", "make_private_directory", "sweep", "write_new"]

LOCK_FILE = ".lock"
PRIVATE_DIRECTORY_MODE = 0o700


def write_new(path: Path, data: bytes, mode: int = files.PUBLIC_MODE) -> None:
    """Make the file `path` with `data` and `mode`, whole or not at all; its directory exists.

    Raises InputError when there is such a file already, SystemFaultError when the operating system refuses.
    """
    descriptor = _open_unnamed(path.parent)
    if descriptor is None:
        files.write_atomic(path, data, mode, replace=False)
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            _give_name(descriptor, path)
        _sync(path.parent)
    except FileExistsError as error:
        raise InputError(f"'{path}' exists already", "remove it yourself if you mean to replace it") from error
    except OSError as error:
        raise SystemFaultError(f"'{path}' cannot be written: {error.strerror}", "check the disk's space") from error


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
    """Hold `directory` alone: who else wants to write there waits. The lock ends with the process, however it ends."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, files.PRIVATE_MODE)
    except OSError as error:
        raise SystemFaultError(f"'{directory}' cannot be locked: {error.strerror}", "check its permissions") from error
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove what a killed replacement left in `directory` and below; only for who holds the lock."""
    for path in directory.rglob(".*.tmp"):
        files.remove(path)


def _open_unnamed(directory: Path) -> int | None:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        return os.open(directory, flag | os.O_WRONLY, files.PRIVATE_MODE)
    except OSError:
        return None  # this filesystem cannot; the other way reports what is really wrong


def _give_name(descriptor: int, path: Path) -> None:
    """Link the open file in; fails if the name is taken. linkat(2) names this way of doing it without privileges."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # A directory descriptor makes Python call linkat, which follows the link in /proc; plain link would not.
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
