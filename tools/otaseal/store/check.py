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
from pathlib import PurePosixPath

from ..errors import CorruptStoreError, LaterFormatError, OtasealError
from ..keys.public import load_public_key
from ..release import attachments, release_log
from ..release.record_json import serialise
from ..release.release_log import Head
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
from .contents import Contents
from .documents import (
    AUDIT,
    TOKENS,
    TRUSTS,
    Change,
    Reader,
    archive_name,
    attachment_name,
    blob_name,
    channel_name,
    key_name,
    log_name,
    product_folder,
    release_name,
)
from .files import TEMPORARY
from .secrets import SECRETS_FILE
from .store import Store
from .tokens import read_tokens
from .trusts import read_trusts


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
    files: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    later: dict[str, LaterFormatError] = field(default_factory=dict)

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
    def noting(self, name: str) -> Iterator[None]:
        """Note what goes wrong with the document `name` here: damage, or a later format."""
        try:
            yield
        except LaterFormatError as error:
            self.later[name] = error
        except OtasealError as error:
            self.problems.append(error.message)


def survey(store: Store, reader: Reader) -> Survey:
    """Read every record, pointer and key, the secrets, tokens and trusts, and no blob; within a change, or as it is."""
    contents, found = Contents(reader), Survey()
    for product in contents.products():
        _survey_product(contents, product, found)
    with found.noting(SECRETS_FILE):
        store.documents.check_secrets()
    with found.noting(TOKENS):
        read_tokens(reader)
    with found.noting(TRUSTS):
        read_trusts(reader)
    lines = list(reader.audit_lines())
    found.problems += [f"line {number} of '{AUDIT}' is damaged" for number, line in lines if line is None]
    found.problems += _contradictions(found, last_events(lines))
    return found


def check(store: Store, stopped: Callable[[], bool] = lambda: False) -> Report:
    """Read every file and hash every blob, until `stopped`; raises SystemFaultError when a directory cannot be read."""
    with store.documents.change() as change:
        found, present = survey(store, change), change.present()
    temporaries = {name for name in present if PurePosixPath(name).match(TEMPORARY)}
    needed = {blob_name(digest): digest for digest in found.blobs}
    for name, digest in sorted(needed.items()):
        if stopped():
            break
        with found.noting(name):
            store.read_blob(digest)
    return Report(
        len(found.releases),
        sum(kind == KINDS[0] for kind, _, _ in found.pointers),
        len(needed),
        tuple(found.problems),
        () if found.later else tuple(sorted(present - temporaries - found.files - set(needed))),
        tuple(sorted(temporaries)),
        tuple(error.message for error in found.later.values()),
    )


def sweep(store: Store) -> Report:
    """Remove what a kill left, complete the audit log, and return what `check` found before that."""
    report = check(store)
    tidy(store)
    return report


def tidy(store: Store) -> Survey:
    """Remove what a kill left, complete the audit log, and survey; raises SystemFaultError for a read-only store."""
    with store.documents.change() as change:
        store.documents.sweep()
        found = survey(store, change)
        _complete_audit(change, found)
    return found


def _survey_product(contents: Contents, product: str, found: Survey) -> None:
    for version in contents.releases(product):
        found.files.add(name := release_name(product, version))
        with found.noting(name):
            release = contents.release(product, version)
            found.blobs |= {form.blob for form in release.files}
            found.releases[product, version] = hashlib.sha256(serialise(release)).hexdigest()
        for kind in contents.attachments(product, version):
            found.files.add(name := attachment_name(product, version, kind))
            with found.noting(name):
                attachments.parse(kind, contents.attachment(product, version, kind) or b"")
    _survey_log(contents, product, found)
    for channel in contents.channels(product):
        found.files.add(name := channel_name(product, channel))
        found.pointers[KINDS[0], product, channel] = None
        with found.noting(name):
            if state := contents.current(product, channel):
                found.pointers[KINDS[0], product, channel] = pointer_event("point", product, channel, state)
                found.problems += [
                    f"channel '{channel}' of '{product}' needs release '{version}', which is damaged"
                    for version in sorted(state.versions)
                    if (product, version) not in found.releases and release_name(product, version) not in found.later
                ]
    for channel in contents.archives(product):
        found.files.add(name := archive_name(product, channel))
        found.pointers[KINDS[1], product, channel] = None
        with found.noting(name):
            if record := contents.archive(product, channel):
                found.pointers[KINDS[1], product, channel] = archive_event(product, channel, record)
                found.blobs.add(record.blob)
    with found.noting(f"{product_folder(product)}/keys"):
        for key, pem in contents.keys(product).items():
            found.files.add(key_name(product, key))
            load_public_key(pem, f"public key '{key}' of '{product}'")


def _survey_log(contents: Contents, product: str, found: Survey) -> None:
    """Follow the chain of a product's log; who signed it is for those to see who have the keys."""
    head = Head()
    for number in range(1, contents.log(product) + 1):
        found.files.add(name := log_name(product, number))
        with found.noting(name):
            data = contents.log_entry(product, number)
            if not release_log.parse(data).follows(head):
                raise CorruptStoreError(
                    f"entry {number} of the log of '{product}' does not follow the one before",
                    "restore the store from a backup",
                )
            head = release_log.head_of(number, data)


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


def _complete_audit(change: Change, found: Survey) -> None:
    """Write the lines that are missing of releases, and of pointers ahead of their last one: a writer was killed."""
    logged, contents = last_events(change.audit_lines()), Contents(change)
    for product, version in sorted(found.releases.keys() - logged.releases.keys()):
        record = serialise(contents.release(product, version))
        change.append(publish_event(product, version, record) | {"recovered": True})
    for pointer in sorted(found.pointers, key=_order):
        stored, line = found.pointers[pointer], logged.pointers.get(pointer)
        if stored is not None and (line is None or is_ahead(stored, line)):
            change.append(stored | {"recovered": True})


def _order(pointer: tuple[str, str, str]) -> tuple[int, str, str]:
    kind, product, name = pointer
    return KINDS.index(kind), product, name
