"""A log that is full, gone or never read takes no answer with it; what was lost is counted, and said afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.server.log import MAX_WAITING, Log
from otaseal.server.telemetry import Event
from support.servers import Running, StartServer, answered_soon, as_device, get, metrics, publish, talk, until

PIPE_BYTES = 4096
FILLED = 8 * 1024 * 1024
"""Bytes in the log before: more than any other file that the server writes here."""


def serves_well(server: Running) -> None:
    """Publish, ask and look, and all of it is answered soon."""
    publish(server, "1.0", server.world.firmware(1).signed)
    context, device = server.world.context(), as_device("/firmware.bin.signed", server.world.firmware(1))

    def poll() -> None:
        assert talk(context, server.port, device).status == 304

    def look() -> None:
        assert talk(context, server.operators, get("/healthz")).status == 200

    answered_soon(poll, 50)
    answered_soon(look, 10)
    assert "otaseal_log_lines_lost_total" in metrics(server)


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Yield the reading end and the writing end of a pipe that holds one page."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield reading, writing
    finally:
        for end in (reading, writing):
            with contextlib.suppress(OSError):
                os.close(end)


@pytest.mark.parametrize("kind", ["full", "gone", "still"])
def test_a_log_that_cannot_be_written_takes_no_answer_with_it(start_server: StartServer, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "full":
            errors = os.open("/dev/full", os.O_WRONLY)
            stack.callback(os.close, errors)
        else:
            reading, errors = stack.enter_context(pipe())
        if kind == "gone":
            os.close(reading)
        if kind == "still":
            os.write(errors, bytes(PIPE_BYTES))
        server = start_server(errors=errors)
        serves_well(server)
        assert server.stop() == 0


def test_a_disk_that_was_full_gets_all_that_was_waiting(start_server: StartServer, tmp_path: Path) -> None:
    """A limit of the file's size ends in the middle of a line, as a full disk does."""
    path = tmp_path / "errors"
    path.write_bytes(bytes(FILLED - 1) + b"\n")
    errors = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        server = start_server(errors=errors)
    finally:
        os.close(errors)
    until(lambda: path.stat().st_size > FILLED, "nothing is logged")
    full = path.stat().st_size + 100
    before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    serves_well(server)
    assert path.stat().st_size <= full
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
    assert server.stop() == 0
    lines = path.read_bytes()[FILLED:].decode().splitlines()
    assert all(re.match(r"2\d{3}-\d\d-\d\dT[\d:.]+\+00:00 [a-z]+( |$)", line) for line in lines)
    assert sum("device" in line and "status=304" in line for line in lines) >= 50, "they waited, and none was lost"
    assert " stopped" in lines[-1]


def test_a_reader_that_comes_back_gets_lines_again(start_server: StartServer, tmp_path: Path) -> None:
    fifo = tmp_path / "errors"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    errors = os.open(fifo, os.O_WRONLY)
    server = start_server("--log-json", errors=errors)
    os.close(errors)
    os.close(reading)
    serves_well(server)
    reader = threading.Thread(target=lambda: said.extend(fifo.read_bytes().splitlines()))
    said: list[bytes] = []
    reader.start()
    until(lambda: server.stop() == 0, "does not end")
    reader.join()
    events = [json.loads(line) for line in said]
    assert sum(one["event"] == "device" and one["status"] == 304 for one in events) >= 50
    assert events[-1]["event"] == "stopped"


def test_what_finds_no_room_is_counted_and_said() -> None:
    total, event = 2 * MAX_WAITING, Event({"event": "device", "status": 304})
    with pipe() as (reading, writing):
        log = Log(writing, as_json=True)
        with log.running():
            taken = [log.write(event) for _ in range(total)]
            assert taken[:MAX_WAITING] == [True] * MAX_WAITING
            assert not taken[-1]
            received: list[bytes] = []
            reader = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reading, 65536), b"")))
            reader.start()
            until(lambda: b'"lost"' in b"".join(received), "what was lost is not said")
        os.close(writing)
        reader.join()
    events = [json.loads(line) for line in b"".join(received).splitlines()]
    lost = [one for one in events if one["event"] == "log"]
    assert len(events) - len(lost) == sum(taken), "every line is whole"
    assert sum(one["lost"] for one in lost) == total - sum(taken)
    assert all(one["alarm"] for one in lost)


def test_a_closed_standard_error_takes_nothing() -> None:
    """Its descriptor is somebody else's by now."""
    log = Log(None)
    with log.running():
        assert not log.write(Event({"event": "device"}))
