"""The hash of a folder's files: the same wherever it lies, another when a file is, and computed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from otaseal.sbom.trees import Trees


def fill(folder: Path) -> Path:
    for name, text in (("src/a.cpp", "a"), ("src/deep/b.h", "b"), ("z.txt", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_it_is_of_names_and_contents(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "one"), fill(tmp_path / "two")
    trees = Trees(tmp_path / "cache.json")
    lines = [
        f"{name}\0{hashlib.sha256(text).hexdigest()}\n"
        for name, text in (("src/a.cpp", b"a"), ("src/deep/b.h", b"b"), ("z.txt", b""))
    ]
    assert trees.digest(first) == hashlib.sha256("".join(lines).encode()).hexdigest() == trees.digest(second)
    for name in (".git/HEAD", ".piopm", "src/__pycache__/x.pyc", "y.pyc"):
        (second / name).parent.mkdir(exist_ok=True)
        (second / name).write_text("x")
    (second / "circle").symlink_to(second, target_is_directory=True)
    os.mkfifo(second / "pipe")
    assert trees.digest(second) == trees.digest(first)
    (second / "z.txt").rename(second / "y.txt")
    assert trees.digest(second) != trees.digest(first)


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    folder, cache = fill(tmp_path / "one"), tmp_path / "kept" / "cache.json"
    trees = Trees(cache)
    before = trees.digest(folder)
    trees.save()
    status = (folder / "z.txt").stat()
    (folder / "src" / "a.cpp").write_text("A")
    assert Trees(cache).digest(folder) != before
    fill(folder)
    (folder / "src" / "a.cpp").write_text("A")
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    trees = Trees(cache)
    changed = trees.digest(folder)
    trees.save()
    (folder / "src" / "a.cpp").write_text("B")
    for path, time in times.items():
        os.utime(path, ns=(time, time))
    assert Trees(cache).digest(folder) == changed, "only who sets a file's time back is not seen"
    assert status.st_size == 0
    for damage in (b"", b"[]", b'{"x": 1}', b"{" * 100_000):
        cache.write_bytes(damage)
        assert Trees(cache).digest(folder) not in ("", changed)
