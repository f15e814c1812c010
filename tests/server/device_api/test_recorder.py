"""Devices are answered while nobody can write, no note is lost, and a delivery counts at once."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.server.device_api import recorder
from otaseal.server.device_api.recorder import Recorder
from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.files import DEVICES_FILE
from support.devices import Devices
from support.servers import SECONDS, Running, answered_soon, as_device, devices_seen, publish, talk, until

OLD, NEW = "0" * 32, "1" * 32


def sighting(device: str, md5: str = OLD) -> Sighting:
    return Sighting("blink", "stable", device, md5)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a write transaction, as a process that hangs would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def notes(tmp_path: Path, said: list[str]) -> Iterator[Recorder]:
    with Recorder(tmp_path / "devices", said.append) as opened:
        yield opened


def test_nobody_waits_for_a_writer_and_nothing_is_lost(tmp_path: Path, notes: Recorder, said: list[str]) -> None:
    notes.poll(sighting("first"), "2", 1.0)
    assert notes.flush(SECONDS)
    with locked(tmp_path / "devices"):
        begun = time.monotonic()
        for name in (f"mac:{number}" for number in range(200)):
            assert notes.poll(sighting(name), "2", 1.0)[0] == 0
            notes.offer(Asking("blink", name), "2", NEW, 1.0)
            notes.deliver(Asking("blink", name), "2", 1.0)
            assert notes.poll(sighting(name), "2", 1.0)[0] == 1, "a delivery counts before it is written"
        waited = 400 * recorder.READ_SECONDS  # if each look at the file had waited for the writer
        assert time.monotonic() - begun < waited / 2
        assert not notes.flush(0.1), "nothing can be written"
    assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        rows = {one.device: one for one in devices.list("blink")}
    assert len(rows) == 201
    assert all(one.deliveries == 1 for name, one in rows.items() if name != "first")
    assert said == []


def test_an_hourly_poll_reads_no_row_to_say_when_it_was(tmp_path: Path, notes: Recorder) -> None:
    read: list[str] = []
    notes.poll(sighting("mac:A"), "2", 1.0)
    assert notes.flush(SECONDS)
    notes._writer._database.set_trace_callback(read.append)
    for hour in range(1, 4):
        assert notes.poll(sighting("mac:A"), "2", hour * 3600.0)[0] == 0
        assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        row = devices.get("blink", "mac:A")
    assert row is not None
    assert (row.first_seen, row.last_seen, row.md5) == (1.0, 3 * 3600.0, OLD)
    assert [line for line in read if line.startswith("SELECT")] == []


class Hurry(threading.Event):
    """Says that somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.awaited.set()
        return super().wait(timeout)


@pytest.mark.parametrize("batch", [10, 1000])
def test_what_only_says_when_devices_were_waits_until_there_is_more_to_write(
    tmp_path: Path, notes: Recorder, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Ten seconds in a database: more polls than the queue has room for waited there, and others were dropped."""
    with Devices(tmp_path / "devices") as devices:
        for number in range(20):
            notes.poll(sighting(f"mac:{number}"), "2", 1.0)
        assert notes.flush(SECONDS)
        monkeypatch.setattr(recorder, "BATCH", batch)
        monkeypatch.setattr(notes, "_patience", 600.0)
        monkeypatch.setattr(notes, "_eager", False)
        monkeypatch.setattr(notes, "_hurry", hurry := Hurry())
        notes.poll(sighting("mac:0"), "2", 3601.0)
        assert hurry.awaited.wait(SECONDS)
        for number in range(1, 20):
            notes.poll(sighting(f"mac:{number}"), "2", 3601.0)
        if batch == 1000:  # and an offer is what somebody may look for
            notes.offer(Asking("blink", "mac:0"), "2", NEW, 3602.0)
        until(lambda: [row.last_seen for row in devices.list("blink")].count(3601.0) >= 10, "nothing is written")


@pytest.mark.proof
def test_a_delivery_is_counted_once_at_every_moment_of_its_writing(notes: Recorder) -> None:
    for count in range(1, 15):
        notes.offer(Asking("blink", "mac:A"), "2", NEW, 1.0)
        if count == 1:
            notes.poll(sighting("mac:A"), "2", 1.0)
        notes.offer(Asking("blink", "mac:A"), "2", NEW, 1.0)
        notes.deliver(Asking("blink", "mac:A"), "2", 1.0)
        end = time.monotonic() + 2 * recorder.GATHER_SECONDS
        while time.monotonic() < end:
            assert notes.poll(sighting("mac:A"), "2", 1.0)[0] == count


def test_a_full_queue_drops_what_is_said_before_what_was_delivered(
    tmp_path: Path, notes: Recorder, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_QUEUE", 50)
    with locked(tmp_path / "devices"):
        for number in range(80):
            notes.poll(sighting(f"mac:{number}"), "2", 1.0)
        notes.offer(Asking("blink", "mac:0"), "2", NEW, 1.0)
        notes.deliver(Asking("blink", "mac:0"), "2", 1.0)
        assert notes.poll(sighting("mac:0"), "2", 1.0)[0] == 1
    assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        rows = devices.list("blink")
        assert (len(rows), rows[0].deliveries) == (50, 1)
    assert said == ["the devices' file is too slow: what devices say is dropped"]


def test_the_end_writes_what_is_left_and_says_what_it_cannot(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder(tmp_path / "d", said.append) as notes:
        for number in range(1000):
            notes.poll(sighting(f"mac:{number}"), "2", 1.0)
    with Devices(tmp_path / "d") as devices:
        assert len(devices.list("blink")) == 1000
    monkeypatch.setattr(recorder, "CLOSE_SECONDS", 0.2)
    notes = Recorder(tmp_path / "d", said.append)
    with locked(tmp_path / "d"):
        notes.poll(sighting("late"), "2", 1.0)
        notes.close()
    assert said == ["1 notes of devices could not be written before the end"]
    for one in threading.enumerate():
        if one.name == "devices":
            one.join(SECONDS)


@pytest.mark.proof
def test_polls_are_answered_while_another_process_holds_the_file(server: Running) -> None:
    """3 s without a writer, as a disk that hangs; the poll of every device would be a write."""
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", new.signed)
    context, answered = server.world.context(), []

    def poll() -> None:
        mac = f"5C:CF:7F:00:{len(answered) // 256:02X}:{len(answered) % 256:02X}"
        assert talk(context, server.port, as_device("/blink/firmware.bin.signed", new, mac)).status == 304
        answered.append(f"mac:{mac}")

    with locked(server.store / DEVICES_FILE):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            answered_soon(poll, 10)
        for _ in range(2):
            assert talk(context, server.port, as_device("/blink/firmware.bin.signed", old)).status == 200

    def known() -> dict[str, int]:
        return {device["device"]: device["deliveries"] for device in devices_seen(server)}

    until(lambda: known().keys() >= set(answered), "sightings were lost")
    until(lambda: known()["mac:5C:CF:7F:F0:04:CB"] == 2, "deliveries were lost")
    assert [talk(context, server.port, as_device("/blink/firmware.bin.signed", old)).status for _ in range(2)] == [
        200,
        304,
    ]


def test_a_device_that_the_file_has_lost_begins_anew(tmp_path: Path, notes: Recorder) -> None:
    """Its row in memory does not outlive the one that was evicted."""
    notes._writer.limit = 3
    for name in ("mac:A", "mac:B"):
        notes.poll(sighting(name), "2", 1.0)
        notes.offer(Asking("blink", name), "2", NEW, 1.0)
        notes.deliver(Asking("blink", name), "2", 1.0)
    assert notes.flush(SECONDS)
    assert notes.poll(sighting("mac:A"), "2", 1.0)[0] == 1
    for number in range(3):
        notes.poll(sighting(f"mac:{number}"), "2", 2.0 + number)
    assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        assert devices.get("blink", "mac:A") is None
    assert notes.poll(sighting("mac:A"), "2", 5.0)[0] == 0
    assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        assert devices.get("blink", "mac:A") is not None


def test_a_forgotten_device_is_new_and_one_tried_again_is_not_in_vain(notes: Recorder) -> None:
    for change, kept in ((notes.retry, NEW), (notes.forget, None)):
        notes.poll(sighting("mac:A"), "2", 1.0)
        notes.offer(Asking("blink", "mac:A"), "2", NEW, 1.0)
        notes.deliver(Asking("blink", "mac:A"), "2", 1.0)
        assert notes.poll(sighting("mac:A"), "2", 1.0)[0] == 1
        assert change("blink", "mac:A")
        assert notes.flush(SECONDS)
        assert notes.poll(sighting("mac:A"), "2", 1.0)[0] == 0
        assert notes.flush(SECONDS)
        row = notes._reader.get("blink", "mac:A")
        assert row is not None
        assert row.expected_md5 == kept


def test_more_devices_than_are_kept_in_memory_are_counted_all_the_same(
    tmp_path: Path, notes: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_CACHED", 5)
    names = [f"mac:{number}" for number in range(20)]

    def count() -> list[int]:
        return [notes.poll(sighting(name), "2", 1.0)[0] for name in names]

    with locked(tmp_path / "devices"):
        assert count() == [0] * 20
        for name in names:
            notes.offer(Asking("blink", name), "2", NEW, 1.0)
            notes.deliver(Asking("blink", name), "2", 1.0)
        assert count() == [1] * 20
    assert notes.flush(SECONDS)
    for _ in range(3):
        assert count() == [1] * 20
    assert notes.flush(SECONDS)
    assert count() == [1] * 20
    assert len(notes._known) <= 5


def test_an_operator_hears_of_a_change_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder(tmp_path / "devices.sqlite", print) as recorder:
        assert recorder.forget("blink", "mac:A")
        assert recorder.retry("blink", "mac:A")
        monkeypatch.setattr("otaseal.server.device_api.recorder.MAX_QUEUE", 0)
        assert not recorder.forget("blink", "mac:A")
        assert not recorder.retry("blink", "mac:A")
