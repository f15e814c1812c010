"""A device at a bench: the other end of its serial line, and authorities that sign what it asks for."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives.serialization import load_der_public_key

from otaseal.enrolment.lines import certificate_line
from otaseal.pki import enrolment
from support import cas
from support.firmware import Device, Outcome
from support.servers import World

SECONDS = 60
DAYS = 30


class Bench:
    """One end of a line; the device has the other one."""

    outcome: Outcome
    """How the device's run went, once the line was hung up."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(SECONDS)
        self._end = end
        self._lines = end.makefile("rb")

    def say(self, *lines: str | bytes) -> None:
        for line in lines:
            self._end.sendall((line.encode() if isinstance(line, str) else line) + b"\n")

    def hear(self) -> str:
        """Return the next line; '' once the device is gone."""
        return self._lines.readline().decode().removesuffix("\n")

    def meet(self) -> tuple[str, str, bytes]:
        """Return the device's name, proof key (hex) and certificate request (DER)."""
        self.say("otaseal hello")
        first, second, name, key, request = self.hear().split(" ")
        assert (first, second) == ("otaseal", "device")
        return name, key, base64.b64decode(request, validate=True)

    def give(self, certificate: bytes) -> str:
        """Send a certificate, and return how that ended."""
        self.say(certificate_line(certificate))
        return self.hear()


@contextlib.contextmanager
def at_bench(device: Device, **settings: object) -> Iterator[Bench]:
    """Run a device (0 polls by default) until the line is hung up."""
    ours, its = socket.socketpair()
    with ours, its, ThreadPoolExecutor(1) as pool:
        running = pool.submit(device.run, its.fileno(), **{"polls": 0, "port": 1, **settings})
        bench = Bench(ours)
        try:
            yield bench
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            bench.outcome = running.result()


def sign(world: World, request: bytes, days: int = DAYS) -> bytes:
    """Return the certificate (DER) that otaseal signs for a request."""
    return world.pki.enroll(enrolment.check_request(request), now=datetime.now(timezone.utc), days=days).der


def stranger(public_key: bytes, name: str = "5C:CF:7F:F0:04:CB") -> bytes:
    """Return a certificate (DER) for that key (DER) by an authority that nobody here trusts."""
    now = datetime.now(timezone.utc)
    issuer = ("Nobody", cas.key("P-256", 7))
    return cas.issue(name, load_der_public_key(public_key), issuer, (), (now, now + timedelta(days=DAYS)))
