"""Many downloads during many deploys: each is one release, whole, and none older than what was acknowledged before.

The deploys are another process's, on the store that the server reads; the downloads go over TLS to a server.
"""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otaseal.release.channels import Channel, Pointer
from otaseal.release.record_json import serialise
from otaseal.release.records import Release
from otaseal.store.documents import blob_name, channel_name, release_name
from otaseal.store.store import Store
from support.fleet import in_threads
from support.releases import make_release
from support.servers import SECONDS, Running, get

pytestmark = [pytest.mark.proof, pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")]

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
DEPLOYS = 1000 if THOROUGH else 150
GETS_A_DEPLOY = 10
READERS = 4
SIZE = 30_000
ACKNOWLEDGED, BEGUN, GOT = range(3)
WAIT = 300.0

Deploy = Callable[[Store, Release, bytes, Callable[[], None]], None]
"""Takes what waits until downloads have been begun and ended: whatever is wrong meanwhile is found."""


def content(number: int) -> bytes:
    """Return the firmware of a release: its number, and bytes that are no other's."""
    return struct.pack(">I", number) + hashlib.shake_128(str(number).encode()).digest(SIZE)


def release(number: int) -> Release:
    return make_release(f"{number}.0", content(number))


def safely(store: Store, made: Release, data: bytes, _: Callable[[], None]) -> None:
    """Deploy as the server does."""
    store.publish(made, [data])
    before = store.current("blink", "stable")
    store.point("blink", "stable", Pointer(made.version), expected=before.generation if before else 0)


def naively(store: Store, made: Release, data: bytes, wait: Callable[[], None]) -> None:
    """Deploy as most people write it first: files in place, piece by piece, and what is needed after what needs it."""
    before = store.current("blink", "stable")
    assert before is not None
    (store.directory / channel_name("blink", "stable")).write_bytes(before.advanced(Pointer(made.version)).to_json())
    store.record_event({"event": "point"})  # by which the server looks at once
    wait()
    (store.directory / release_name("blink", made.version)).write_bytes(serialise(made))
    path = store.directory / blob_name(hashlib.sha256(data).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), 1024):
            file.write(data[start : start + 1024])


def _deploy_all(directory: Path, deploy: Deploy, shared: memoryview, count: int) -> None:
    """Deploy one after the other, as fast as the downloads go on."""
    store, end = Store.open(directory), time.monotonic() + WAIT

    def wait_for(downloads: int) -> None:
        while shared[GOT] < downloads:
            assert time.monotonic() < end
            time.sleep(0.0002)

    for number in range(1, count + 1):
        wait_for(number * GETS_A_DEPLOY)
        shared[BEGUN] = number
        # Of one more than there are readers, one reader has had two: the second was asked for after this.
        deploy(store, release(number), content(number), lambda: wait_for(shared[GOT] + READERS + 1))
        shared[ACKNOWLEDGED] = number


class Reader:
    """A client that keeps its connection."""

    def __init__(self, server: Running) -> None:
        raw = socket.create_connection(("127.0.0.1", server.port), SECONDS)
        self.connection = server.world.context().wrap_socket(raw, server_hostname="localhost")

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def get(self) -> tuple[int, bytes]:
        """Return status and body of one download."""
        self.connection.sendall(get("/blink/firmware.bin.signed", version="1.1"))
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += self._some()
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += self._some()
        assert len(body) == length
        return int(head.split(b" ")[1]), body

    def _some(self) -> bytes:
        piece = self.connection.recv(65536)
        assert piece, "the answer breaks off"
        return piece


def judge(status: int, body: bytes, oldest: int, newest: int) -> str | None:
    """Return what is wrong with an answer, when releases `oldest` to `newest` may be given."""
    if status != 200:
        return f"status {status}"
    (number,) = struct.unpack(">I", body[:4])
    if body != content(number):
        return "torn or mixed"
    return None if oldest <= number <= newest else f"release {number} instead of {oldest} to {newest}"


def run(server: Running, deploy: Deploy, deploys: int) -> tuple[int, list[str]]:
    """Return how many downloads there were, and what was wrong with any."""
    safely(Store.open(server.store), release(0), content(0), lambda: None)
    shared = memoryview(mmap.mmap(-1, 3 * 8)).cast("Q")
    arguments = (server.store, deploy, shared, deploys)
    deployer = multiprocessing.get_context("fork").Process(target=_deploy_all, args=arguments)
    deployer.start()
    wrong: list[str] = []
    lock = threading.Lock()

    def read() -> None:
        with Reader(server) as reader:
            while deployer.is_alive():
                oldest = shared[ACKNOWLEDGED]
                status, body = reader.get()
                found = judge(status, body, oldest, shared[BEGUN])
                with lock:
                    shared[GOT] += 1
                    if found:
                        wrong.append(found)

    in_threads(read, READERS)
    deployer.join(SECONDS)
    assert deployer.exitcode == 0
    assert shared[ACKNOWLEDGED] == deploys
    return shared[GOT], wrong


def test_no_download_is_torn_and_no_acknowledged_release_is_lost(server: Running) -> None:
    gets, wrong = run(server, safely, DEPLOYS)
    assert wrong == []
    assert gets >= GETS_A_DEPLOY * DEPLOYS
    store = Store.open(server.store)
    assert len(store.releases("blink")) == DEPLOYS + 1
    assert {store.read_blob(store.release("blink", f"{n}.0").forms[0].blob) for n in range(DEPLOYS + 1)} == {
        content(n) for n in range(DEPLOYS + 1)
    }
    channel: Channel | None = store.current("blink", "stable")
    assert channel is not None
    assert channel.pointer.version == f"{DEPLOYS}.0"


def test_the_same_downloads_find_a_naive_store_out(server: Running) -> None:
    _, wrong = run(server, naively, 20)
    assert "status 503" in wrong


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((200, content(5)), None),
        ((200, content(5)[:-1] + b"\0"), "torn or mixed"),
        ((200, content(5)[:20_000] + content(6)[20_000:]), "torn or mixed"),
        ((200, content(4)), "release 4 instead of 5 to 6"),
        ((503, b""), "status 503"),
    ],
)
def test_the_judge_can_say_no(answer: tuple[int, bytes], found: str | None) -> None:
    assert judge(*answer, 5, 6) == found
