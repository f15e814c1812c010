"""`otaseal key lock` and `unlock`: the same key in the same place, whole at any moment; what is exposed is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.keys import signers
from otaseal.pki.store import Slot, Store
from support import peers
from support.command import TOOLS, Command, otaseal, process
from support.terminal import Terminal

__all__ = ["otaseal"]

SECRET = "correct horse"
DIES_BEFORE_THE_NEW_FILE_HAS_ITS_NAME = """\
import os, signal, sys
from otaseal import cli

def die(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
cli.main(sys.argv[1:])
"""


@pytest.fixture
def key(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> Path:
    """An unlocked signing key; the passphrase for it is in the file `secret`."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    path = tmp_path / "keys" / "signing.key"
    path.parent.mkdir()
    signers.write_key_pair(path, rsa_key, None)
    return path


def public_half(path: Path, passphrase: str | None = None) -> bytes | None:
    """Return the public key as openssl reads it out of the private one, None where it cannot."""
    command = [peers.tool("openssl", "openssl"), "pkey", "-in", str(path), "-pubout", "-passin"]
    done = subprocess.run([*command, f"pass:{passphrase or ''}"], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def test_locked_and_unlocked_it_is_the_same_key(tmp_path: Path, key: Path, otaseal: Command) -> None:
    before, public = key.read_bytes(), key.with_suffix(".pub").read_bytes()
    assert public_half(key) == public
    done = otaseal("key", "lock", key, "--passphrase-file", "secret").succeeded()
    assert f"locked     {key}\n" in done.out
    assert (public_half(key, "wrong"), public_half(key, SECRET)) == (None, public)
    assert SECRET not in done.out + done.err
    assert [path.name for path in key.parent.iterdir() if path.name not in ("signing.key", "signing.pub")] == []
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = otaseal("key", "lock", key, "--passphrase-file", "secret", "--json").succeeded()
    assert again.json == [{"key": str(key), "state": "kept"}]

    (tmp_path / "wrong").write_text("wrong\n")
    locked = key.read_bytes()
    for verb in ("lock", "unlock"):
        otaseal("key", verb, key, "--passphrase-file", "wrong").failed(1, "cannot be unlocked")
        assert key.read_bytes() == locked
    otaseal("key", "unlock", key, "--passphrase-file", "secret").succeeded()
    assert key.read_bytes() == before
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_public_key_is_called_one(key: Path, otaseal: Command) -> None:
    key.with_suffix(".pub").chmod(0o644)
    done = otaseal("key", "lock", key.with_suffix(".pub"), "--passphrase-file", "secret").failed(1, "is a public key")
    assert f"name the private key that belongs to it: '{key}'" in done.err


def test_a_signing_key_and_its_authorities_under_one_passphrase(tmp_path: Path, key: Path, otaseal: Command) -> None:
    store = Store.create(tmp_path / "pki", "blink", datetime.now(timezone.utc))
    all_keys = [key, *(store.directory / slot.value / "key.pem" for slot in Slot)]
    public = [public_half(path) for path in all_keys]
    assert all(public)
    otaseal("key", "lock", *all_keys, "--passphrase-file", "secret").succeeded()
    assert [public_half(path) for path in all_keys] == [None] * 5
    assert [public_half(path, SECRET) for path in all_keys] == public
    locked = [Store(store.directory, "blink", SECRET.encode()).authority(slot) for slot in Slot]
    assert len(locked) == 4
    otaseal("key", "unlock", *all_keys, "--passphrase-file", "secret").succeeded()
    assert [public_half(path) for path in all_keys] == public


def test_nothing_is_written_unless_all_can_be(tmp_path: Path, key: Path, otaseal: Command) -> None:
    before = key.read_bytes()
    otaseal("key", "lock", key, tmp_path / "gone.key", "--passphrase-file", "secret").failed(1, "is not a file")
    (tmp_path / "no.key").write_text("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")
    (tmp_path / "no.key").chmod(0o600)
    otaseal("key", "lock", key, "no.key", "--passphrase-file", "secret").failed(
        1, "not a private key that can be locked"
    )
    otaseal("key", "lock", key.with_suffix(".pub"), "--passphrase-file", "secret").failed(1, "")
    otaseal("key", "lock", "env:KEY", "--passphrase-file", "secret").failed(2, "'env:KEY' is in no file")
    (tmp_path / "empty").write_text("\n")
    otaseal("key", "lock", key, "--passphrase-file", "empty").failed(1, "is empty")
    assert key.read_bytes() == before


def test_a_key_that_is_given_away_is_refused(tmp_path: Path, key: Path, otaseal: Command) -> None:
    key.chmod(0o640)
    otaseal("key", "lock", key, "--passphrase-file", "secret").failed(1, "is readable by others (mode 0640)")
    key.chmod(0o600)
    subprocess.run(["git", "init", "-q"], cwd=key.parent, check=True)
    subprocess.run(["git", "add", "-f", "signing.key"], cwd=key.parent, check=True)
    before = key.read_bytes()
    for verb in ("lock", "unlock"):
        otaseal("key", verb, key, "--passphrase-file", "secret").failed(1, "is tracked by git")
    (tmp_path / "link.key").symlink_to(key)
    otaseal("key", "lock", tmp_path / "link.key", "--passphrase-file", "secret").failed(1, "is tracked by git")
    assert key.read_bytes() == before


def test_a_link_stays_and_its_file_is_locked(tmp_path: Path, key: Path, otaseal: Command) -> None:
    link = tmp_path / "link.key"
    link.symlink_to(key)
    otaseal("key", "lock", f"file:{link}", "--passphrase-file", "secret").succeeded()
    assert link.is_symlink()
    assert b"ENCRYPTED" in key.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_key_of_another_user_is_left_to_that_user(key: Path, otaseal: Command) -> None:
    os.chown(key, 65534, -1)
    before = key.read_bytes()
    otaseal("key", "lock", key, "--passphrase-file", "secret").failed(1, "belongs to another user")
    assert (key.read_bytes(), key.stat().st_uid) == (before, 65534)


def test_a_kill_leaves_the_key_as_it_was(tmp_path: Path, key: Path) -> None:
    before = key.read_bytes()
    command = [sys.executable, "-c", DIES_BEFORE_THE_NEW_FILE_HAS_ITS_NAME, "key", "lock", str(key)]
    done = subprocess.run(
        [*command, "--passphrase-file", str(tmp_path / "secret")],
        env={**os.environ, "PYTHONPATH": str(TOOLS)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert key.read_bytes() == before
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in key.parent.iterdir() if path.suffix != ".pub")


def test_a_person_types_it_twice_and_once(key: Path, tmp_path: Path) -> None:
    refused = process("key", "lock", key, cwd=tmp_path).failed(2, "there is no terminal to ask for one")
    assert "--no-passphrase" not in refused.err  # which is an option of `key new`
    base = [sys.executable, "-m", "otaseal", "key"]
    with Terminal([*base, "lock", str(key)], {"PYTHONPATH": str(TOOLS)}) as terminal:
        for _ in range(2):
            terminal.expect(": ")
            terminal.type(SECRET)
        assert "locked " in terminal.rest()
        assert SECRET not in terminal.screen
    with Terminal([*base, "unlock", str(key)], {"PYTHONPATH": str(TOOLS)}) as terminal:
        terminal.expect(": ")
        terminal.type(SECRET)
        assert "unlocked " in terminal.rest()
    assert public_half(key) is not None
