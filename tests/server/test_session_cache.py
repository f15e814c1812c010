"""How long a session is resumed: a real server whose clock libfaketime moves on, as a day would."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.server.session_cache import MAX_SESSIONS, SESSION_SECONDS, keep_sessions
from support import peers
from support.servers import SECONDS, Running, StartServer

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
HOUR = 3600


class Clock:
    """The wall clock of a server; monotonic clocks, and so its time-outs, go on as they are."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.move(0)

    def move(self, seconds: int) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n")
        beside.rename(self.file)

    @property
    def environment(self) -> dict[str, str]:
        fake = {"TIMESTAMP_FILE": str(self.file), "NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        return {"LD_PRELOAD": str(LIBRARY), **{f"FAKETIME_{name}": value for name, value in fake.items()}}


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    peers.require("libfaketime", LIBRARY is not None, "faketime")
    return Clock(tmp_path / "clock")


@pytest.fixture
def moved(start_server: StartServer, clock: Clock) -> Iterator[Running]:
    server = start_server(environment=clock.environment)
    yield server
    server.stop()


class Poller:
    """Connects again and again with the session that it has, as a device does, over TLS 1.2."""

    def __init__(self, server: Running) -> None:
        self.port = server.port
        self.context = server.world.context()
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_TICKET
        self.session: ssl.SSLSession | None = None

    def resumed(self) -> bool:
        with (
            socket.create_connection(("127.0.0.1", self.port), SECONDS) as raw,
            self.context.wrap_socket(raw, server_hostname="localhost", session=self.session) as connection,
        ):
            connection.sendall(b"GET /firmware.bin.signed HTTP/1.0\r\n\r\n")
            while connection.recv(4096):
                pass
            self.session = connection.session
            return bool(connection.session_reused)


def test_an_hourly_poll_is_resumed_for_a_day(moved: Running, clock: Clock) -> None:
    device = Poller(moved)
    assert not device.resumed()
    for hour in range(1, 25):
        clock.move(hour * HOUR)
        assert device.resumed(), f"hour {hour}"


def test_a_session_ends(moved: Running, clock: Clock) -> None:
    device = Poller(moved)
    assert not device.resumed()
    clock.move(SESSION_SECONDS + 60)
    assert not device.resumed()
    assert device.resumed(), "with the one that it was given instead"


def test_what_is_set_is_in_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert keep_sessions(context, MAX_SESSIONS)
    assert not keep_sessions(context, 1), "its time-out is not that of a new context: nothing is touched"
