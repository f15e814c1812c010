"""Thousands of listeners to `GET /v1/events`: what each costs, and how soon all know.

    python bench/listeners.py [--listeners 9600] [--idle 1500]

Memory is what the server holds for itself (RssAnon). First `idle` connections only shake hands, then they listen:
printed is what each takes, and how much more then. Then all listeners are there, each on a connection of its own from
eight addresses of this machine, and a channel is changed five times: printed is how long it takes until the last one
has the hint, and how long a device's poll on a new connection takes meanwhile. Each token has as many listeners as
one caller may. Last come 40 more: where that is too many they are refused, and the API answers. Needs Linux, and
descriptors for all.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import selectors
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from otaseal.keys import signers
from otaseal.server.changes import MAX_OF_CALLER
from otaseal.store.backend import open_backend
from otaseal.store.tokens import TokenFile
from support.servers import Running, World, as_device, get, operator, publish, start, talk

ADDRESSES = 8
PATIENCE = 120.0
CHANGES = 5


def memory(server: Running) -> int:
    """Return what a server holds for itself, in bytes."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(next(line for line in text.splitlines() if line.startswith("RssAnon")).split()[1])


def connect(server: Running, context: ssl.SSLContext, number: int) -> ssl.SSLSocket:
    """Return a connection whose handshake is over, from one of the addresses."""
    raw = socket.create_connection(("127.0.0.1", server.operators), PATIENCE, (f"127.0.0.{2 + number % ADDRESSES}", 0))
    return context.wrap_socket(raw, server_hostname="localhost")


def listen(connection: ssl.SSLSocket, token: str) -> ssl.SSLSocket:
    """Let a connection listen, and return it."""
    connection.sendall(get("/v1/events?product=blink", f"Authorization: Bearer {token}", version="1.1"))
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionRefusedError(head[:40])
    connection.setblocking(False)
    return connection


def make_tokens(server: Running, count: int) -> list[str]:
    """Return tokens, each for as many listeners as one caller may have."""
    with open_backend(str(server.store)) as backend:
        tokens = TokenFile(backend.store.documents)
        return [tokens.issue("bench", "blink", "-", 1, datetime.now(timezone.utc))[1] for _ in range(count)]


def hear(listeners: list[ssl.SSLSocket], kind: bytes) -> float:
    """Wait until all have a hint of a kind, and return how long that took."""
    began, missing = time.monotonic(), set(listeners)
    with selectors.DefaultSelector() as selector:
        for one in listeners:
            selector.register(one, selectors.EVENT_READ)
        while missing:
            ready = selector.select(PATIENCE)
            assert ready, f"{len(missing)} hear nothing"
            for key, _ in ready:
                one = key.fileobj
                assert isinstance(one, ssl.SSLSocket)
                try:
                    if b"event: " + kind in one.recv(65536):
                        missing.discard(one)
                except ssl.SSLWantReadError:
                    pass
    return time.monotonic() - began


def poll(server: Running, stop: threading.Event, took: list[float]) -> None:
    """Poll as a device on one new connection after the other."""
    request = as_device("/blink/firmware.bin.signed", server.world.firmware(1))
    while not stop.is_set():
        began = time.monotonic()
        talk(server.world.context(), server.port, request)
        took.append(time.monotonic() - began)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=9600)
    parser.add_argument("--idle", type=int, default=1500)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        world = World.create(Path(folder), signers.new_signing_key())
        server = start(world, Path(folder) / "store")
        try:
            measure(server, options.listeners, options.idle)
        finally:
            server.end()


def measure(server: Running, count: int, idle: int) -> None:
    """Print what listeners cost a server."""
    context = server.world.context()
    publish(server, "1.0", server.world.firmware(1).signed)
    publish(server, "2.0", server.world.firmware(2).signed, channel="beta")
    tokens = itertools.cycle(make_tokens(server, count // MAX_OF_CALLER + 1))
    before = memory(server)
    connections = [connect(server, context, number) for number in range(idle)]
    plain = memory(server)
    listeners = [listen(one, next(tokens)) for one in connections]
    each = (memory(server) - plain) / idle
    print(f"{idle} connections: {(plain - before) / idle / 1024:.1f} KB each, {each / 1024:.2f} KB more as a listener")
    began = time.monotonic()
    listeners += [listen(connect(server, context, number), next(tokens)) for number in range(idle, count)]
    print(f"{count} listeners, the last {count - idle} in {time.monotonic() - began:.0f} s")
    stop, took = threading.Event(), [0.0]
    polling = threading.Thread(target=poll, args=(server, stop, took))
    polling.start()
    for change in range(CHANGES):
        operator(server).post("/v1/products/blink/channels/beta/percent", {"percent": 10 + change})
        print(f"all have heard {hear(listeners, b'channel'):.2f} s after a change was acknowledged")
    stop.set()
    polling.join()
    print(f"polls meanwhile: {statistics.median(took):.3f} s in the median, {max(took):.3f} s at most, of {len(took)}")
    print(f"{(memory(server) - before) / count / 1024:.1f} KB each after that")
    refused = 0
    for number in range(40):
        try:
            listeners.append(listen(connect(server, context, number), next(tokens)))
        except (ConnectionRefusedError, OSError):
            refused += 1
    print(f"of 40 more, {refused} are refused; the API answers: {operator(server).get('/healthz')['status']}")
    for one in listeners:
        one.close()


if __name__ == "__main__":
    main()
