"""`otaseal.lock`: what PlatformIO had installed for each environment, with hashes; and what differs from it now.

A project's own code, in its folder, is not in it: that is what version control is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import ConfigError, InputError
from ..formats import refuse_later
from .parts import Kind, Part

NAME = "otaseal.lock"
FORMAT = 1
MAX_SIZE = 1024 * 1024
BUILDS = (Kind.PLATFORM, Kind.FRAMEWORK, Kind.TOOLCHAIN, Kind.LIBRARY)
"""Kinds of which there may be nothing that is not in the lock; a tool may be there for another target alone."""
SHORT = 12
"""Digits of a hash that messages show."""


@dataclass(frozen=True)
class Locked:
    """One thing in the lock: its version, and the hash of its files."""

    version: str
    sha256: str


Entries = Mapping[tuple[str, str], Locked]
"""By kind and name."""


def entries_of(parts: Sequence[Part]) -> Entries:
    """Return what is to be locked of these parts; each has its tree. Libraries of one name are one entry."""
    found: dict[tuple[str, str], Locked] = {}
    for part in sorted(parts, key=lambda one: (one.version, one.tree)):
        before = found.get((part.kind.value, part.name))
        one = Locked(part.version, part.tree)
        if before is not None:
            both = hashlib.sha256(f"{before.sha256} {one.sha256}".encode()).hexdigest()
            one = Locked(f"{before.version}, {one.version}", both)
        found[part.kind.value, part.name] = one
    return found


def read(path: Path, environment: str) -> Entries:
    """Return what is locked for an environment; raises ConfigError for none, InputError, LaterFormatError."""
    locked = _read(path).get(environment)
    if locked is None:
        where = f"'{path.name}' has nothing for the environment" if path.is_file() else f"there is no '{path.name}' for"
        raise ConfigError(f"{where} '{environment}'", f"write it: otaseal lock --env {environment}")
    return locked


def write(path: Path, environment: str, entries: Entries) -> None:
    """Put the entries of an environment into the file, made if missing; raises as `read`, and SystemFaultError."""
    found = {**_read(path), environment: entries}
    document = {
        "format": FORMAT,
        "environments": {
            name: [
                {"kind": kind, "name": part, "version": one.version, "sha256": one.sha256}
                for (kind, part), one in sorted(locked.items())
            ]
            for name, locked in sorted(found.items())
        },
    }
    files.write_if_changed(path, json.dumps(document, indent=1).encode() + b"\n")


def differences(locked: Entries, now: Entries) -> list[str]:
    """Return what is there now and not as it is locked, a phrase for each thing, by its name."""
    kinds = {kind.value for kind in BUILDS}
    found = []
    for (kind, name), one in sorted(now.items()):
        before = locked.get((kind, name))
        if before is None:
            found += [f"{kind} '{name}' {one.version or 'of no version'} is not locked"] if kind in kinds else []
        elif before.version != one.version:
            found.append(f"{kind} '{name}' is {one.version or 'of no version'}, not {before.version or 'of none'}")
        elif before.sha256 != one.sha256:
            found.append(
                f"{kind} '{name}' {one.version} has other files ({one.sha256[:SHORT]}, not {before.sha256[:SHORT]})"
            )
    return found


def refuse(locked: Entries, now: Entries, environment: str) -> None:
    """Raise InputError where something is not as it is locked."""
    found = differences(locked, now)
    if found:
        raise InputError(
            f"{NAME} does not fit what is installed: {'; '.join(found)}",
            f"have platformio.ini ask for what is locked, or accept what is there: otaseal lock --env {environment}",
        )


def _read(path: Path) -> dict[str, Entries]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(files.read_bounded(path, MAX_SIZE, "lock"))
        refuse_later(document["format"], FORMAT, f"'{path}'")
        if document["format"] != FORMAT:
            raise ValueError("no format of a lock")
        return {str(name): dict(map(_entry, listed)) for name, listed in document["environments"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"'{path}' is damaged", "take it from version control, or write it anew: otaseal lock"
        ) from error


def _entry(value: dict[str, Any]) -> tuple[tuple[str, str], Locked]:
    kind, name, version, digest = (value[key] for key in ("kind", "name", "version", "sha256"))
    if not all(isinstance(one, str) for one in (kind, name, version, digest)):
        raise ValueError("an entry of other types")
    return (Kind(kind).value, name), Locked(version, digest)
