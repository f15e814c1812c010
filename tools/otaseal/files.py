"""Writing files so that a reader sees the old one or the new one and never half of either.

Temporary file in the same directory, flush, fsync, `os.replace`, fsync of the directory. A private file has mode 0600
from the moment it exists. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from .errors import ConfigError, InputError, SystemFaultError

PUBLIC_MODE = 0o644
PRIVATE_MODE = 0o600


def resolve_path(text: str, base: Path) -> Path:
    """Return `text` as a path: `~` is the home directory, a relative path starts at `base`; raises ConfigError."""
    try:
        return base / Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"'{text}' names the home directory of an unknown user", "write the path in full") from error


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """Return the bytes of `path`, at most `limit` of them; `what` names the file in messages.

    Raises InputError when the file is missing, a directory or larger than `limit` bytes, SystemFaultError when it
    cannot be read. A pipe is read to its end, so that a shell's `<(command)` can give a passphrase.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(
            f"{what} '{path}' is not a file", "check the path, and that the step that makes it ran"
        ) from error
    except OSError as error:
        raise SystemFaultError(f"{what} '{path}' cannot be read: {error.strerror}", "check its permissions") from error
    if len(data) > limit:
        raise InputError(f"{what} '{path}' is larger than {limit} bytes", "this is not the file you meant")
    return data


Stamp = tuple[int, int, int]
"""By which a change of a file or directory shows: time of its last change (ns), inode, size."""


def stamp(path: Path | str) -> Stamp | None:
    """Return the stamp of a file or directory, None where it does not exist or cannot be read."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for every request, and Path's costs twice that
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def open_to_others(path: Path) -> str | None:
    """Return the mode ("0644") of a file that others than its owner may read or write, None if none may.

    None, too, for what is not a file, such as a shell's `<(command)`, and where a file has no such mode.
    """
    with contextlib.suppress(OSError):
        status = path.stat()
        if os.name == "posix" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            return f"{stat.S_IMODE(status.st_mode):04o}"
    return None


def open_secret(path: Path) -> str | None:
    """Return as `open_to_others` the mode of a service's secret.

    None, too, for a file of root's that only a group may read besides, as systemd hands credentials to a service.
    """
    with contextlib.suppress(OSError):
        status = path.stat()
        if status.st_uid == 0 and not status.st_mode & 0o027:
            return None
    return open_to_others(path)


def give_to_owner(descriptor: int, directory: Path) -> None:
    """Give an open file to the owner of the `directory` it lies in, where root has made it and the system lets it.

    What root does in the directory of a service must not lock the service out.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with contextlib.suppress(OSError):
            owner = directory.stat()
            if owner.st_uid != 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)


def write_atomic(path: Path, data: bytes, mode: int = PUBLIC_MODE) -> None:
    """Put `data` at `path` in place of what is there, whole or not at all, durably; parent directories are made.

    What root writes belongs to the owner of its directory. Raises SystemFaultError where a directory, a device or a
    pipe is at `path`, and when the operating system refuses; then nothing is left behind.
    """
    try:
        if path.exists() and not path.is_file():  # root would replace even /dev/null
            raise SystemFaultError(f"'{path}' cannot be written: it is there, and no file", "name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise _write_fault(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            give_to_owner(file.fileno(), path.parent)
            temporary.chmod(mode)  # mkstemp made it 0600, so that a secret was never readable by others
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise _write_fault(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_new(path: Path, data: bytes, mode: int = PUBLIC_MODE) -> None:
    """Make the file `path`, whole or not at all, durably; parent directories are made, and nothing is replaced.

    The content is complete before it gets a name (Linux: O_TMPFILE), so that a kill at any moment leaves no temporary
    file, least of all one with a key in it; where the filesystem cannot do that, one stands beside it for a moment.
    Raises InputError when there is something at `path`, SystemFaultError when the operating system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = _open_nameless(path)
    except OSError as error:
        raise _write_fault(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if temporary is None:
                os.fchmod(descriptor, mode)
            else:
                temporary.chmod(mode)
            os.fsync(descriptor)
            _give_name(descriptor, temporary, path)
        sync_directory(path.parent)
    except FileExistsError as error:
        raise InputError(f"'{path}' exists already", "remove it yourself if you mean to replace it") from error
    except OSError as error:
        raise _write_fault(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write `data` to `path` unless it is there already; return whether anything was written.

    An untouched file keeps its time stamp, so that a build does not see a change where there is none.
    """
    try:
        if path.read_bytes() == data:
            return False
    except OSError:
        pass  # missing or unreadable: writing says what is wrong, if anything is
    write_atomic(path, data)
    return True


def refuse_existing(path: Path, hint: str) -> None:
    """Raise InputError with `hint` if there is something at `path`, before anything is asked or made."""
    if os.path.lexists(path):
        raise InputError(f"'{path}' exists already", hint)


def remove(path: Path) -> None:
    """Remove the file `path` if it is there; raises SystemFaultError when the operating system refuses."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SystemFaultError(f"'{path}' cannot be removed: {error.strerror}", "check the permissions") from error


def _open_nameless(path: Path) -> tuple[int, Path | None]:
    """Return a descriptor, of mode 0600, of a file without a name; or of a temporary one and its path."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is not None:
        with contextlib.suppress(OSError):  # this filesystem cannot; the other way reports what is really wrong
            return os.open(path.parent, flag | os.O_WRONLY, PRIVATE_MODE), None
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    return descriptor, Path(name)


def _give_name(descriptor: int, temporary: Path | None, path: Path) -> None:
    """Link the written file in under its name; fails if the name is taken, where a check before a rename would race."""
    if temporary is not None:
        os.link(temporary, path)
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # A directory descriptor makes Python call linkat(2), which follows the link in /proc; plain link would not.
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)


def sync_directory(directory: Path) -> None:
    """Flush the names in `directory` to the disk, which fsync of a file does not; raises OSError."""
    if os.name != "posix":
        return  # Windows cannot open a directory, and commits the rename itself
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_fault(path: Path, error: OSError) -> SystemFaultError:
    return SystemFaultError(
        f"'{path}' cannot be written: {error.strerror}", "check the disk's space and the permissions"
    )
