"""Restoring a backup writes no more than the backup has: sizes are held against limits before anything is written."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import tarfile
from pathlib import Path
from subprocess import run

import pytest

from otaseal.errors import InputError
from otaseal.store.backup import restore


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_small_backup_of_large_files_writes_none_of_them(tmp_path: Path, form: str) -> None:
    """GNU tar keeps a file of zeros as its size alone, in two ways."""
    size = 64 * 1024 * 1024
    inside = tmp_path / "inside"
    inside.mkdir()
    with (inside / "audit.log").open("wb") as file:
        file.truncate(size)
    (inside / "store.json").write_bytes(b'{"format":1}\n')
    digests = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in inside.iterdir()}
    manifest = {name: [(inside / name).stat().st_size, digest] for name, digest in sorted(digests.items())}
    (inside / "manifest.json").write_text(json.dumps({"format": 1, "files": manifest}))
    path = tmp_path / "a.tar"
    names = ["manifest.json", *sorted(digests)]
    run(["tar", "--sparse", f"--format={form}", "-cf", path, "-C", inside, *names], check=True, timeout=60)
    assert path.stat().st_size < 1024 * 1024
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(InputError, match="bytes, and its files would have"):
            restore(path, tmp_path / "restored")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {one.name for one in tmp_path.iterdir()} == {"inside", "a.tar"}
    # As many bytes beside them, and the sizes agree; what is sparse is still refused.
    with path.open("ab") as file:
        file.write(bytes(size + 1024 * 1024))
    with pytest.raises(InputError, match=r"where 'audit\.log' has to be"):
        restore(path, tmp_path / "restored")


@pytest.mark.parametrize(
    "name",
    ["store.json", "tokens.json"]
    + [f"products/blink/{one}" for one in ("channels/a.json", "keys/a.pub", "certs/a.json", "releases/1.0.json")],
)
def test_a_backup_has_no_file_larger_than_a_store_has(tmp_path: Path, name: str) -> None:
    data = bytes(2 * 1024 * 1024)
    files = {"format": 1, "files": {name: [len(data), hashlib.sha256(data).hexdigest()]}}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for one, content in (("manifest.json", json.dumps(files).encode()), (name, data)):
            member = tarfile.TarInfo(one)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match="is not a file of a store"):
        restore(tmp_path / "a.tar", tmp_path / "restored")
