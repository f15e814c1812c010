"""What is read of a release store, and how: each document is bounded, parsed whole, and that which it should be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TypeVar

from ..errors import CorruptStoreError, InputError, LaterFormatError, NotFoundError
from ..names import NAME
from ..release import release_log
from ..release.archive_record import MAX_RECORD_BYTES as MAX_ARCHIVE_RECORD
from ..release.archive_record import ArchiveRecord
from ..release.attachments import LIMITS, LOG
from ..release.channels import MAX_CHANNEL_BYTES, Channel
from ..release.record_fields import VERSION
from ..release.record_json import MAX_RECORD_SIZE, parse
from ..release.records import Release
from ..release.release_log import Head
from .documents import (
    PRODUCTS,
    RECORD_HINT,
    Reader,
    archive_name,
    attachment_folder,
    attachment_name,
    blob_name,
    channel_name,
    key_name,
    log_name,
    product_folder,
    release_name,
)

MAX_KEY_BYTES = 64 * 1024
MAX_KEYS = 16
"""Public keys of one product: every signature is tried against all of them."""
_NUMBER = re.compile(r"[0-9]{8}")
T = TypeVar("T")
_BLOB_HINT = "restore the store from a backup, or deploy that release again"


class Contents:
    """What a store has: now, or as a change of it has made it. Safe in threads."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def products(self) -> tuple[str, ...]:
        """Return the products' names, sorted."""
        return tuple(
            name
            for name in self.reader.names(PRODUCTS)
            if NAME.fullmatch(name) and self.reader.names(f"{PRODUCTS}/{name}")
        )

    def channels(self, product: str) -> tuple[str, ...]:
        """Return the names of a product's channels, sorted; empty for an unknown product."""
        return self._names(product, "channels", NAME, ".json")

    def current(self, product: str, channel: str) -> Channel | None:
        """Return what a channel points at, None for nothing; raises InputError, CorruptStoreError, LaterFormatError."""
        name, what = channel_name(product, channel), f"channel '{channel}' of '{product}'"
        return self._load(name, what, MAX_CHANNEL_BYTES, Channel.from_json)

    def archive(self, product: str, channel: str) -> ArchiveRecord | None:
        """Return which certificate archive a channel gives out, None when it never had one; raises as `current`."""
        name, what = archive_name(product, channel), f"the certificates of channel '{channel}' of '{product}'"
        return self._load(name, what, MAX_ARCHIVE_RECORD, ArchiveRecord.from_json)

    def archives(self, product: str) -> tuple[str, ...]:
        """Return the channels of a product that give out a certificate archive, sorted."""
        return self._names(product, "certs", NAME, ".json")

    def release(self, product: str, version: str) -> Release:
        """Return the record of a release; raises NotFoundError, CorruptStoreError, LaterFormatError, InputError."""
        what = f"release '{version}' of '{product}'"
        release = self._load(release_name(product, version), what, MAX_RECORD_SIZE, parse, RECORD_HINT)
        if release is None:
            raise NotFoundError(f"there is no {what}", "otaseal releases lists what there is")
        if (release.product, release.version) != (product, version):
            raise CorruptStoreError(f"the record of {what} is that of another", RECORD_HINT)
        return release

    def releases(self, product: str) -> tuple[str, ...]:
        """Return the versions of a product's releases, sorted as text; empty for an unknown product."""
        return self._names(product, "releases", VERSION, ".json")

    def attachments(self, product: str, version: str) -> tuple[str, ...]:
        """Return the kinds of a release's attachments, sorted; raises InputError, SystemFaultError."""
        names = self.reader.names(attachment_folder(product, version))
        return tuple(kind for kind in sorted(LIMITS) if f"{kind}.json" in names)

    def attachment(self, product: str, version: str, kind: str) -> bytes | None:
        """Return an attachment of a release, None where it has none; raises InputError, CorruptStoreError."""
        name, what = attachment_name(product, version, kind), f"the {kind} of release '{version}' of '{product}'"
        return self.reader.read(name, what, LIMITS[kind])

    def log(self, product: str) -> int:
        """Return how many entries the log of a product's releases has."""
        return len(self._names(product, "log", _NUMBER, ".json"))

    def log_entry(self, product: str, number: int) -> bytes:
        """Return an entry of that log, counted from 1; raises NotFoundError, CorruptStoreError."""
        what = f"entry {number} of the log of '{product}'"
        data = self.reader.read(log_name(product, number), what, LIMITS[LOG])
        if data is None:
            raise CorruptStoreError(f"{what} is missing", "restore the store from a backup")
        return data

    def log_head(self, product: str) -> Head:
        """Return where that log ends; raises as `log_entry`."""
        number = self.log(product)
        return release_log.head_of(number, self.log_entry(product, number)) if number else Head()

    def keys(self, product: str) -> dict[str, bytes]:
        """Return the public keys (PEM) that a product's releases may be signed with, by name."""
        names = self._names(product, "keys", VERSION, ".pub")[:MAX_KEYS]
        found = {
            name: self.reader.read(key_name(product, name), f"public key '{name}'", MAX_KEY_BYTES) for name in names
        }
        return {name: data for name, data in found.items() if data is not None}

    def read_blob(self, digest: str) -> bytes:
        """Return a blob, after hashing it; raises CorruptStoreError when damaged or missing, never other bytes."""
        blob_name(digest)
        data = self.reader.read_blob(digest)
        if data is None:
            raise CorruptStoreError(f"blob '{digest}' is missing", _BLOB_HINT)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptStoreError(f"blob '{digest}' is damaged", _BLOB_HINT)
        return data

    def _load(self, name: str, what: str, limit: int, parse: Callable[[bytes], T], hint: str | None = None) -> T | None:
        """Return the value of a document, None where there is none; messages call it `what`."""
        data = self.reader.read(name, what, limit)
        try:
            return None if data is None else parse(data)
        except LaterFormatError as error:
            raise LaterFormatError(f"{what}: {error.what}") from error
        except InputError as error:
            place = self.reader.place(name)
            pointer = (
                f"restore '{place}' from a backup; or remove it and deploy again, and what it goes back to is lost"
            )
            raise CorruptStoreError(f"{what}: {error.message}", hint or pointer) from error

    def _names(self, product: str, kind: str, pattern: re.Pattern[str], suffix: str) -> tuple[str, ...]:
        """Return the names of the store's own documents of one kind; anything else is `check`'s to report."""
        listed = self.reader.names(f"{product_folder(product)}/{kind}")
        names = [name.removesuffix(suffix) for name in listed if name.endswith(suffix)]
        return tuple(name for name in names if pattern.fullmatch(name))
