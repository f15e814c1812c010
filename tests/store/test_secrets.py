"""The file of secrets: private, durable, known to backups and to the check, and made with the first secret."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from otaseal.errors import CorruptStoreError, LaterFormatError, SystemFaultError
from otaseal.store.backup import backup, restore
from otaseal.store.check import check
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.store import Store
from support.filled_store import content, filled, store

__all__ = ["filled", "store"]
DEVICE = "mac:5C:CF:7F:F0:04:CB"
KEY = bytes(range(32))


def enrol(folder: Path, *devices: str) -> None:
    with Secrets(folder / SECRETS_FILE) as secrets:
        keys = ProofKeys(secrets)
        for device in devices:
            keys.enrol("blink", device, KEY, 1.0)


def known(folder: Path) -> dict[str, bytes | None]:
    with Secrets(folder / SECRETS_FILE) as secrets:
        keys = ProofKeys(secrets)
        return {device: key and key.key for device in (DEVICE, "other") for key in [keys.get("blink", device)]}


def test_there_is_no_file_until_there_is_a_secret(tmp_path: Path) -> None:
    assert known(tmp_path) == {DEVICE: None, "other": None}
    with Secrets(tmp_path / SECRETS_FILE) as secrets:
        secrets.check()
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0)
    try:
        enrol(tmp_path, DEVICE)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {SECRETS_FILE: 0o600}
    assert known(tmp_path) == {DEVICE: KEY, "other": None}


def test_what_is_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A process dies in its second transaction, and leaves a journal: the first holds, and the second is not there."""
    killed = multiprocessing.get_context("fork").Process(target=enrol_and_die, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert (tmp_path / f"{SECRETS_FILE}-journal").stat().st_mode & 0o777 == 0o600
    assert known(tmp_path) == {DEVICE: KEY, "other": None}


def enrol_and_die(folder: Path) -> None:
    enrol(folder, DEVICE)
    with Secrets(folder / SECRETS_FILE) as secrets, secrets.transaction() as database:
        database.execute("PRAGMA cache_spill = 1")
        database.execute("PRAGMA cache_size = 1")
        for number in range(1000):  # more than the cache holds: half of it is in the file
            database.execute("INSERT INTO keys VALUES ('blink', ?, ?, 1, 1)", (f"other{number}", bytes(100)))
        database.execute("INSERT INTO keys VALUES ('blink', 'other', ?, 1, 1)", (KEY,))
        os._exit(9)


def test_a_change_that_fails_is_none_and_can_be_made_again(tmp_path: Path) -> None:
    with Secrets(tmp_path / SECRETS_FILE, timeout=0) as secrets:
        keys = ProofKeys(secrets)
        keys.enrol("blink", "other", KEY, 1.0)
        with closing(sqlite3.connect(tmp_path / SECRETS_FILE)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SystemFaultError, match="cannot be used: database is locked"):
                keys.enrol("blink", DEVICE, KEY, 1.0)
        assert known(tmp_path) == {DEVICE: None, "other": KEY}
        keys.write()
    assert known(tmp_path) == {DEVICE: KEY, "other": KEY}


def test_a_backup_has_it_while_it_is_used_and_a_restored_store_too(filled: Store, tmp_path: Path) -> None:
    (filled.directory / "tokens.json").write_bytes(b'{"format": 1, "tokens": []}')
    enrol(filled.directory, DEVICE)
    assert check(filled).whole
    backup(filled, tmp_path / "a.tar")
    with Secrets(filled.directory / SECRETS_FILE) as secrets, secrets.transaction() as database:
        database.execute("DELETE FROM keys")
        backup(filled, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"store", "a.tar", "b.tar"}
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {member.name for member in tar if member.mode == 0o600} == {SECRETS_FILE}
    restored = restore(tmp_path / "a.tar", tmp_path / "restored")
    assert known(restored.directory) == {DEVICE: KEY, "other": None}
    for name in (SECRETS_FILE, "tokens.json"):
        assert (restored.directory / name).stat().st_mode & 0o777 == 0o600, name
    assert known(filled.directory)[DEVICE] is None


def test_damage_is_found_and_neither_served_nor_backed_up(filled: Store, tmp_path: Path) -> None:
    enrol(filled.directory, DEVICE)
    path = filled.directory / SECRETS_FILE
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096)
    before = content(filled.directory)
    (problem,) = check(filled).problems
    assert problem.startswith(f"the secrets in '{path}' ")
    with pytest.raises(CorruptStoreError, match="the store is not whole: the secrets"):
        backup(filled, tmp_path / "a.tar")
    with pytest.raises(CorruptStoreError), Secrets(path) as secrets:
        secrets.check()
    assert content(filled.directory) == before


def test_another_database_is_none_of_ours_and_a_later_one_is_later(tmp_path: Path) -> None:
    for statement, error in (("PRAGMA user_version = 99", LaterFormatError), ("SELECT 1", CorruptStoreError)):
        path = tmp_path / f"{error.__name__}.sqlite"
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE other (a)")
            other.execute(statement)
        before = path.read_bytes()
        with Secrets(path) as secrets, pytest.raises(error):
            ProofKeys(secrets)
        with Secrets(path) as secrets, pytest.raises(error), secrets.transaction():
            pass
        assert path.read_bytes() == before
