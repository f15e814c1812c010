"""The check of a release store: everything in it is read and hashed, and what a kill left behind removed.

`check` changes nothing. `tidy`, for the start of a server, reads no blob, removes temporary files and writes the audit
lines of changes whose writer was killed before the last step; `sweep` is both. Damage is reported, never repaired by
guessing: a channel whose release is damaged stays where it points, and its readers get an error (`Store.read_blob`).
What a later otaseal wrote is no damage, and is named apart.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import files
from ..directories import locked
from ..errors import CorruptStoreError, LaterFormatError, OtasealError
from ..keys.public import load_public_key
from ..release.record_json import serialise
from . import audit_log
from .audit_log import (
    KINDS,
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
from .secrets import SECRETS_FILE, Secrets

TEMPORARY = ".*.tmp"
SWEPT = ("blobs", PRODUCTS)


@dataclass(frozen=True)
class Report:
    """What was found: counts, a line for each damage, and paths in the store: not needed, and left by a kill.

    `later` has a line for each file that a later otaseal wrote. What such a file needs is not known: where there is
    one, nothing counts as not needed.
    """

    releases: int
    channels: int
    blobs: int
    problems: tuple[str, ...]
    orphans: tuple[str, ...]
    temporaries: tuple[str, ...]
    later: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Tell whether everything was read and nothing is damaged; orphans and temporary files are no damage."""
        return not self.unusable

    @property
    def unusable(self) -> tuple[str, ...]:
        """The lines of all that cannot be used here: what is damaged, and what a later otaseal wrote."""
        return (*self.problems, *self.later)


@dataclass
class Survey:
    """What a store consists of by its records and pointers: its own files, the blobs they need, what is damaged.

    Of releases the SHA-256 of the record; of pointers, by kind, product and channel, the event that an audit line would
    have, None for those that cannot be read. `later` are the files that a later otaseal wrote.
    """

    releases: dict[Named, str] = field(default_factory=dict)
    pointers: dict[tuple[str, str, str], Event | None] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    later: dict[Path, LaterFormatError] = field(default_factory=dict)

    @property
    def unusable(self) -> tuple[str, ...]:
        """The lines of all that cannot be used here: what is damaged, and what a later otaseal wrote."""
        return (*self.problems, *(error.message for error in self.later.values()))

    def require_whole(self) -> None:
        """Raise CorruptStoreError where anything is damaged, LaterFormatError where a later otaseal wrote."""
        if self.problems:
            raise CorruptStoreError(f"the store is not whole: {self.problems[0]}", "see otaseal store check")
        for error in self.later.values():
            raise LaterFormatError(error.what)

    @contextlib.contextmanager
    def noting(self, path: Path) -> Iterator[None]:
        """Note what goes wrong with the file `path` here: damage, or a later format."""
        try:
            yield
        except LaterFormatError as error:
            self.later[path] = error
        except OtasealError as error:
            self.problems.append(error.message)


def survey(store: Store) -> Survey:
    """Read every record, pointer and key of the store, and its secrets, and no blob; for who holds the lock."""
    contents = Survey()
    for product in store.products():
        _survey_product(store, product, contents)
    with contents.noting(path := store.directory / SECRETS_FILE), Secrets(path) as secrets:
        secrets.check()
    lines = list(audit_lines(store))
    contents.problems += [f"line {number} of '{AUDIT}' is damaged" for number, line in lines if line is None]
    contents.problems += _contradictions(contents, last_events(lines))
    return contents


def check(store: Store, stopped: Callable[[], bool] = lambda: False) -> Report:
    """Read every file and hash every blob, until `stopped`; raises SystemFaultError when a directory cannot be read."""
    with locked(store.directory):
        contents = survey(store)
        present = {path for folder in SWEPT for path in _files(store.directory / folder)}
    temporaries = {path for path in present if path.match(TEMPORARY)}
    needed = {store.blob_path(digest): digest for digest in contents.blobs}
    for path, digest in sorted(needed.items()):
        if stopped():
            break
        with contents.noting(path):
            store.read_blob(digest)
    return Report(
        len(contents.releases),
        sum(kind == KINDS[0] for kind, _, _ in contents.pointers),
        len(needed),
        tuple(contents.problems),
        () if contents.later else _shown(store, present - temporaries - contents.files - set(needed)),
        _shown(store, temporaries),
        tuple(error.message for error in contents.later.values()),
    )


def sweep(store: Store) -> Report:
    """Remove what a kill left, complete the audit log, and return what `check` found before that."""
    report = check(store)
    tidy(store)
    return report


def tidy(store: Store) -> Survey:
    """Remove what a kill left, complete the audit log, and survey; raises SystemFaultError for a read-only store."""
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
        contents.files.add(path := store.release_path(product, version))
        with contents.noting(path):
            release = store.release(product, version)
            contents.blobs |= {form.blob for form in release.files}
            contents.releases[product, version] = hashlib.sha256(serialise(release)).hexdigest()
    for name in store.channels(product):
        contents.files.add(path := folder / "channels" / f"{name}.json")
        contents.pointers[KINDS[0], product, name] = None
        with contents.noting(path):
            if channel := store.current(product, name):
                contents.pointers[KINDS[0], product, name] = pointer_event("point", product, name, channel)
                contents.problems += [
                    f"channel '{name}' of '{product}' needs release '{version}', which is damaged"
                    for version in sorted(channel.versions)
                    if (product, version) not in contents.releases
                    and store.release_path(product, version) not in contents.later
                ]
    for name in store.archives(product):
        contents.files.add(path := folder / "certs" / f"{name}.json")
        contents.pointers[KINDS[1], product, name] = None
        with contents.noting(path):
            if record := store.archive(product, name):
                contents.pointers[KINDS[1], product, name] = archive_event(product, name, record)
                contents.blobs.add(record.blob)
    with contents.noting(folder / "keys"):
        for name, pem in store.keys(product).items():
            contents.files.add(folder / "keys" / f"{name}.pub")
            load_public_key(pem, f"public key '{name}' of '{product}'")


def _contradictions(contents: Survey, logged: LastEvents) -> Iterator[str]:
    """Yield how what is stored contradicts the last events of the audit log."""
    for kind, product, name in sorted(logged.pointers, key=_order):
        pointer = kind, product, name
        stored = contents.pointers.get(pointer)
        if stored is None and pointer in contents.pointers:
            continue  # it cannot be read, and is reported above
        if reason := contradiction(logged.pointers[pointer], stored):
            title = "channel" if kind == KINDS[0] else "the certificates of channel"
            yield f"{title} '{name}' of '{product}' {reason}"
    for (product, version), digest in sorted(logged.releases.items()):
        if digest is not None and contents.releases.get((product, version), digest) != digest:
            yield f"the record of release '{version}' of '{product}' is not the one that was published"


def _complete_audit(store: Store, contents: Survey) -> None:
    """Write the lines that are missing of releases, and of pointers ahead of their last one: a writer was killed."""
    logged = last_events(audit_lines(store))
    for product, version in sorted(contents.releases.keys() - logged.releases.keys()):
        record = serialise(store.release(product, version))
        store.append(publish_event(product, version, record) | {"recovered": True})
    for pointer in sorted(contents.pointers, key=_order):
        stored, line = contents.pointers[pointer], logged.pointers.get(pointer)
        if stored is not None and (line is None or is_ahead(stored, line)):
            store.append(stored | {"recovered": True})


def _order(pointer: tuple[str, str, str]) -> tuple[int, str, str]:
    kind, product, name = pointer
    return KINDS.index(kind), product, name


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _shown(store: Store, paths: set[Path]) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(store.directory).as_posix() for path in paths))
