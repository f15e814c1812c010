"""A fleet of real libraries at the real server, all with patches: some two releases behind, some on bad links."""

from __future__ import annotations

import hashlib
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from otaseal.chips import esp8266
from support.firmware import Device, Signing
from support.images import build_image
from support.relay import Relay
from support.servers import Running, devices_seen, metrics, operator, publish, until

pytestmark = pytest.mark.proof

DEVICES = 9
CODE = 60_000
CONNECTION = 12_000
"""Bytes that a connection takes beside its share of the patch: handshake, headers, the record that is lost with it."""
NOISE = random.Random(5).randbytes(CODE)
VERSIONS = ("1.0", "1.1", "1.2")


def image(number: int) -> bytes:
    """Return the image of a release: each has 9 KB of its own in the middle, and is 40 bytes longer than the last."""
    own = random.Random(number).randbytes(9_000 + 40 * number)
    raw = build_image(embedded=NOISE[:30_000] + own + NOISE[39_000:], code_size=0)
    return raw[: esp8266.parse(raw).sketch_size]


@dataclass
class Member:
    """A device that runs the release of a number, on a link of its own."""

    device: Device
    runs: int
    cuts: list[int]
    came: int = 0
    connections: int = 0

    def update(self, port: int) -> list[tuple[str, int, int]]:
        with Relay(port, self.cuts) as link:
            done = self.device.run(port=link.port, ntp=int(time.time()))
        self.came, self.connections = sum(link.came), len(link.came)
        self.staged = done.staged
        return done.results


@pytest.fixture
def fleet(device: Device, tmp_path: Path) -> list[Member]:
    """A third is one release behind, a third two, and a third one, with links that break."""
    chance, members = random.Random(7), []
    for number in range(DEVICES):
        runs = 0 if number % 3 == 1 else 1
        folder = tmp_path / f"device{number}"
        one = Device(device.program, folder, dict(device.settings))
        one.put("certs.ar", device.get("certs.ar"))
        base = image(runs)
        (folder / "sketch").write_bytes(base)
        one.settings |= {
            "sketch": folder / "sketch",
            "sketch_md5": hashlib.md5(base, usedforsecurity=False).hexdigest(),
            "sketch_size": len(base),
            "mac": f"5C:CF:7F:00:00:{number:02X}",
        }
        cuts = [chance.randrange(8_000, 13_000), chance.randrange(100, 5_000)] if number % 3 == 2 else []
        members.append(Member(one, runs, cuts))
    return members


def delivered(server: Running) -> int:
    """Return how many patches have gone out to the last byte."""
    found = re.search(r'otaseal_deliveries_total{form="patch"} (\d+)', metrics(server))
    return int(found[1]) if found else 0


def test_each_ends_with_the_release_for_the_bytes_of_its_patch(
    server: Running, fleet: list[Member], signing: Signing
) -> None:
    signed = [signing.sign(signing.payload(image(number), version=name)) for number, name in enumerate(VERSIONS)]
    for name, one in zip(VERSIONS[:2], signed[:2], strict=True):
        publish(server, name, one)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda member: member.update(server.port), fleet[:2]))
    publish(server, VERSIONS[2], signed[2])
    path = "/v1/products/blink/releases"
    until(lambda: len(operator(server).get(path)["patches"]) == 3, "not made ahead")
    sizes = {one["before"]: one["size"] for one in operator(server).get(path)["patches"] if one["version"] == "1.2"}
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda member: member.update(server.port), fleet))
    assert results == [[("installed", 0, 0)]] * DEVICES
    for member in fleet:
        assert member.staged is not None
        assert len(member.staged) > CODE
        assert signed[2].startswith(member.staged)
        assert (member.connections > 2) == bool(member.cuts)
        assert member.came < sizes[VERSIONS[member.runs]] + CONNECTION * member.connections < len(signed[2])
    until(lambda: delivered(server) >= DEVICES, "not counted")  # what the relay had acknowledged counts, too
    assert {one["offered"] for one in devices_seen(server)} == {"1.2"}
