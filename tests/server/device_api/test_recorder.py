"""Devices are answered while nobody can write, no note is lost, and a delivery counts at once and in every worker."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.server.device_api import recorder
from otaseal.server.device_api.recorder import PendingDeliveries, Recorder
from otaseal.server.sessions import HELLO_BYTES, SESSION_BYTES, SessionTable, offered_session
from otaseal.server.telemetry import SharedCounters, Telemetry
from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.files import DEVICES_FILE
from support.devices import Devices
from support.servers import SECONDS, StartServer, answered_soon, as_device, devices_seen, publish, talk, until

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

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


def apart(count: int) -> list[str]:
    """Return so many devices of which no two share a slot of the PendingDeliveries, which they may by chance."""
    slots = {recorder._slot("blink", name): name for name in (f"mac:{number}" for number in range(2 * count))}
    return list(slots.values())[:count]


def test_nobody_waits_for_a_writer_and_nothing_is_lost(tmp_path: Path, notes: Recorder, said: list[str]) -> None:
    notes.poll(sighting("first"), "2", 1.0)
    assert notes.flush(SECONDS)
    with locked(tmp_path / "devices"):
        begun = time.monotonic()
        for name in apart(200):
            assert notes.poll(sighting(name), "2", 1.0) == 0
            notes.offer(Asking("blink", name), "2", NEW, 1.0)
            notes.deliver(Asking("blink", name), "2", 1.0)
            assert notes.poll(sighting(name), "2", 1.0) == 1, "a delivery counts before it is written"
        waited = 400 * recorder.READ_SECONDS  # if each look at the file had waited for the writer
        assert time.monotonic() - begun < waited / 2
        assert not notes.flush(0.1), "nothing can be written"
    assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        rows = {one.device: one for one in devices.list("blink")}
    assert len(rows) == 201
    assert all(one.deliveries == 1 for name, one in rows.items() if name != "first")
    assert said == []


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as often as it takes: a request would give up while a busy machine lets the writer stand in the middle."""
    monkeypatch.setattr(recorder, "MAX_TRIES", int(SECONDS / recorder.TRY_SECONDS))
    monkeypatch.setattr(recorder, "ORDER_SECONDS", float(SECONDS))


@pytest.mark.proof
@pytest.mark.usefixtures("patient")
def test_a_delivery_is_counted_once_at_every_moment_of_its_writing(notes: Recorder) -> None:
    for count in range(1, 40):
        notes.offer(Asking("blink", "mac:A"), "2", NEW, 1.0)
        if count == 1:
            notes.poll(sighting("mac:A"), "2", 1.0)
        notes.offer(Asking("blink", "mac:A"), "2", NEW, 1.0)
        notes.deliver(Asking("blink", "mac:A"), "2", 1.0)
        end = time.monotonic() + 2 * recorder.GATHER_SECONDS
        while time.monotonic() < end:
            assert notes.poll(sighting("mac:A"), "2", 1.0) == count


def _deliver(path: Path, ledger: PendingDeliveries, line: Connection) -> None:
    with Recorder(path, print, ledger, 1) as mine:
        while line.recv() == "deliver":
            mine.deliver(Asking("blink", "mac:A"), "2", 1.0)
            line.send("noted")


@pytest.mark.proof
@pytest.mark.usefixtures("patient")
def test_another_process_counts_at_once_too(tmp_path: Path) -> None:
    ledger = PendingDeliveries(2)
    ours, theirs = multiprocessing.Pipe()
    other = multiprocessing.get_context("fork").Process(target=_deliver, args=(tmp_path / "d", ledger, theirs))
    other.start()
    with Recorder(tmp_path / "d", print, ledger, 0) as mine:
        mine.poll(sighting("mac:A"), "2", 1.0)
        mine.offer(Asking("blink", "mac:A"), "2", NEW, 1.0)
        assert mine.flush(SECONDS)
        for count in range(1, 30):
            ours.send("deliver")
            assert ours.recv() == "noted"
            end = time.monotonic() + 2 * recorder.GATHER_SECONDS
            while time.monotonic() < end:
                assert mine.poll(sighting("mac:A"), "2", 1.0) == count
        ours.send("end")
        other.join(SECONDS)
        assert other.exitcode == 0
        assert mine.poll(sighting("mac:A"), "2", 1.0) == 29


@pytest.mark.usefixtures("patient")
def test_what_a_device_says_comes_after_the_delivery_that_another_worker_still_writes(tmp_path: Path) -> None:
    ledger = PendingDeliveries(2)
    with Recorder(tmp_path / "d", print, ledger, 0) as first, Recorder(tmp_path / "d", print, ledger, 1) as second:
        for number in range(20):
            name = f"mac:{number}"
            first.poll(sighting(name), "2", 1.0)
            first.offer(Asking("blink", name), "2", NEW, 1.0)
            first.deliver(Asking("blink", name), "2", 2.0)
            second.poll(sighting(name), "2", 3.0)
        assert first.flush(SECONDS)
        assert second.flush(SECONDS)
        with Devices(tmp_path / "d") as devices:
            assert devices.counts("blink", "stable", "2", 4.0, 60.0).failed == 20


def test_a_worker_that_died_leaves_no_count_behind() -> None:
    ledger, slot = PendingDeliveries(2), 7
    for worker in (0, 0, 1):
        ledger.give(worker, slot)
    assert ledger.pending(slot) == 3
    before = ledger.changes(slot)
    ledger.clear(0)
    assert ledger.pending(slot) == 1
    assert ledger.pending(slot, besides=1) == 0
    assert ledger.changes(slot) != before, "it may have written what it told nobody"


def test_a_full_queue_drops_what_is_said_before_what_was_delivered(
    tmp_path: Path, notes: Recorder, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_QUEUE", 50)
    with locked(tmp_path / "devices"):
        for number in range(80):
            notes.poll(sighting(f"mac:{number}"), "2", 1.0)
        notes.deliver(Asking("blink", "mac:0"), "2", 1.0)
        assert notes.poll(sighting("mac:0"), "2", 1.0) == 1
    assert notes.flush(SECONDS)
    with Devices(tmp_path / "devices") as devices:
        assert len(devices.list("blink")) == 50
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
@pytest.mark.parametrize("workers", ["1", "2"])
def test_polls_are_answered_while_another_process_holds_the_file(start_server: StartServer, workers: str) -> None:
    """3 s without a writer, as a disk that hangs; the poll of every device would be a write."""
    server = start_server("--workers", workers)
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


def hello(session: bytes) -> bytes:
    """Return what a client's first record begins with, and some more."""
    body = b"\3\3" + bytes(range(32)) + bytes([len(session)]) + session + b"\0\2\xc0\x2f\1\0" + bytes(60)
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


def test_the_session_that_a_hello_asks_for() -> None:
    session = bytes(range(100, 100 + SESSION_BYTES))
    assert offered_session(hello(session)[:HELLO_BYTES]) == session
    assert offered_session(hello(session)) == session
    assert offered_session(hello(session)[: HELLO_BYTES - 1]) is None
    assert offered_session(hello(b"")) is None
    assert offered_session(hello(session[:16])) is None
    short_record = bytearray(hello(session))
    short_record[3:5] = b"\0\x20"  # the id lies behind the next record's header
    assert offered_session(bytes(short_record)) is None
    for place, value in ((0, 0x17), (1, 2), (5, 2), (5, 0)):
        wrong = bytearray(hello(session))
        wrong[place] = value
        assert offered_session(bytes(wrong)) is None


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_have_a_session_of_our_length_or_none(data: bytes) -> None:
    found = offered_session(data)
    assert found is None or (len(found) == SESSION_BYTES and found in data)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 63)), max_size=60))
def test_the_table_names_the_worker_or_nobody(noted: list[tuple[bytes, int]]) -> None:
    table = SessionTable(slots=16)
    for session, worker in noted:
        table.note(session, worker)
        assert table.owner(session) == worker
    last = dict(noted)
    assert all(table.owner(session) in (worker, None) for session, worker in last.items())
    assert table.owner(None) is None
    assert table.owner(b"") is None
    table.note(b"short", 1)
    assert table.owner(b"short") is None


def _count(board: SharedCounters, times: int) -> None:
    mine = Telemetry(lambda _: None, board, 1)
    for _ in range(times):
        mine.count("otaseal_device_requests_total", status="200", code="update")
        mine.post()


def test_counters_of_workers_are_summed_and_survive_them() -> None:
    board, each = SharedCounters(2), 2000
    mine = Telemetry(lambda _: None, board, 0)
    context = multiprocessing.get_context("fork")
    for generation in (1, 2):
        other = context.Process(target=_count, args=(board, each))
        other.start()
        seen = 0
        while other.is_alive():
            now = sum(board.read(1).values())
            assert now >= seen, "a counter went backwards"
            seen = now
        other.join(SECONDS)
        assert other.exitcode == 0
        mine.count("otaseal_device_requests_total", status="200", code="update")
        total = generation * (each + 1)
        assert f'otaseal_device_requests_total{{code="update",status="200"}} {total}' in mine.prometheus({})


def test_an_operator_hears_of_a_change_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder(tmp_path / "devices.sqlite", print) as recorder:
        assert recorder.forget("blink", "mac:A")
        assert recorder.retry("blink", "mac:A")
        monkeypatch.setattr("otaseal.server.device_api.recorder.MAX_QUEUE", 0)
        assert not recorder.forget("blink", "mac:A")
        assert not recorder.retry("blink", "mac:A")
