"""Removing releases that nobody needs any more, and the files that only they needed.

Kept is what a channel gives out or can go back to, what a device that was seen runs or was offered, the latest releases
of each product, and what was published a moment ago and no channel points at yet. A store that is not whole is left as
it is: what a damaged file needs is not known.

Each release has its line in the audit log before its record goes, and its files go after all records: a kill at any
moment leaves a store that is whole, and doing the same again finishes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..directories import locked
from ..errors import CorruptStoreError, InputError, SystemFaultError
from ..release.records import Release
from .audit_events import Named
from .check import Survey, survey
from .devices import Devices
from .files import BLOBS, DEVICES_FILE, PRODUCTS, Store

__all__ = ["KEEP", "Pruned", "prune"]

Seen = tuple[frozenset[str], frozenset[str]]
"""The sketch MD5s that devices run, and the versions that they were offered."""

KEEP = 10
"""The latest releases of each product, which stay whoever needs them."""
NOBODY: Seen = (frozenset(), frozenset())
RECENT_SECONDS = 3600.0
"""What was published so lately may be about to be given to a channel."""


@dataclass(frozen=True)
class Pruned:
    """What goes: releases by product and version, files by SHA-256, and the bytes of those; how many releases stay."""

    releases: tuple[Named, ...]
    blobs: tuple[str, ...]
    size: int
    kept: int


def prune(store: Store, keep: int = KEEP, *, by: str = "", dry_run: bool = False) -> Pruned:
    """Remove what nobody needs, or only say what that is; `keep` of the latest releases of each product stay.

    Raises InputError for less than one, CorruptStoreError for a store that is not whole, LaterFormatError and
    SystemFaultError where the devices seen cannot be read, or the disk refuses.
    """
    if keep < 1:
        raise InputError(f"'{keep}' releases cannot be kept", "keep one of each product at least")
    seen = _seen(store)  # before the lock, which the list of devices is opened under, too
    with locked(store.directory):
        found = survey(store)
        if found.problems:
            raise CorruptStoreError(f"the store is not whole: {found.problems[0]}", "see otaseal store check")
        plan = _plan(store, found, seen, keep)
        if not dry_run:
            _remove(store, plan, by)
    return plan


def _plan(store: Store, found: Survey, seen: Mapping[str, Seen], keep: int) -> Pruned:
    gone: list[Named] = []
    blobs = set(_archive_blobs(store, found))
    for product in store.products():
        releases = [store.release(product, version) for version in store.releases(product)]
        needed = _needed(store, product, releases, seen.get(product, NOBODY))
        latest = sorted(releases, key=lambda recent: (recent.created, recent.version), reverse=True)
        needed |= {recent.version for recent in latest[:keep]}
        for release in releases:
            if release.version in needed:
                blobs |= {form.blob for form in release.forms}
            else:
                gone.append((product, release.version))
    unneeded = [path for path in sorted((store.directory / BLOBS).glob("??/*")) if path.name not in blobs]
    size = sum(path.stat().st_size for path in unneeded)
    return Pruned(tuple(gone), tuple(path.name for path in unneeded), size, len(found.releases) - len(gone))


def _needed(store: Store, product: str, releases: Iterable[Release], seen: Seen) -> set[str]:
    """Return the versions that channels, rollbacks and devices need, and those that are about to be pointed at."""
    channels = [store.current(product, name) for name in store.channels(product)]
    needed = {version for channel in channels if channel for version in channel.versions}
    md5s, offered = seen
    for release in releases:
        if not md5s.isdisjoint(release.runs) or _is_recent(_record(store, product, release.version)):
            needed.add(release.version)
    return needed | offered


def _seen(store: Store) -> dict[str, Seen]:
    """Return what the devices seen run and were offered, by product; nothing where none was ever seen."""
    file = store.directory / DEVICES_FILE
    if not file.exists():
        return {}
    with Devices(file) as devices:
        return {product: devices.needs(product) for product in store.products()}


def _archive_blobs(store: Store, found: Survey) -> Iterable[str]:
    for product, channel in found.archives:
        record = store.archive(product, channel)
        if record is not None:
            yield record.blob


def _remove(store: Store, plan: Pruned, by: str) -> None:
    for product, version in plan.releases:
        store.append({"event": "prune", "product": product, "version": version, "by": by})
        _unlink(_record(store, product, version))
    for digest in plan.blobs:
        _unlink(store.blob_path(digest))


def _record(store: Store, product: str, version: str) -> Path:
    return store.directory / PRODUCTS / product / "releases" / f"{version}.json"


def _is_recent(path: Path) -> bool:
    return abs(time.time() - path.stat().st_mtime) < RECENT_SECONDS


def _unlink(path: Path) -> None:
    """Remove a file, durably, before the next step is taken."""
    files.remove(path)
    try:
        files.sync_directory(path.parent)
    except OSError as error:
        raise SystemFaultError(f"'{path.parent}' cannot be flushed: {error.strerror}", "check the disk") from error
