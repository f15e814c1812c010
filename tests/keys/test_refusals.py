"""Keys that are given away already: tracked by git, readable, on their way onto devices, or known to everybody."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.errors import KeyRefusedError
from otaseal.keys import compromised, key_uri, signers
from otaseal.keys.public import fingerprint
from otaseal.keys.signers import KeySource
from support.repositories import BROKEN, git


def write(path: Path, key: rsa.RSAPrivateKey) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def source(project: Path, **environment: str) -> KeySource:
    def never(what: str) -> bytes:
        raise AssertionError(f"a passphrase for {what} was asked for")

    return KeySource(project, {**os.environ, **environment}, never, (project / "data",))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


@pytest.mark.parametrize("name", ["signing.key", "keys/signing key", "keys/*.key", ":(top)signing.key", "-signing.key"])
@pytest.mark.parametrize("committed", [False, True])
def test_a_key_that_git_tracks_is_refused(
    committed: bool, name: str, repository: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    path = write(repository / name, rsa_key)
    assert signers.open_signer(f"file:{path}", source(repository))
    git(repository, "add", "-A")
    if committed:
        git(repository, "commit", "-q", "-m", "a key")
    with pytest.raises(KeyRefusedError, match="is tracked by git"):
        signers.open_signer(f"file:{path}", source(repository))
    git(repository, "rm", "-q", "--cached", "-f", "-r", ".")
    assert signers.open_signer(f"file:{path}", source(repository))


def test_only_the_key_itself_counts(repository: Path, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    path = write(repository / "keys" / "a.key", rsa_key)
    write(repository / "keys" / "b.key", rsa_key)
    (repository / ".gitignore").write_text("a.key\n")
    git(repository, "add", "-A")
    assert signers.open_signer(f"file:{path}", source(repository))

    outside = tmp_path / "link.key"
    outside.symlink_to(repository / "keys" / "b.key")
    with pytest.raises(KeyRefusedError, match="is tracked by git"):
        signers.open_signer(f"file:{outside}", source(tmp_path))


def test_a_hook_of_another_repository_does_not_mislead(
    repository: Path, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    path = write(repository / "signing.key", rsa_key)
    git(repository, "add", "-A")
    misled = source(repository, GIT_DIR=str(other / ".git"), GIT_INDEX_FILE=str(other / ".git" / "index"))
    with pytest.raises(KeyRefusedError, match="is tracked by git"):
        signers.open_signer(f"file:{path}", misled)


def test_without_a_repository_a_key_is_not_tracked_and_no_git_is_needed(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    path = write(tmp_path / "signing.key", rsa_key)
    for environment in ({}, {"PATH": str(tmp_path)}):
        assert signers.open_signer(f"file:{path}", source(tmp_path, **environment))


@pytest.mark.parametrize("name", BROKEN)
def test_where_git_cannot_tell_the_key_is_refused(name: str, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """Not because it is tracked, which it may be or not: because nobody can tell."""
    broken = BROKEN[name](tmp_path)
    path = write(broken.folder / "keys" / "signing.key", rsa_key)
    with pytest.raises(KeyRefusedError, match=f"cannot be told: .*{broken.message}") as refusal:
        signers.open_signer(f"file:{path}", source(broken.folder, **broken.environment))
    assert str(path) in refusal.value.message
    assert broken.hint in refusal.value.hint
    assert "outside of the repository" in refusal.value.hint


def test_git_is_asked_when_a_key_is_opened_and_not_when_it_is_named(
    repository: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    path = write(repository / "signing.key", rsa_key)
    git(repository, "add", "-A")
    where = source(repository)
    assert key_uri.identity(f"file:{path}", where.project, where.environment)
    assert key_uri.public_key_path(f"file:{path}", where.project) is None
    git(repository, "rm", "-q", "--cached", "signing.key")
    spent = []
    for _ in range(10):
        start = time.perf_counter()
        signers.open_signer(f"file:{path}", where)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 1


def test_each_reason_has_its_own_message(repository: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    messages = set()
    for name, mode in (("signing.key", 0o644), ("data/signing.key", 0o600), ("tracked.key", 0o600)):
        path = write(repository / name, rsa_key)
        path.chmod(mode)
        git(repository, "add", "-A")
        with pytest.raises(KeyRefusedError) as refusal:
            signers.open_signer(f"file:{path}", source(repository))
        messages.add(refusal.value.message.partition(str(path))[2].partition(" (")[0].partition(str(repository))[0])
    assert len(messages) == 3


def test_a_publicly_known_key_is_refused(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    table = {fingerprint(rsa_key.public_key()).removeprefix("SHA256:"): "an example that was made for this test"}
    with pytest.raises(KeyRefusedError, match=r"signing key 'x' is publicly known.*made for this test"):
        compromised.refuse(rsa_key.public_key(), "signing key 'x'", table)
    compromised.refuse(other_rsa_key.public_key(), "signing key 'x'", table)
    compromised.refuse(rsa_key.public_key(), "signing key 'x'")


@pytest.mark.parametrize("scheme", ["file", "env"])
def test_every_opener_asks_the_table(
    scheme: str,
    tmp_path: Path,
    rsa_keys: Callable[..., rsa.RSAPrivateKey],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = rsa_keys(2048, 2)
    path = write(tmp_path / "signing.key", key)
    uri = f"file:{path}" if scheme == "file" else "env:SIGNING_KEY"
    where = source(tmp_path, SIGNING_KEY=path.read_text())
    assert signers.open_signer(uri, where)
    monkeypatch.setitem(compromised.KNOWN_KEYS, fingerprint(key.public_key()).removeprefix("SHA256:"), "a test")
    with pytest.raises(KeyRefusedError, match="is publicly known"):
        signers.open_signer(uri, where)


def test_the_table_is_well_formed() -> None:
    assert len(compromised.KNOWN_KEYS) >= 10
    for digest, where in compromised.KNOWN_KEYS.items():
        assert re.fullmatch(r"[0-9a-f]{64}", digest)
        assert where
    assert len(set(compromised.KNOWN_KEYS.values())) == len(compromised.KNOWN_KEYS)
