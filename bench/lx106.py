"""What an update costs the device, in instructions of an emulated ESP8266 CPU, against our server and against others.

    python bench/lx106.py [optimisation, e.g. "-Os"]

Each row is a server: the handshake in full, the whole update (handshake, 262 KB, verification with RSA-2048), and a
second connection with the session of the first that is told 304 (or what the server makes of it). Counts are BearSSL's
alone, without radio, TCP and flash; they repeat to 0.1 %, so one run is enough, and they are no milliseconds.
Needs what tests/support/lx106.py says, and `.ci/bearssl-source build/bearssl`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "pki"), str(ROOT / "tools")]

from chain_maker import make, make_ec, make_rsa, san
from cryptography.hazmat.primitives import serialization

from support import lx106, servers

NAME = "localhost"
CODE_SIZE = 262_144 - 4_700
NOT_MODIFIED = b"HTTP/1.0 304 Not Modified\r\nConnection: close\r\n\r\n"
CURVES = {29: "X25519", 23: "P-256", 24: "P-384", 25: "P-521"}
SUITES = {
    0xCCA8: "ChaCha20",
    0xCCA9: "ChaCha20",
    0xC02B: "AES-128-GCM",
    0xC02F: "AES-128-GCM",
    0xC02C: "AES-256-GCM",
    0xC030: "AES-256-GCM",
}
KEYS: dict[str, Callable[[int], Any]] = {
    "P-256": lambda index: make_ec(index=index),
    "P-384": lambda index: make_ec("secp384r1", index),
    "RSA-2048": lambda index: make_rsa(2048, index),
    "RSA-4096": lambda index: make_rsa(4096, index),
}
MILLION = 1_000_000


@dataclass(frozen=True)
class Row:
    """A server's costs: the update, and the poll on the session of a poll before it."""

    name: str
    update: lx106.Connection
    first_poll: lx106.Connection
    next_poll: lx106.Connection

    def __str__(self) -> str:
        update = self.update
        assert update.verification is not None
        verified = update.verification.hash + update.verification.signature
        kind = "resumed" if self.next_poll.resumed else "in full"
        costs = [update.handshake, update.answer, verified, update.cost, self.first_poll.cost, self.next_poll.cost]
        return (
            f"{self.name:34}"
            + "".join(f"{one / MILLION:9.1f}" for one in costs)
            + f" {kind}  {update.answer / update.size:4.0f}/byte"
            + f"  {SUITES.get(update.suite, hex(update.suite))}, {CURVES[update.curve]}"
        )


def measure(name: str, port: int, update: lx106.Order, poll: bytes, optimisation: str) -> Row:
    (downloaded,) = lx106.fetch(port, update, 1, optimisation)
    first, following = lx106.fetch(port, replace(update, request=poll), 2, optimisation)
    assert downloaded.verification is not None
    assert downloaded.verification.accepted, name
    return Row(name, downloaded, first, following)


@contextlib.contextmanager
def python_server(folder: Path, keys: tuple[Any, Any], body: bytes) -> Iterator[tuple[int, bytes]]:
    """Python's own TLS with nothing set but the certificate; gives its port and its CA's certificate (DER)."""
    root = make("CA of a server like any other", key=keys[0], ca=True)
    leaf = make(NAME, root, key=keys[1], names=san("dns:" + NAME))
    path = folder / "server.pem"
    secret = leaf.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + ssl.DER_cert_to_PEM_cert(leaf.der).encode())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listener, context, answer), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], root.der
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def serve(listener: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
    while True:
        try:
            raw, _ = listener.accept()
        except OSError:
            return
        with raw, context.wrap_socket(raw, server_side=True) as connection:
            connection.sendall(NOT_MODIFIED if b"/poll" in connection.recv(4096) else answer)
            with contextlib.suppress(OSError):
                connection.unwrap()


def main() -> None:
    optimisation = sys.argv[1] if len(sys.argv) > 1 else lx106.OPTIMISATION
    print(f"millions of instructions; BearSSL built with {optimisation}")
    heads = ["handshake", "262 KB", "verify", "update", "poll", "next"]
    print(" " * 34 + "".join(f"{one:>9}" for one in heads))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        world = servers.World.create(folder, make_rsa(2048))
        published, old = world.firmware(1, size=CODE_SIZE), world.firmware(2, size=1000)
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        public = world.key.public_key().public_bytes(serialization.Encoding.DER, spki)
        anchor = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
        update = servers.as_device("/firmware.bin.signed", old)
        order = lx106.Order(NAME, int(time.time()), anchor, public, update)
        running = servers.start(world, folder / "store")
        try:
            servers.publish(running, "1.0.0", published.signed)
            poll = servers.as_device("/firmware.bin.signed", published)
            ours = measure("otaseal serve (RSA-2048)", running.port, order, poll, optimisation)
        finally:
            running.stop()
        print(ours)
        for name, keys in KEYS.items():
            with python_server(folder, (keys(0), keys(1)), published.signed) as (port, certificate):
                other = replace(order, anchor=certificate, request=b"GET /firmware.bin.signed HTTP/1.0\r\n\r\n")
                row = measure(f"Python's ssl ({name})", port, other, b"GET /poll HTTP/1.0\r\n\r\n", optimisation)
            print(row, f" {row.update.cost / ours.update.cost:.2f} times ours")
    print(f"our resumed poll: {ours.next_poll.cost / ours.first_poll.cost:.3f} of a full one")


if __name__ == "__main__":
    main()
