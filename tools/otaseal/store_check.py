"""Whether a release store is whole: everything in it read and hashed again, and what a kill left behind removed.

`check` changes nothing. `sweep`, for the start of a server, also removes temporary files and writes the audit lines of
changes whose writer was killed before the last step. Damage is reported, never repaired by guessing: a channel whose
release is damaged stays where it points, and its readers get an error (`Store.read_blob`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import audit, files
from .errors import OtasealError
from .pki.disk import locked
from .public_keys import load_public_key
from .store import AUDIT, PRODUCTS, Store, archive_event, pointer_event

__all__ = ["Report", "Survey", "audit_lines", "check", "survey", "sweep"]

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
    """What a store consists of by its records and pointers: its own files, the blobs they need, what is damaged."""

    releases: set[tuple[str, str]] = field(default_factory=set)
    channels: set[tuple[str, str]] = field(default_factory=set)
    archives: set[tuple[str, str]] = field(default_factory=set)
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
    found.problems += [f"line {number} of '{AUDIT}' is damaged" for number, line in audit_lines(store) if line is None]
    return found


def check(store: Store) -> Report:
    """Read every file of the store and hash every blob; raises SystemFaultError when a directory cannot be read."""
    with locked(store.directory):
        found = survey(store)
        there = {path for folder in SWEPT for path in _files(store.directory / folder)}
    temporaries = {path for path in there if path.match(TEMPORARY)}
    needed = {store.blob_path(digest): digest for digest in found.blobs}
    for _, digest in sorted(needed.items()):
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
    with locked(store.directory):  # where no writer is at work, so that every temporary file is a dead one's
        for folder in SWEPT:
            for path in _files(store.directory / folder):
                if path.match(TEMPORARY):
                    files.remove(path)
        _complete_audit(store)
    return report


def audit_lines(store: Store) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the audit log's lines by number from 1, None for a damaged one; half a line at the end is not one yet."""
    return audit.lines(store.directory / AUDIT)


def _survey_product(store: Store, product: str, found: Survey) -> None:
    folder = store.directory / PRODUCTS / product
    for version in store.releases(product):
        found.files.add(folder / "releases" / f"{version}.json")
        with found.noting():
            found.blobs |= {form.blob for form in store.release(product, version).forms}
            found.releases.add((product, version))
    for name in store.channels(product):
        found.files.add(folder / "channels" / f"{name}.json")
        found.channels.add((product, name))
        with found.noting():
            channel = store.current(product, name)
            for version in sorted(channel.versions if channel else ()):
                if (product, version) not in found.releases:
                    found.problems.append(
                        f"channel '{name}' of '{product}' needs release '{version}', which is damaged"
                    )
    for name in store.archives(product):
        found.files.add(folder / "certs" / f"{name}.json")
        with found.noting():
            record = store.archive(product, name)
            found.archives.add((product, name))
            found.blobs |= {record.blob} if record else set()
    with found.noting():
        for name, pem in store.keys(product).items():
            found.files.add(folder / "keys" / f"{name}.pub")
            load_public_key(pem, f"public key '{name}' of '{product}'")


def _complete_audit(store: Store) -> None:
    """Write the lines of releases and pointers that the log does not know: who made them was killed, or refused."""
    published: set[tuple[object, object]] = set()
    generations: dict[tuple[object, object], object] = {}
    archives: dict[tuple[object, object], object] = {}
    for _, line in audit_lines(store):
        if line and line.get("event") == "publish":
            published.add((line.get("product"), line.get("version")))
        elif line and "generation" in line:
            generations[line.get("product"), line.get("channel")] = line["generation"]
        elif line and "certs_generation" in line:
            archives[line.get("product"), line.get("channel")] = line["certs_generation"]
    found = survey(store)
    for product, version in sorted(found.releases - published):
        store.append({"event": "publish", "product": product, "version": version, "recovered": True})
    for product, name in sorted(found.channels):
        with contextlib.suppress(OtasealError):  # damaged: reported by `check`
            channel = store.current(product, name)
            if channel and generations.get((product, name)) != channel.generation:
                store.append(pointer_event("point", product, name, channel) | {"recovered": True})
    for product, name in sorted(found.archives):
        record = store.archive(product, name)
        if record and archives.get((product, name)) != record.generation:
            store.append(archive_event(product, name, record) | {"recovered": True})


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _shown(store: Store, paths: set[Path]) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(store.directory).as_posix() for path in paths))
