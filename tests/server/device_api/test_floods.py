"""A thousand clients that say nothing, or too slowly, on either listener: everybody else is answered all the while."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers import SECONDS, Running, StartServer, answered_soon, as_device, get, publish, talk, until

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
CLIENTS = 1000 if THOROUGH else 120
PROBING = 40.0 if THOROUGH else 1.0  # seconds; the thorough run sees every time-out of a listener pass
FLOOD = Path(__file__).resolve().parents[2] / "support" / "flood.py"

pytestmark = pytest.mark.proof


@contextlib.contextmanager
def flooding(server: Running, kind: str, port: int, count: int, *request: str) -> Iterator[subprocess.Popen[str]]:
    """Hold the clients for as long as the block runs; it begins when each has been connected once."""
    command = [sys.executable, str(FLOOD), kind, str(port), str(count), str(server.world.ca), *request]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
            told, _ = process.communicate(timeout=SECONDS)
            print(kind, told.strip(), f"RSS {server.memory()} KiB")
        finally:
            process.kill()


def probe(server: Running, seconds: float) -> None:
    """Ask both listeners over and over: every answer right, every answer soon."""
    context, device = server.world.context(), as_device("/firmware.bin.signed", server.world.firmware(1))

    def poll() -> None:
        assert talk(context, server.port, device).status == 304

    def look() -> None:
        assert json.loads(talk(context, server.operators, get("/healthz")).body) == {"status": "ok"}

    end, took = time.monotonic() + seconds, [0.0]
    while time.monotonic() < end:
        took += [answered_soon(poll, 5), answered_soon(look, 5)]
    print(f"{5 * len(took)} probes, slowest {max(took):.3f} s")


@pytest.mark.parametrize("side", ["devices", "operators"])
@pytest.mark.parametrize("kind", ["silent", "head", "body"])
def test_probes_are_answered_in_a_flood(server: Running, kind: str, side: str) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    port = server.port if side == "devices" else server.operators
    path = "/firmware.bin.signed" if side == "devices" else "/v1/products/blink/releases/2.0?created=x"
    request = [path, "Authorization: Bearer wrong"] if kind == "body" else []
    with flooding(server, kind, port, CLIENTS, *request):
        probe(server, PROBING)
    probe(server, 0.2)
    assert server.process.poll() is None


def test_uploads_that_crawl_are_held_and_the_rest_is_answered(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    path = "/v1/products/blink/releases/2.0?created=2030-01-01T00:00:00Z"
    with flooding(server, "body", server.operators, CLIENTS, path, f"Authorization: Bearer {server.token}"):
        probe(server, PROBING)


@contextlib.contextmanager
def open_files(soft: int) -> Iterator[None]:
    """Give the processes that are started meanwhile this soft limit of open files, as a shell does."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_shells_limit_of_open_files_is_raised(start_server: StartServer) -> None:
    with open_files(100):
        server = start_server()
    publish(server, "1.0", server.world.firmware(1).signed)
    with flooding(server, "silent", server.port, CLIENTS):
        probe(server, 1)


def test_a_server_out_of_files_is_back_when_the_flood_ends(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (60, 60))
    device = as_device("/firmware.bin.signed", server.world.firmware(1))
    with flooding(server, "silent", server.port, CLIENTS):
        pass

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return talk(server.world.context(), server.port, device).status == 304
        return False

    until(answers, "the server does not come back")
    assert server.process.poll() is None
