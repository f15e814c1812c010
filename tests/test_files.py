"""Old or new and never half: full disks, killed writers, names that are taken, and secrets from their first instant."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal import files
from otaseal.errors import ConfigError, InputError, SystemFaultError
from support import peers

TOOLS = Path(files.__file__).parent.parent
OLD, NEW = b"old" * 10_000, b"new" * 20_000


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("NOT PERMITTED: mounting a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe has no name here")
def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    """Root could put a file in the place of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, Path(), tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(SystemFaultError, match="it is there, and no file"):
            files.write_atomic(path, NEW)
    assert names(tmp_path) == {"pipe"}
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("wanted", [files.PUBLIC_MODE, files.PRIVATE_MODE])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_file_is_written_with_its_mode_and_its_folders(tmp_path: Path, wanted: int, umask: int) -> None:
    path = tmp_path / "a b" / "c" / "file"
    before = os.umask(umask)
    try:
        files.write_atomic(path, NEW, wanted)
    finally:
        os.umask(before)
    assert path.read_bytes() == NEW
    assert mode(path) == wanted
    assert names(path.parent) == {"file"}


def test_replacing_replaces_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, OLD)
    files.write_atomic(path, NEW, files.PRIVATE_MODE)
    assert (path.read_bytes(), mode(path), names(tmp_path)) == (NEW, files.PRIVATE_MODE, {"file"})


def test_a_secret_is_private_whenever_it_has_a_name_and_durable_before_it_has_its_own(tmp_path: Path) -> None:
    strace = peers.tool("strace", "strace")
    code = "import os, pathlib; from otaseal import files; os.umask(0); "
    code += f"files.write_atomic(pathlib.Path({str(tmp_path / 'k')!r}), b'secret', 0o600)"
    trace = "trace=open,openat,creat,chmod,fchmodat,fchmod,fsync,rename,renameat,renameat2,link,linkat"
    command = [strace, "-f", "-e", trace, sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(TOOLS)}, capture_output=True, text=True, check=True
    )
    calls = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "fsync(" in line]
    opened = next(line for line in calls if "O_CREAT" in line)
    assert "O_EXCL" in opened
    assert "0600" in opened
    assert not [line for line in calls if "chmod" in line and "0600" not in line]
    order = [word for line in calls for word in ("O_CREAT", "fsync(", "rename") if word in line]
    assert order == ["O_CREAT", "fsync(", "rename", "fsync("]


def test_without_replace_an_existing_name_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with pytest.raises(InputError, match="exists already"):
        files.write_new(path, NEW)
    assert path.read_bytes() == OLD
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        files.write_new(dangling, NEW)
    assert names(tmp_path) == {"file", "link"}


def test_of_many_writers_without_replace_exactly_one_wins(tmp_path: Path) -> None:
    path, start, won = tmp_path / "file", threading.Barrier(8), []

    def write(content: bytes) -> None:
        start.wait()
        try:
            files.write_new(path, content)
        except InputError:
            return
        won.append(content)

    threads = [threading.Thread(target=write, args=(bytes([n]) * 1000,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes()] == won
    assert names(tmp_path) == {"file"}


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(small_disk: Path) -> None:
    path = small_disk / "file"
    files.write_atomic(path, b"old")
    for target in (path, small_disk / "other"):
        with pytest.raises(SystemFaultError, match="No space left on device"):
            files.write_atomic(target, bytes(200_000))
    assert path.read_bytes() == b"old"
    assert names(small_disk) == {"file"}


def test_a_read_only_disk_is_said(small_disk: Path) -> None:
    (small_disk / "file").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SystemFaultError, match="Read-only file system"):
        files.write_atomic(small_disk / "file", NEW)
    with pytest.raises(SystemFaultError, match="cannot be removed: Read-only"):
        files.remove(small_disk / "file")
    assert (small_disk / "file").read_bytes() == b"old"


@pytest.mark.parametrize("place", ["folder", "file/below", "a" * 300])
def test_a_place_where_no_file_can_be_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(SystemFaultError, match="cannot be written"):
        files.write_atomic(tmp_path / place, NEW)
    assert names(tmp_path) == {"folder", "file"}
    assert not names(tmp_path / "folder")


WRITER = """
import sys
from pathlib import Path
from otaseal import files
path, contents = Path(sys.argv[1]), (b"old" * 10_000, b"new" * 20_000)
print("ready", flush=True)
while True:
    for content in contents:
        files.write_atomic(path, content)
"""


@pytest.mark.parametrize("after", range(6))
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, after: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    command = [sys.executable, "-S", "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(TOOLS)}) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        seen = 0
        while seen < after * 7:  # so many looks at what a reader sees in the meantime, then the end
            assert path.read_bytes() in (OLD, NEW)
            seen += 1
        writer.send_signal(signal.SIGKILL)
    assert path.read_bytes() in (OLD, NEW)
    assert all(name == "file" or (name.startswith(".file.") and name.endswith(".tmp")) for name in names(tmp_path))


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    assert files.write_if_changed(path, OLD)
    os.utime(path, (1, 1))
    assert not files.write_if_changed(path, OLD)
    assert path.stat().st_mtime == 1
    assert files.write_if_changed(path, NEW)
    assert path.stat().st_mtime > 1
    assert path.read_bytes() == NEW


def test_writing_over_a_folder_is_said_by_write_if_changed_too(tmp_path: Path) -> None:
    with pytest.raises(SystemFaultError, match="cannot be written"):
        files.write_if_changed(tmp_path, NEW)


def test_reading_has_a_limit_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert files.read_bounded(path, 100, "thing") == bytes(100)
    with pytest.raises(InputError, match=r"thing '.*file' is larger than 99 bytes"):
        files.read_bounded(path, 99, "thing")
    with pytest.raises(InputError, match="larger than 1000 bytes"):
        files.read_bounded(Path("/dev/zero"), 1000, "thing")


@pytest.mark.parametrize("place", ["", "missing", "file/below"])
def test_what_is_no_file_is_not_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(InputError, match=r"thing '.*' is not a file"):
        files.read_bounded(tmp_path / place, 100, "thing")


def test_what_the_system_will_not_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemFaultError, match=r"thing '.*' cannot be read: File name too long"):
        files.read_bounded(tmp_path / ("a" * 300), 100, "thing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SystemFaultError, match="cannot be read"):
        files.read_bounded(tmp_path / "loop", 100, "thing")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="it takes root to give a file to somebody else")
@pytest.mark.parametrize(
    ("mode", "owner", "is_open"),
    [(0o600, 7, False), (0o440, 7, True), (0o640, 7, True), (0o604, 7, True), (0o400, 0, False), (0o440, 0, False),
     (0o640, 0, False), (0o660, 0, True), (0o444, 0, True), (0o644, 0, True)],
)  # fmt: skip
def test_a_services_secret_may_be_roots_for_its_group(tmp_path: Path, mode: int, owner: int, is_open: bool) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    secret.chmod(mode)
    os.chown(secret, owner, 7)
    assert files.open_secret(secret) == (f"{mode:04o}" if is_open else None)
    assert files.open_secret(tmp_path / "none") is None


def test_removing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    files.remove(path)
    files.remove(path)
    assert not path.exists()
    with pytest.raises(SystemFaultError, match="cannot be removed"):
        files.remove(tmp_path)


def test_anything_at_all_counts_as_existing(tmp_path: Path) -> None:
    files.refuse_existing(tmp_path / "missing", "a hint")
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    for taken in (tmp_path, tmp_path / "dangling"):
        with pytest.raises(InputError, match="exists already") as caught:
            files.refuse_existing(taken, "a hint")
        assert caught.value.hint == "a hint"


def test_paths_start_at_home_or_at_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    base = tmp_path / "project"
    assert files.resolve_path("~/k", base) == tmp_path / "home" / "k"
    assert files.resolve_path("a b/k", base) == base / "a b" / "k"
    assert files.resolve_path(str(tmp_path), base) == tmp_path
    with pytest.raises(ConfigError, match="'~nobody-of-that-name/k'"):
        files.resolve_path("~nobody-of-that-name/k", base)
