"""What a release store consists of, whatever keeps it: small documents by name, blobs by SHA-256, and an audit log.

    store.json                                      the store's format
    products/<product>/releases/<version>.json      immutable
    products/<product>/attachments/<version>/<kind>.json  immutable: what is said of a release beside its images
    products/<product>/log/<number>.json            immutable: what publishers sign of each release, in a chain
    products/<product>/channels/<channel>.json      replaced by compare-and-swap of its generation
    products/<product>/certs/<channel>.json         the same, for the certificate archive that a channel gives out
    products/<product>/keys/<name>.pub              public keys; the store never holds a private one
    tokens.json                                     hashes of operators' tokens
    trusts.json                                     whose tokens are taken in their place
    blobs/sha256/<2 digits>/<64 digits>             what devices download; never changed
    audit.log                                       one JSON object a line, appended

Rules are `store.Store`'s, and written once. What keeps the documents has to make each change durable in the order in
which it was made, and to let one writer in at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..errors import InputError
from ..names import check_name
from ..release.attachments import check_kind
from ..release.records import check_version

MAX_BLOB_BYTES = 16 * 1024 * 1024
"""The largest flash chip that an ESP8266 can use; no image and no filesystem is larger."""
MAX_SMALL_BYTES = 256 * 1024 * 1024
"""Bytes of any document that is not a blob: the audit log after a million deploys."""
MARKER, AUDIT, TOKENS, TRUSTS, BLOBS = "store.json", "audit.log", "tokens.json", "trusts.json", "blobs/sha256"
PRODUCTS = "products"
PRIVATE = frozenset({TOKENS, TRUSTS})
"""Documents that nobody but their owner may read."""
RECORD_HINT = "restore the store from a backup, or give the devices another release"
_SHA256 = re.compile(r"[0-9a-f]{64}")

Lines = Iterator[tuple[int, dict[str, Any] | None]]
"""The lines of an audit log by number from 1, None for a damaged one."""


class Reader(Protocol):
    """What can be read: of a store as it is now, or, within a change, as that has made it."""

    def read(self, name: str, what: str, limit: int) -> bytes | None:
        """Return a document of at most `limit` bytes, None where there is none; messages call it `what`.

        Raises CorruptStoreError, SystemFaultError.
        """

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in a folder, documents and folders, sorted; raises SystemFaultError."""

    def read_blob(self, digest: str) -> bytes | None:
        """Return the bytes that are kept under a SHA-256, whatever theirs is, None for none; raises as `read`."""

    def blobs(self) -> Mapping[str, int]:
        """Return the sizes of all blobs by SHA-256; raises SystemFaultError."""

    def modified(self, name: str) -> float:
        """Return when a document was written, in seconds since 1970; raises SystemFaultError."""

    def audit_lines(self) -> Lines:
        """Yield the lines of the audit log; one that is not complete is not one yet. Raises SystemFaultError."""

    def place(self, name: str) -> str:
        """Return where a person finds a document."""

    def present(self) -> set[str]:
        """Return the names of all that is kept below `products` and `blobs`, ours or not; raises SystemFaultError."""


class Change(Reader, Protocol):
    """What the only writer may do; each call raises SystemFaultError when it cannot be made durable."""

    def put_new(self, name: str, data: bytes) -> None:
        """Make a document, or make durable the one that is there."""

    def replace(self, name: str, data: bytes) -> None:
        """Put a document in place of what has that name."""

    def remove(self, name: str) -> None:
        """Remove a document."""

    def put_blob(self, digest: str, data: bytes) -> None:
        """Keep bytes under their SHA-256, in place of damaged ones."""

    def remove_blob(self, digest: str) -> None:
        """Remove a blob."""

    def append(self, *events: dict[str, object]) -> None:
        """Append a line for each event to the audit log, with the time now where it has none.

        Raises InputError when one is too long.
        """


class Documents(Reader, Protocol):
    """The documents of one store."""

    def change(self) -> AbstractContextManager[Change]:
        """Wait until nobody else writes, and be the one who may; durable at the end. Raises SystemFaultError."""

    def stamp(self, name: str) -> object | None:
        """Return what differs when a document, or what a folder has in it, has changed; None where there is none."""

    def is_settled(self, stamp: object) -> bool:
        """Return whether every change after `stamp` was taken shows in another one."""

    def last_change(self) -> object | None:
        """Return what differs when anything has changed that the audit log tells."""

    def audit_back(self, before: int | None = None) -> Lines:
        """Yield the lines of the audit log from the last, or that `before` a place, to the first, each with its place.

        Raises SystemFaultError, CorruptStoreError.
        """

    def unwritable(self) -> str:
        """Return in words why nothing can be written, "" where it can."""

    def is_current(self) -> bool:
        """Return whether what other servers have changed is known here."""

    def check_secrets(self) -> None:
        """Read all that is secret; raises LaterFormatError, CorruptStoreError, SystemFaultError."""

    def await_readers(self) -> tuple[str, ...]:
        """Wait until all servers know what was changed here, and return those that are out of touch.

        Raises SystemFaultError.
        """

    def sweep(self) -> None:
        """Remove what killed writers left; raises SystemFaultError."""


def release_name(product: str, version: str) -> str:
    """Return the name of a release's record; raises InputError."""
    return f"{product_folder(product)}/releases/{check_version(version)}.json"


def attachment_name(product: str, version: str, kind: str) -> str:
    """Return the name of an attachment of a release; raises InputError."""
    return f"{attachment_folder(product, version)}/{check_kind(kind)}.json"


def attachment_folder(product: str, version: str) -> str:
    """Return the folder of a release's attachments; raises InputError."""
    return f"{product_folder(product)}/attachments/{check_version(version)}"


def log_name(product: str, number: int) -> str:
    """Return the name of an entry of a product's log; raises InputError."""
    return f"{product_folder(product)}/log/{number:08}.json"


def channel_name(product: str, channel: str) -> str:
    """Return the name of what a channel points at; raises InputError."""
    return f"{product_folder(product)}/channels/{check_name(channel, 'channel')}.json"


def archive_name(product: str, channel: str) -> str:
    """Return the name of what certificates a channel gives out; raises InputError."""
    return f"{product_folder(product)}/certs/{check_name(channel, 'channel')}.json"


def key_name(product: str, name: str) -> str:
    """Return the name of a public key of a product; raises InputError."""
    return f"{product_folder(product)}/keys/{check_version(name)}.pub"


def product_folder(product: str) -> str:
    """Return the folder of a product's documents; raises InputError."""
    return f"{PRODUCTS}/{check_name(product, 'product')}"


def blob_name(digest: str) -> str:
    """Return the name of the blob with this SHA-256; raises InputError."""
    if not _SHA256.fullmatch(digest):
        raise InputError(f"'{digest}' is no SHA-256", "use 64 hexadecimal digits in lower case")
    return f"{BLOBS}/{digest[:2]}/{digest}"
