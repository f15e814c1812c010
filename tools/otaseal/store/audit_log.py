"""An audit log: one JSON object a line, appended and flushed, whole lines only.

Who appends holds the lock of what the log is about, and flushes the directory. A kill may leave half a line, which was
never acknowledged: the next writer removes it, and readers do not see it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, SystemFaultError

__all__ = ["MAX_LINE", "append", "lines"]

MAX_LINE = 16 * 1024


def append(path: Path, event: dict[str, object]) -> None:
    """Append `event` with the time (UTC); raises InputError when it is too long, SystemFaultError for the disk."""
    line = json.dumps({"at": _now(), **event}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise InputError(f"an audit line has {len(line)} bytes", f"it has at most {MAX_LINE}")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, files.PUBLIC_MODE)
        with FileIO(descriptor, "r+b") as log:
            files.give_to_owner(descriptor, path.parent)
            end = _end_of_last_line(log)
            log.truncate(end)
            if log.write(line) != len(line):
                log.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
    except OSError as error:
        raise SystemFaultError(f"'{path}' cannot be written: {error.strerror}", "check the disk's space") from error


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the lines by number from 1, None for a damaged one; half a line at the end is not one yet."""
    try:
        with path.open("rb") as log:
            number = 0
            while line := log.readline(MAX_LINE):
                number += 1
                if line.endswith(b"\n") or len(line) == MAX_LINE:
                    yield number, _parse(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SystemFaultError(f"'{path.name}' cannot be read: {error.strerror}", "check the disk") from error


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _end_of_last_line(log: FileIO) -> int:
    size = log.seek(0, os.SEEK_END)
    start = log.seek(max(0, size - MAX_LINE))
    return start + log.read(MAX_LINE).rfind(b"\n") + 1
