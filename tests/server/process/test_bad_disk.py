"""A list of devices that is damaged or of a later otaseal, and stores on disks that are full or can only be read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import LaterFormatError, SystemFaultError
from otaseal.store.device_file import DeviceFile
from otaseal.store.device_rows import Sighting
from otaseal.store.files import DEVICES_FILE
from support.command import process
from support.devices import Devices
from support.servers import MAC, Running, World, as_device, get, operator, publish, start, talk, until

pytestmark = pytest.mark.proof

URL = "/blink/firmware.bin.signed"
DEVICES = "/v1/products/blink/devices"
DEVICE = f"mac:{MAC}"


def ask(server: Running, running: int) -> int:
    return talk(server.world.context(), server.port, as_device(URL, server.world.firmware(running))).status


def listed(server: Running) -> dict[str, dict[str, Any]]:
    return {one["device"]: one for one in operator(server).get(DEVICES)["devices"]}


def problems(server: Running) -> str:
    return talk(server.world.context(), server.operators, get("/healthz")).body.decode()


def filled(world: World, store: Path, *options: str) -> Running:
    """Return a server with release 1.0, which one device has taken twice in vain."""
    server = start(world, store, *options)
    publish(server, "1.0", world.firmware(2).signed, max_failed=100)
    for _ in range(2):
        assert ask(server, 1) == 200
        assert listed(server)[DEVICE]["deliveries"] >= 1
    return server


def damaged_files(store: Path) -> list[Path]:
    """Return the lists that were set aside, without their journals."""
    return [one for one in store.glob(f"{DEVICES_FILE}.damaged-*") if not one.name.endswith(("-wal", "-shm"))]


def overwrite_pages(path: Path) -> None:
    """Damage the pages behind the first one, so that the file can be opened still."""
    data = bytearray(path.read_bytes())
    data[4096 + 8 :] = os.urandom(len(data) - 4096 - 8)
    path.write_bytes(data)


@pytest.mark.parametrize("pages", [False, True])
def test_a_damaged_list_is_set_aside_and_the_server_starts(world: World, tmp_path: Path, pages: bool) -> None:
    server = filled(world, tmp_path / "store")
    server.end()
    file = server.store / DEVICES_FILE
    overwrite_pages(file) if pages else file.write_bytes(b"no database, and long enough to be one" * 200)
    damaged = file.read_bytes()
    again = start(world, server.store)
    try:
        assert [ask(again, 1) for _ in range(2)] == [200, 200]
        assert ask(again, 2) == 304
        (kept,) = damaged_files(server.store)
        assert kept.read_bytes()[4096:] == damaged[4096:]
        again.logs("devices alarm=True")
        again.logs(kept.name)
        until(lambda: DEVICE in listed(again), "not listed")
    finally:
        again.end()
    with Devices(file) as devices:
        assert devices.get("blink", DEVICE) is not None


def test_the_list_of_a_later_otaseal_is_refused_and_left_as_it_is(world: World, tmp_path: Path) -> None:
    server = filled(world, tmp_path / "store")
    server.end()
    file = server.store / DEVICES_FILE
    with contextlib.closing(sqlite3.connect(file)) as later:
        later.execute("PRAGMA journal_mode = DELETE")
        later.execute("PRAGMA user_version = 3")
    before = file.read_bytes()
    options = ["--store", server.store, "--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"]
    options += ["--cert", world.chain, "--key", world.chain.with_name("key.pem")]
    failed = process("serve", *options, cwd=tmp_path)
    failed.failed(1, f"the list of devices '{file}' was made by a newer otaseal")
    assert file.read_bytes() == before
    assert damaged_files(server.store) == []


@contextlib.contextmanager
def mounted(*command: str | Path, at: Path) -> Iterator[None]:
    if subprocess.run(["mount", *map(str, command), str(at)], capture_output=True, check=False).returncode:
        pytest.skip("NOT PERMITTED: mounting a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs", at=disk):
        yield disk


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    space = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(space.f_bavail * space.f_frsize))
    assert os.statvfs(disk).f_bavail == 0
    yield
    (disk / "filler").unlink()


def test_a_store_that_can_only_be_read_is_served(world: World, tmp_path: Path) -> None:
    server = filled(world, tmp_path / "store")
    server.end()
    (tmp_path / "mounted").mkdir()
    with mounted("--bind", "-o", "ro", server.store, at=tmp_path / "mounted"):
        again = start(world, tmp_path / "mounted", token=server.token)
        try:
            assert listed(again)[DEVICE]["deliveries"] == 2, "what was known is known"
            assert [ask(again, 1) for _ in range(3)] == [200, 304, 304], "the loop is broken all the same"
            assert ask(again, 2) == 304
            until(lambda: listed(again)[DEVICE]["state"] == "updated", "not listed")
            assert "cannot be written: it is served as it is" in problems(again)
            assert "they are kept in memory" in problems(again)
            with pytest.raises(SystemFaultError):
                publish(again, "2.0", world.firmware(3).signed)
            assert ask(again, 2) == 304
        finally:
            again.end()


def test_a_full_disk_is_survived_and_forgotten_when_there_is_space_again(world: World, small_disk: Path) -> None:
    server = filled(world, small_disk / "store")
    server.end()
    with full(small_disk):
        again = start(world, server.store, token=server.token)
        assert [ask(again, 1) for _ in range(2)] == [200, 304]
        assert "they are kept in memory" in problems(again)
        with pytest.raises(SystemFaultError, match="No space left"):
            publish(again, "2.0", world.firmware(3).signed)
        assert ask(again, 2) == 304
    try:
        until(lambda: "they are kept in memory" not in problems(again), "the file is not used again")
        publish(again, "2.0", world.firmware(3).signed)
        assert ask(again, 2) == 200
    finally:
        again.end()
    with Devices(server.store / DEVICES_FILE) as devices:
        known = devices.get("blink", DEVICE)
    assert known is not None
    assert (known.offered, known.deliveries) == ("2.0", 1)


def test_a_disk_that_fills_up_stops_no_poll(world: World, small_disk: Path) -> None:
    server = filled(world, small_disk / "store")
    try:
        with full(small_disk):
            for number in range(300):
                mac = f"5C:CF:7F:00:{number // 256:02X}:{number % 256:02X}"
                request = as_device(URL, world.firmware(2), mac)
                assert talk(world.context(), server.port, request).status == 304
            assert [ask(server, 1) for _ in range(2)] == [200, 304]
            until(lambda: len(listed(server)) == 301, "not listed from memory")
            assert "they are kept in memory" in problems(server)
        until(lambda: "they are kept in memory" not in problems(server), "the file is not used again")
        assert len(listed(server)) == 301
    finally:
        server.end()
    with Devices(server.store / DEVICES_FILE) as devices:
        assert len(devices.list("blink")) == 301


def test_a_list_that_is_damaged_while_it_is_used_is_set_aside_with_what_was_seen_since(tmp_path: Path) -> None:
    file, said = tmp_path / DEVICES_FILE, []
    with DeviceFile(file) as home, Devices(home) as devices:
        home.use_home(said.append)
        for number in range(2000):
            devices.see(Sighting("blink", "stable", f"mac:{number}"), 1.0)
        with Devices(file) as other:
            other._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite_pages(file)
        with Devices(home, timeout=1.0) as second, pytest.raises(SystemFaultError):
            second.list("blink", limit=5000)
        assert "malformed" in home.reason()
        devices.see(Sighting("blink", "stable", "mac:later"), 2.0)
        assert home.generation == 1
        home.use_home(said.append)
        assert (home.generation, home.reason()) == (2, "")
        assert [one.device for one in devices.list("blink")] == ["mac:later"]
        assert devices.path == file
    assert len(damaged_files(tmp_path)) == 1
    assert [one for one in said if "begun" in one] == said != []


def test_a_file_that_is_never_ours_to_touch_stays(tmp_path: Path) -> None:
    file = tmp_path / DEVICES_FILE
    Devices(file).close()
    with contextlib.closing(sqlite3.connect(file)) as later:
        later.execute("PRAGMA user_version = 9")
    before = file.read_bytes()
    with DeviceFile(file) as home, pytest.raises(LaterFormatError):
        home.use_home(print)
    assert file.read_bytes() == before
    assert damaged_files(tmp_path) == []
