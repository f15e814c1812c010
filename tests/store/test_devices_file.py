"""The file of the devices seen: shared by processes, whole after a kill, and never somebody else's."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
import subprocess
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from otaseal.errors import SystemFaultError
from otaseal.store.device_rows import Sighting
from otaseal.store.devices import MAX_JOURNAL_BYTES
from otaseal.store.row_changes import LAST_SEEN_RESOLUTION
from support import peers
from support.devices import Devices

# The children do nothing but what is tested, whatever threads the test runner has.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

OLD, NEW = "0" * 32, "1" * 32
FIRST = Sighting("blink", "stable", "mac:A", OLD, "1.0", "A")


def _work(path: Path, name: str, count: int) -> None:
    with Devices(path) as devices:
        for number in range(count):
            devices.see(replace(FIRST, device=f"{name}:{number}"), float(number))
            devices.see(replace(FIRST, device="mac:shared", md5=""), number * 2 * LAST_SEEN_RESOLUTION)
            devices.offer("blink", "mac:shared", "2.0", NEW, 1.0)
            devices.deliver("blink", "mac:shared", "2.0", 1.0)


def test_processes_share_the_file_and_lose_no_delivery(tmp_path: Path) -> None:
    path, each = tmp_path / "d", 100
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(path, name, each)) for name in ("a", "b", "c")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with Devices(path) as devices:
        shared = devices.get("blink", "mac:shared")
        assert shared is not None
        assert shared.deliveries == 3 * each
        assert len(devices.list("blink")) == 3 * each + 1


def _open(path: Path, start: Barrier) -> None:
    start.wait()
    Devices(path).close()


def test_many_make_the_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(5):
        start = context.Barrier(8)
        openers = [context.Process(target=_open, args=(tmp_path / str(number), start)) for _ in range(8)]
        for opener in openers:
            opener.start()
        for opener in openers:
            opener.join()
            assert opener.exitcode == 0


def test_what_was_noted_is_there_after_a_kill(tmp_path: Path) -> None:
    """A kill keeps what the kernel has: only a power cut may forget the last seconds."""
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=_work, args=(tmp_path / "d", "a", 100_000))
    worker.start()
    with Devices(tmp_path / "d") as devices:
        while len(devices.list("blink")) < 50:
            assert worker.is_alive()
        worker.kill()
        worker.join()
        assert len(devices.list("blink")) >= 50
        assert devices.see(FIRST, 1.0).device == "mac:A"


def test_sqlite_finds_the_file_whole_and_its_journal_bounded(tmp_path: Path) -> None:
    shell = peers.tool("sqlite3", "sqlite3")
    with Devices(tmp_path / "devices.sqlite") as devices:
        for number in range(200):
            devices.see(replace(FIRST, device=f"mac:{number}"), float(number))
        asked = "PRAGMA integrity_check; PRAGMA journal_mode; SELECT count(*) FROM devices"
        done = subprocess.run([shell, str(devices.path), asked], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["ok", "wal", "200"]
        assert devices.path.with_name(devices.path.name + "-wal").stat().st_size < MAX_JOURNAL_BYTES


@pytest.mark.parametrize("content", [b"no database, and long enough to be one" * 100, b"SQLite format 3\0"])
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d").write_bytes(content)
    with pytest.raises(SystemFaultError, match="cannot be used") as caught:
        Devices(tmp_path / "d")
    assert "move the file away" in caught.value.hint
    assert (tmp_path / "d").read_bytes() == content


def test_another_database_is_not_touched(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "d")) as other, other:
        other.execute("CREATE TABLE mine (a)")
    other.close()
    before = (tmp_path / "d").read_bytes()
    with pytest.raises(SystemFaultError, match="is not a list of devices"):
        Devices(tmp_path / "d")
    assert (tmp_path / "d").read_bytes() == before
    with pytest.raises(SystemFaultError, match="cannot be locked: No such file"):
        Devices(tmp_path / "missing" / "d")


def test_a_closed_file_is_said(tmp_path: Path) -> None:
    devices = Devices(tmp_path / "d")
    devices.close()
    with pytest.raises(SystemFaultError):
        devices.see(FIRST, 1.0)
