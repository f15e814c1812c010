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
from ..errors import CorruptStoreError, OtasealError
from ..keys.public import load_public_key
from ..release.records import serialise
from . import audit_log
from .audit_log import (
    Event,
    LastEvents,
    Named,
    archive_event,
    contradiction,
    is_ahead,
    last_events,
    pointer_event,
    publish_event,
)
from .files import AUDIT, PRODUCTS, Store

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

    def require_whole(self) -> None:
        """Raise CorruptStoreError where anything is damaged."""
        if self.problems:
            raise CorruptStoreError(f"the store is not whole: {self.problems[0]}", "see otaseal store check")

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note what goes wrong here as damage."""
        try:
            yield
        except OtasealError as error:
            self.problems.append(error.message)


def survey(store: Store) -> Survey:
    """Read every record, pointer and key of the store, and no blob; for who holds the lock."""
    contents = Survey()
    for product in store.products():
        _survey_product(store, product, contents)
    lines = list(audit_lines(store))
    contents.problems += [f"line {number} of '{AUDIT}' is damaged" for number, line in lines if line is None]
    contents.problems += _contradictions(contents, last_events(lines))
    return contents


def check(store: Store, stopped: Callable[[], bool] = lambda: False) -> Report:
    """Read every file of the store and hash every blob; raises SystemFaultError when a directory cannot be read.

    `stopped` is asked before each blob whether anybody still wants to know.
    """
    with locked(store.directory):
        contents = survey(store)
        present = {path for folder in SWEPT for path in _files(store.directory / folder)}
    temporaries = {path for path in present if path.match(TEMPORARY)}
    needed = {store.blob_path(digest): digest for digest in contents.blobs}
    for _, digest in sorted(needed.items()):
        if stopped():
            break
        with contents.noting():
            store.read_blob(digest)
    return Report(
        len(contents.releases),
        len(contents.channels),
        len(needed),
        tuple(contents.problems),
        _shown(store, present - temporaries - contents.files - set(needed)),
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
        contents = survey(store)
        _complete_audit(store, contents)
    return contents


def audit_lines(store: Store) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the audit log's lines by number from 1, None for a damaged one; half a line at the end is not one yet."""
    return audit_log.lines(store.directory / AUDIT)


def _survey_product(store: Store, product: str, contents: Survey) -> None:
    folder = store.directory / PRODUCTS / product
    for version in store.releases(product):
        contents.files.add(store.release_path(product, version))
        with contents.noting():
            release = store.release(product, version)
            contents.blobs |= {form.blob for form in release.forms}
            contents.releases[product, version] = hashlib.sha256(serialise(release)).hexdigest()
    for name in store.channels(product):
        contents.files.add(folder / "channels" / f"{name}.json")
        contents.channels[product, name] = None
        with contents.noting():
            channel = store.current(product, name)
            contents.channels[product, name] = pointer_event("point", product, name, channel) if channel else None
            for version in sorted(channel.versions if channel else ()):
                if (product, version) not in contents.releases:
                    contents.problems.append(
                        f"channel '{name}' of '{product}' needs release '{version}', which is damaged"
                    )
    for name in store.archives(product):
        contents.files.add(folder / "certs" / f"{name}.json")
        contents.archives[product, name] = None
        with contents.noting():
            record = store.archive(product, name)
            contents.archives[product, name] = archive_event(product, name, record) if record else None
            contents.blobs |= {record.blob} if record else set()
    with contents.noting():
        for name, pem in store.keys(product).items():
            contents.files.add(folder / "keys" / f"{name}.pub")
            load_public_key(pem, f"public key '{name}' of '{product}'")


def _contradictions(contents: Survey, logged: LastEvents) -> Iterator[str]:
    """Yield how what is stored contradicts the last events of the audit log."""
    for title, stored, lines in (
        ("channel '{1}' of '{0}'", contents.channels, logged.channels),
        ("the certificates of channel '{1}' of '{0}'", contents.archives, logged.archives),
    ):
        for named, line in sorted(lines.items()):
            fields = stored.get(named)
            if fields is None and named in stored:
                continue  # damaged, and reported above
            if why := contradiction(line, fields):
                yield f"{title.format(*named)} {why}"
    for (product, version), digest in sorted(logged.releases.items()):
        if digest is not None and contents.releases.get((product, version), digest) != digest:
            yield f"the record of release '{version}' of '{product}' is not the one that was published"


def _complete_audit(store: Store, contents: Survey) -> None:
    """Write the lines of releases and pointers that the log does not know: who made them was killed, or refused."""
    logged = last_events(audit_lines(store))
    for product, version in sorted(contents.releases.keys() - logged.releases.keys()):
        record = serialise(store.release(product, version))
        store.append(publish_event(product, version, record) | {"recovered": True})
    _complete_lines(store, "generation", contents.channels, logged.channels)
    _complete_lines(store, "certs_generation", contents.archives, logged.archives)


def _complete_lines(
    store: Store, counted: str, stored: Mapping[Named, Event | None], logged: Mapping[Named, Event]
) -> None:
    """Write a line for each pointer that is ahead of its last one; an older one is damage, and no news."""
    for named, fields in sorted(stored.items()):
        if fields is not None and (named not in logged or is_ahead(fields[counted], logged[named].get(counted))):
            store.append(fields | {"recovered": True})


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _shown(store: Store, paths: set[Path]) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(store.directory).as_posix() for path in paths))
