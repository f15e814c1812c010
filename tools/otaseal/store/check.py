"""Whether a release store is whole: everything in it read and hashed again, and what a kill left behind removed.

`check` changes nothing. `tidy`, for the start of a server, reads no blob, removes temporary files and writes the audit
lines of changes whose writer was killed before the last step; `sweep` is both. Damage is reported, never repaired by
guessing: a channel whose release is damaged stays where it points, and its readers get an error (`Store.read_blob`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import files
from ..directories import locked
from ..errors import OtasealError
from ..keys.public import load_public_key
from ..release.records import serialise
from . import audit_log
from .audit_events import (
    Event,
    LastEvents,
    Named,
    archive_event,
    contradiction,
    last_said,
    pointer_event,
    publish_event,
)
from .files import AUDIT, PRODUCTS, Store

__all__ = ["Report", "Survey", "audit_lines", "check", "survey", "sweep", "tidy"]

TEMPORARY = ".*.tmp"
SWEPT = ("blobs", PRODUCTS)


@dataclass(frozen=True)
class Report:
    """What was found: counts, a line for each damage, and paths in the store: not needed, and left by a kill."""

    releases: int
    channels: int
    blobs: int
    problems: tuple[str, ...]
    orphans: tuple[str, ...]
    temporaries: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Tell whether nothing is damaged; orphans and temporary files are no damage."""
        return not self.problems


@dataclass
class Survey:
    """What a store consists of by its records and pointers: its own files, the blobs they need, what is damaged.

    Of releases the SHA-256 of the record; of channels and archives what an audit line would say of them, None for those
    that cannot be read.
    """

    releases: dict[Named, str] = field(default_factory=dict)
    channels: dict[Named, Event | None] = field(default_factory=dict)
    archives: dict[Named, Event | None] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note what goes wrong here as damage."""
        try:
            yield
        except OtasealError as error:
            self.problems.append(error.message)


def survey(store: Store) -> Survey:
    """Read every record, pointer and key of the store, and no blob; for who holds the lock."""
    found = Survey()
    for product in store.products():
        _survey_product(store, product, found)
    lines = list(audit_lines(store))
    found.problems += [f"line {number} of '{AUDIT}' is damaged" for number, line in lines if line is None]
    found.problems += _contradictions(found, last_said(lines))
    return found


def check(store: Store, stopped: Callable[[], bool] = lambda: False) -> Report:
    """Read every file of the store and hash every blob; raises SystemFaultError when a directory cannot be read.

    `stopped` is asked before each blob whether anybody still wants to know.
    """
    with locked(store.directory):
        found = survey(store)
        there = {path for folder in SWEPT for path in _files(store.directory / folder)}
    temporaries = {path for path in there if path.match(TEMPORARY)}
    needed = {store.blob_path(digest): digest for digest in found.blobs}
    for _, digest in sorted(needed.items()):
        if stopped():
            break
        with found.noting():
            store.read_blob(digest)
    return Report(
        len(found.releases),
        len(found.channels),
        len(needed),
        tuple(found.problems),
        _shown(store, there - temporaries - found.files - set(needed)),
        _shown(store, temporaries),
    )


def sweep(store: Store) -> Report:
    """Remove what a kill left, complete the audit log, and return what `check` found before that."""
    report = check(store)
    tidy(store)
    return report


def tidy(store: Store) -> Survey:
    """Remove what a kill left, complete the audit log, and return what records and pointers say; reads no blob.

    Raises SystemFaultError where the store cannot be written.
    """
    with locked(store.directory):  # where no writer is at work, so that every temporary file is a dead one's
        for folder in SWEPT:
            for path in _files(store.directory / folder):
                if path.match(TEMPORARY):
                    files.remove(path)
        found = survey(store)
        _complete_audit(store, found)
    return found


def audit_lines(store: Store) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the audit log's lines by number from 1, None for a damaged one; half a line at the end is not one yet."""
    return audit_log.lines(store.directory / AUDIT)


def _survey_product(store: Store, product: str, found: Survey) -> None:
    folder = store.directory / PRODUCTS / product
    for version in store.releases(product):
        found.files.add(folder / "releases" / f"{version}.json")
        with found.noting():
            release = store.release(product, version)
            found.blobs |= {form.blob for form in release.forms}
            found.releases[product, version] = hashlib.sha256(serialise(release)).hexdigest()
    for name in store.channels(product):
        found.files.add(folder / "channels" / f"{name}.json")
        found.channels[product, name] = None
        with found.noting():
            channel = store.current(product, name)
            found.channels[product, name] = pointer_event("point", product, name, channel) if channel else None
            for version in sorted(channel.versions if channel else ()):
                if (product, version) not in found.releases:
                    found.problems.append(
                        f"channel '{name}' of '{product}' needs release '{version}', which is damaged"
                    )
    for name in store.archives(product):
        found.files.add(folder / "certs" / f"{name}.json")
        found.archives[product, name] = None
        with found.noting():
            record = store.archive(product, name)
            found.archives[product, name] = archive_event(product, name, record) if record else None
            found.blobs |= {record.blob} if record else set()
    with found.noting():
        for name, pem in store.keys(product).items():
            found.files.add(folder / "keys" / f"{name}.pub")
            load_public_key(pem, f"public key '{name}' of '{product}'")


def _contradictions(found: Survey, said: LastEvents) -> Iterator[str]:
    """Yield how what there is contradicts what the audit log said last of it."""
    for title, there, lines in (
        ("channel '{1}' of '{0}'", found.channels, said.channels),
        ("the certificates of channel '{1}' of '{0}'", found.archives, said.archives),
    ):
        for named, line in sorted(lines.items()):
            fields = there.get(named)
            if fields is None and named in there:
                continue  # damaged, and said to be
            if why := contradiction(line, fields):
                yield f"{title.format(*named)} {why}"
    for (product, version), digest in sorted(said.releases.items()):
        if digest is not None and found.releases.get((product, version), digest) != digest:
            yield f"the record of release '{version}' of '{product}' is not the one that was published"


def _complete_audit(store: Store, found: Survey) -> None:
    """Write the lines of releases and pointers that the log does not know: who made them was killed, or refused."""
    said = last_said(audit_lines(store))
    for product, version in sorted(found.releases.keys() - said.releases.keys()):
        record = serialise(store.release(product, version))
        store.append(publish_event(product, version, record) | {"recovered": True})
    _complete_lines(store, "generation", found.channels, said.channels)
    _complete_lines(store, "certs_generation", found.archives, said.archives)


def _complete_lines(
    store: Store, counted: str, there: Mapping[Named, Event | None], said: Mapping[Named, Event]
) -> None:
    """Write a line for each pointer that is ahead of its last one; an older one is damage, and no news."""
    for named, fields in sorted(there.items()):
        if fields is not None and (named not in said or _is_ahead(fields[counted], said[named].get(counted))):
            store.append(fields | {"recovered": True})


def _is_ahead(ours: object, theirs: object) -> bool:
    return not isinstance(ours, int) or not isinstance(theirs, int) or ours > theirs


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _shown(store: Store, paths: set[Path]) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(store.directory).as_posix() for path in paths))
