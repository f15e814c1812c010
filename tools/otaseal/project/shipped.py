"""Which certificates went to a device last, for each build environment: one small JSON file in the workspace.

It lies outside the build directory, so that cleaning a build does not make certificates look unshipped.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .. import files, formats

MAX_RECORD_SIZE = 1024 * 1024
FORMAT = 0
"""It says none: its names are those of environments, and their values texts."""


def is_current(record: Path, environment: str, archive: bytes) -> bool:
    """Tell whether these bytes of `certs.ar` were shipped last from the environment; raises LaterFormatError."""
    return _load(record).get(environment) == _digest(archive)


def remember(record: Path, environment: str, archive: bytes) -> None:
    """Note that these bytes of `certs.ar` were shipped; raises SystemFaultError, LaterFormatError."""
    _write(record, {**_load(record), environment: _digest(archive)})


def forget(record: Path, environment: str) -> None:
    """Note that a device of the build environment was erased, and has no certificates; raises as `remember`."""
    _write(record, {name: digest for name, digest in _load(record).items() if name != environment})


def _write(record: Path, entries: dict[str, str]) -> None:
    files.write_atomic(record, (json.dumps(entries, indent=2, sort_keys=True) + "\n").encode())


def _digest(archive: bytes) -> str:
    return "sha256:" + hashlib.sha256(archive).hexdigest()


def _load(record: Path) -> dict[str, str]:
    if not record.exists():
        return {}
    data = files.read_bounded(record, MAX_RECORD_SIZE, "shipping record")
    formats.refuse_later(formats.format_of(data), FORMAT, f"the shipping record '{record}'")
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        return {}  # a damaged note: certificates count as never shipped, which is the safe side
    return entries if isinstance(entries, dict) else {}
