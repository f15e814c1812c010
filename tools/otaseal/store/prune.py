"""Removing releases that nobody needs any more, and the files that only they needed.

Kept are releases that a channel gives out or can go back to, that a device seen runs or was offered, the latest of each
product, and those published a moment ago. A damaged store is left as it is: what a damaged file needs is not known. A
release's audit line is written before its record goes, and blobs go last: a kill at any moment leaves a whole store.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import ConflictError, InputError
from ..release.notes import NO_NOTES
from ..release.records import Release
from .audit_log import Named
from .backend import Backend
from .check import Survey, survey
from .contents import Contents
from .documents import Change, Reader, release_name
from .release_notes import ReleaseNotes
from .store import Store, remove_release

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


def prune(backend: Backend, keep: int = KEEP, *, by: str = "", dry_run: bool = False) -> Pruned:
    """Remove what nobody needs, or, `dry_run`, only return it; `keep` of the latest releases of each product stay.

    Raises InputError for less than one, CorruptStoreError, LaterFormatError, SystemFaultError.
    """
    if keep < 1:
        raise InputError(f"'{keep}' releases cannot be kept", "keep one of each product at least")
    store = backend.store
    seen = _seen(backend)  # before the lock, which the list of devices is opened under, too
    with store.documents.change() as change:
        found = survey(store, change)
        found.require_whole()
        plan = _plan(change, found, seen, keep)
        if not dry_run:
            _remove(change, plan, by)
    if not dry_run:
        notes = ReleaseNotes(backend.secrets)
        for product, version in plan.releases:
            notes.set(product, version, NO_NOTES)
    return plan


def _plan(reader: Reader, found: Survey, seen: Mapping[str, Seen], keep: int) -> Pruned:
    store = Contents(reader)
    gone: list[Named] = []
    blobs: set[str] = set()
    for product in store.products():
        records = [store.archive(product, channel) for channel in store.archives(product)]
        blobs |= {record.blob for record in records if record}
        releases = [store.release(product, version) for version in store.releases(product)]
        needed = _needed(store, product, releases, seen.get(product, NOBODY))
        latest = sorted(releases, key=lambda recent: (recent.created, recent.version), reverse=True)
        needed |= {recent.version for recent in latest[:keep]}
        for release in releases:
            if release.version in needed:
                blobs |= {form.blob for form in release.files}
            else:
                gone.append((product, release.version))
    unneeded = {digest: size for digest, size in reader.blobs().items() if digest not in blobs}
    return Pruned(tuple(gone), tuple(unneeded), sum(unneeded.values()), len(found.releases) - len(gone))


def delete(store: Store, product: str, version: str, by: str = "") -> None:
    """Remove a release that no channel gives out or can go back to, and the files that only it needed.

    Raises NotFoundError, ConflictError where a channel needs it, CorruptStoreError for a store that is damaged.
    """
    with store.documents.change() as change:
        contents = Contents(change)
        release = contents.release(product, version)
        for name in contents.channels(product):
            channel = contents.current(product, name)
            if channel is not None and version in channel.versions:
                does = "gives out" if channel.pointer.version == version else "can go back to"
                raise ConflictError(
                    f"channel '{name}' of '{product}' {does} release '{version}'",
                    "give the channel another release first; it goes back to the last 32 that all its devices had",
                )
        survey(store, change).require_whole()
        change.append({"event": "prune", "product": product, "version": version, "by": by, "asked": True})
        remove_release(change, product, version)
        needed = _needed_blobs(contents)
        for digest in dict.fromkeys(form.blob for form in release.files):
            if digest not in needed:
                change.remove_blob(digest)


def _needed_blobs(store: Contents) -> set[str]:
    """Return the files of all releases and certificate archives there are."""
    blobs: set[str] = set()
    for product in store.products():
        records = [store.archive(product, channel) for channel in store.archives(product)]
        blobs |= {record.blob for record in records if record}
        blobs |= {form.blob for version in store.releases(product) for form in store.release(product, version).files}
    return blobs


def _needed(store: Contents, product: str, releases: Iterable[Release], seen: Seen) -> set[str]:
    """Return the versions that channels, rollbacks and devices need, and those that are about to be pointed at."""
    channels = [store.current(product, name) for name in store.channels(product)]
    needed = {version for channel in channels if channel for version in channel.versions}
    md5s, offered = seen
    for release in releases:
        modified = store.reader.modified(release_name(product, release.version))
        if not md5s.isdisjoint(release.runs) or abs(time.time() - modified) < RECENT_SECONDS:
            needed.add(release.version)
    return needed | offered


def _seen(backend: Backend) -> dict[str, Seen]:
    """Return what the devices seen run and were offered, by product; nothing where none was ever seen."""
    with backend.seen() as devices:
        return {} if devices is None else {product: devices.needs(product) for product in backend.store.products()}


def _remove(change: Change, plan: Pruned, by: str) -> None:
    for product, version in plan.releases:
        change.append({"event": "prune", "product": product, "version": version, "by": by})
        remove_release(change, product, version)
    for digest in plan.blobs:
        change.remove_blob(digest)
