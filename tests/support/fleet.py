"""Many devices: each asks over TLS as ESP8266httpUpdate does, verifies what it gets with its own key, and starts it."""

from __future__ import annotations

import hashlib
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support.servers import SECONDS, Firmware, Reply, Running, as_device, parse_reply

THREADS = 4


@dataclass
class Node:
    """One device: what it runs, and what became of its polls. One that `fails` never starts a new image."""

    mac: str
    running: Firmware
    fails: bool = False
    address: str = "127.0.0.1"
    session: ssl.SSLSession | None = None
    resumed: int = 0
    statuses: list[int] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)

    def poll(self, fleet: Fleet) -> None:
        """Ask once, and install what comes."""
        reply = self._ask(fleet)
        self.statuses.append(reply.status)
        if reply.status == 200:
            assert int(reply.headers["content-length"]) == len(reply.body)
            assert reply.headers["x-md5"] == hashlib.md5(reply.body).hexdigest()
            verify(fleet.key, reply.body)
            image = next(one for one in fleet.images if one.signed == reply.body)
            self.downloads.append(reply.headers["x-otaseal-version"])
            if not self.fails:
                self.running = image

    def _ask(self, fleet: Fleet) -> Reply:
        reply, self.session, reused = exchange(fleet, fleet.request(self.running, self.mac), self.address, self.session)
        self.resumed += reused
        return reply


@dataclass
class Fleet:
    """The devices of one server, all of which begin with the first of `images`."""

    server: Running
    images: tuple[Firmware, ...]
    nodes: list[Node]
    context: ssl.SSLContext
    key: rsa.RSAPublicKey
    requests: dict[str, bytes]

    @classmethod
    def of(cls, server: Running, images: tuple[Firmware, ...], count: int) -> Fleet:
        """Return `count` devices that run the first image."""
        context = server.world.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        nodes = [Node(f"5C:CF:7F:{n >> 16:02X}:{n >> 8 & 255:02X}:{n & 255:02X}", images[0]) for n in range(count)]
        requests = {one.md5: as_device("/blink/firmware.bin.signed", one, "MAC") for one in images}
        return cls(server, images, nodes, context, server.world.key.public_key(), requests)

    def request(self, runs: Firmware, mac: str) -> bytes:
        """Return what a device sends that runs this."""
        return self.requests[runs.md5].replace(b"STA-MAC: MAC", b"STA-MAC: " + mac.encode())

    def poll(self, nodes: Iterable[Node] | None = None) -> None:
        """Let devices ask once each, a few at a time."""
        waiting: queue.SimpleQueue[Node] = queue.SimpleQueue()
        for node in self.nodes if nodes is None else nodes:
            waiting.put(node)
        failures: list[BaseException] = []

        def work() -> None:
            while not failures:
                try:
                    node = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    node.poll(self)
                except BaseException as error:
                    failures.append(error)

        in_threads(work, THREADS)
        if failures:
            raise failures[0]


def exchange(
    fleet: Fleet, request: bytes, address: str, session: ssl.SSLSession | None
) -> tuple[Reply, ssl.SSLSession | None, bool]:
    """Send a request from an address; return the answer, the session to go on with, and whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", fleet.server.port), SECONDS, (address, 0)) as raw,
        fleet.context.wrap_socket(raw, server_hostname="localhost", session=session) as connection,
    ):
        connection.sendall(request)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
        return parse_reply(bytes(received)), connection.session, bool(connection.session_reused)


def in_threads(work: Callable[[], None], count: int) -> None:
    """Run the same work in several threads until all have ended."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def verify(key: rsa.RSAPublicKey, signed: bytes) -> None:
    """Check a signed image as the device does (F1); raises AssertionError."""
    (length,) = struct.unpack("<I", signed[-4:])
    assert length == key.key_size // 8
    try:
        key.verify(signed[-4 - length : -4], signed[: -4 - length], padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise AssertionError("the signature does not hold") from error
