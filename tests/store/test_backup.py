"""A backup restores the same store, and a damaged or hostile one restores nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from otaseal.errors import (
    CorruptStoreError,
    InputError,
    NotFoundError,
)
from otaseal.store.backup import backup, restore
from otaseal.store.check import check
from otaseal.store.documents import blob_name
from otaseal.store.store import Store
from support.filled_store import FIRST, content, filled, leave_orphan, pointer_file, store
from support.releases import view

__all__ = ["filled", "store"]


def test_a_backup_restores_the_same_store(filled: Store, tmp_path: Path) -> None:
    leave_orphan(filled)
    (filled.directory / "tokens.json").write_bytes(b'{"format": 1, "tokens": []}')
    (filled.directory / "devices.sqlite").write_bytes(b"")
    backup(filled, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o600
    os.utime(filled.directory / "store.json", (1, 1))
    backup(filled, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    restored = restore(tmp_path / "a.tar", tmp_path / "deep" / "restored")
    assert view(restored) == view(filled)
    kept = {name: data for name, data in content(filled.directory).items() if data not in (b"orphan", b"")}
    assert {name: data for name, data in content(restored.directory).items() if data} == kept
    assert check(restored).orphans == ()
    backup(restored, tmp_path / "c.tar")
    assert (tmp_path / "c.tar").read_bytes() == (tmp_path / "a.tar").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        backup(filled, tmp_path / "a.tar")
    with pytest.raises(InputError, match="is not empty"):
        restore(tmp_path / "a.tar", filled.directory)
    with pytest.raises(NotFoundError):
        restore(tmp_path / "none.tar", tmp_path / "new")


def test_of_two_backups_with_one_name_one_is_written(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Store.read_blob

    def overtaken(store: Store, digest: str) -> bytes:
        (tmp_path / "a.tar").write_bytes(b"that of somebody else")
        return read(store, digest)

    monkeypatch.setattr(Store, "read_blob", overtaken)
    with pytest.raises(InputError, match="exists already"):
        backup(filled, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == b"that of somebody else"
    assert {path.name for path in tmp_path.iterdir()} == {"store", "a.tar"}


def test_a_damaged_store_is_not_backed_up(filled: Store, tmp_path: Path) -> None:
    (filled.directory / blob_name(FIRST.forms[0].blob)).write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError):
        backup(filled, tmp_path / "a.tar")
    pointer_file(filled).write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError):
        backup(filled, tmp_path / "a.tar")
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_backup_cut_or_changed_anywhere_restores_nothing(filled: Store, tmp_path: Path) -> None:
    backup(filled, tmp_path / "a.tar")
    data = (tmp_path / "a.tar").read_bytes()
    used = len(data.rstrip(b"\0"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        bodies = [range(one.offset_data, one.offset_data + one.size) for one in tar.getmembers()]
    cuts = [data[:place] for place in range(0, used, 509)]
    flips = [
        data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        for place in range(0, used, 251)
        if any(place in body for body in bodies)
    ]
    assert len(flips) > 20
    for damaged in (*cuts, *flips, b"", os.urandom(3000)):
        (tmp_path / "b.tar").write_bytes(damaged)
        with pytest.raises(InputError):
            restore(tmp_path / "b.tar", tmp_path / "restored")
        assert {path.name for path in tmp_path.iterdir()} == {"store", "a.tar", "b.tar"}


@pytest.mark.parametrize("name", ["../evil", "/evil", "products/../../evil", "products/blink/keys/x.key", "evil"])
def test_a_hostile_backup_writes_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    entries = {"store.json": b'{"format":1}\n', name: b"evil"}
    manifest = {one: [len(data), hashlib.sha256(data).hexdigest()] for one, data in entries.items()}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for one, data in {"manifest.json": json.dumps({"format": 1, "files": manifest}).encode(), **entries}.items():
            member = tarfile.TarInfo(one)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(InputError, match="is not a file of a store"):
        restore(tmp_path / "a.tar", tmp_path / "restored")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar"}
