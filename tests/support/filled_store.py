"""A release store with releases in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from otaseal.release.channels import Pointer
from otaseal.store.documents import blob_name
from otaseal.store.store import Store
from support.releases import make_release

__all__ = ["FIRST", "IMAGE", "PACKED", "SECOND", "THIRD", "content", "filled", "leave_orphan", "pointer_file", "store"]


IMAGE, PACKED = b"image" * 1000, b"packed" * 300
FIRST, SECOND, THIRD = make_release("1.0.0", IMAGE, PACKED), make_release("1.1.0", PACKED), make_release("2.0.0", b"3")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def filled(store: Store) -> Store:
    """Three releases; stable has had the first two, and beta the third."""
    store.publish(FIRST, [IMAGE, PACKED], "alice")
    store.publish(SECOND, [], "alice")
    store.publish(THIRD, [b"3"], "alice")
    store.point("blink", "stable", Pointer("1.0.0"), expected=0, by="alice")
    store.point("blink", "stable", Pointer("1.1.0"), expected=1, by="alice")
    store.point("blink", "beta", Pointer("2.0.0", 10, "salt"), expected=0, by="alice")
    return store


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
