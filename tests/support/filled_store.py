"""A release store with releases in it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.release.channels import Pointer
from otaseal.store.backend import open_backend, open_new
from otaseal.store.documents import blob_name
from otaseal.store.postgresql.documents import PostgresDocuments
from otaseal.store.store import Store
from support import postgresql
from support.releases import make_release

IMAGE, PACKED = b"image" * 1000, b"packed" * 300
FIRST, SECOND, THIRD = make_release("1.0.0", IMAGE, PACKED), make_release("1.1.0", PACKED), make_release("2.0.0", b"3")


BACKENDS = ("files", pytest.param("postgresql", marks=pytest.mark.proof))
"""What holds of the store in a database is about SQL, which the oldest Python sends as the newest does."""


def new_location(backend: str, folder: Path) -> str:
    """Return where an empty store of a backend can be made."""
    return str(folder / "store") if backend == "files" else postgresql.cluster().database()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture(params=BACKENDS)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return an empty store, kept by each backend in turn."""
    with opened(new_location(request.param, tmp_path), create=True) as store:
        yield store


@contextlib.contextmanager
def opened(location: str, *, create: bool = False) -> Iterator[Store]:
    """Open a store for a while."""
    with open_new(location) if create else open_backend(location) as backend:
        yield backend.store


def location_of(store: Store) -> str:
    """Return where a store is."""
    documents = store.documents
    return documents.database.url if isinstance(documents, PostgresDocuments) else str(store.directory)


@pytest.fixture
def filled(store: Store) -> Store:
    return fill(store)


@pytest.fixture
def either_filled(either: Store) -> Store:
    return fill(either)


def fill(store: Store) -> Store:
    """Three releases; stable has had the first two, and beta the third."""
    store.publish(FIRST, [IMAGE, PACKED], "alice")
    store.publish(SECOND, [], "alice")
    store.publish(THIRD, [b"3"], "alice")
    store.point("blink", "stable", Pointer("1.0.0"), expected=0, by="alice")
    store.point("blink", "stable", Pointer("1.1.0"), expected=1, by="alice")
    store.point("blink", "beta", Pointer("2.0.0", 10, "salt"), expected=0, by="alice")
    return store


def damage_blob(store: Store, digest: str, data: bytes = b"damaged") -> None:
    """Put other bytes in the place of a blob."""
    if isinstance(store.documents, PostgresDocuments):
        with store.documents.database.transaction() as transaction:
            transaction.execute("UPDATE blobs SET data = ? WHERE sha256 = ?", (data, digest))
    else:
        (store.directory / blob_name(digest)).write_bytes(data)


def everything(store: Store) -> dict[str, object]:
    """Return all that a store keeps, by name."""
    documents, names = store.documents, store.documents.present()
    small = {name: documents.read(name, name, 1 << 24) for name in names if not name.startswith("blobs/")}
    blobs = {digest: documents.read_blob(digest) for digest in documents.blobs()}
    return {**small, **blobs, "audit": list(documents.audit_lines())}


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def pointer_file(store: Store) -> Path:
    return store.directory / "products/blink/channels/stable.json"


def leave_orphan(store: Store) -> str:
    """Leave a blob as who was killed between blob and record would; return its SHA-256."""
    digest = hashlib.sha256(b"orphan").hexdigest()
    path = store.directory / blob_name(digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"orphan")
    return digest
