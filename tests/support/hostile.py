"""A fleet of real devices, stock and with the library, beside invented ones that say whatever may harm it; over TLS.

What is tried is in docs/adr/0019-evidence.md: to make a rollout halt, or go on when it should not, and to have real
devices slowed, stranded, forgotten or counted wrongly. Each device has its own address, or is behind a router.
"""

from __future__ import annotations

import queue
import random
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from otaseal.store.device_rows import Device as Row
from otaseal.store.devices import Devices
from otaseal.store.files import DEVICES_FILE
from support import firmware
from support.fleet import Fleet, Node, exchange, in_threads
from support.images import build_image
from support.proving import ProvingDevice
from support.servers import PRODUCT, Firmware, Reply, Running, World, operator

CHANNEL = f"/v1/products/{PRODUCT}/channels/stable"
MONTH = 30 * 86400.0
ROUTER = "127.3.0.1"
Request = tuple[bytes, str]
"""What is sent, and the address that it is sent from."""


def mac(number: int, maker: str = "5C:CF:7F") -> str:
    return f"{maker}:{number >> 16:02X}:{number >> 8 & 255:02X}:{number & 255:02X}"


def address(network: int, number: int) -> str:
    """Return one of the addresses of 127.<network>.0.0/16."""
    return f"127.{network}.{number // 250}.{1 + number % 250}"


def release(world: World, seed: int, size: int = 8_000) -> Firmware:
    """Return an image that devices of both kinds take."""
    raw = build_image(seed=seed, code_size=size)
    signing = firmware.Signing(world.key)
    return Firmware(raw, signing.sign(signing.payload(raw, version=f"{seed}.0")))


@dataclass
class LibraryNode(Node):
    """A device with the library, compiled for the host: it asks, verifies and installs by itself.

    Its `clock` goes on by more than a poll takes of the time that it plays: numbers of proofs are that time.
    """

    device: firmware.Device | None = None
    clock: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def create(cls, world: World, program: Path, folder: Path, number: int, running: Firmware) -> LibraryNode:
        """Return a device that trusts the world's authority and runs this."""
        name, home = mac(number, "5C:CF:81"), address(2, number)
        made = firmware.Device(program, folder, {"mac": name, "address": home})
        made.belongs(firmware.OWN, world.key.public_key())
        made.put("certs.ar", firmware.pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())))
        return cls(name, running, address=home, device=made)

    def poll(self, fleet: Fleet) -> None:
        assert self.device is not None
        self.device.runs(self.running.sketch)
        self.clock += 600
        done = self.device.run(port=fleet.server.port, ntp=self.clock)
        for result, *_ in done.results:  # one more where it was asked for its key
            assert result in ("installed", "up-to-date"), (self.mac, done.results)
            self.statuses.append(200 if result == "installed" else 304)
        if done.staged is not None:
            image = next(one for one in fleet.images if one.signed.startswith(done.staged))
            self.downloads.append(f"{fleet.images.index(image) + 1}.0")
            if not self.fails:
                self.running = image


@dataclass
class ProvingNode(Node):
    """A device that proves its name; `sent` is what it said last, as somebody may have kept it."""

    proving: ProvingDevice | None = None
    sent: bytes = b""

    @classmethod
    def create(cls, number: int, running: Firmware) -> ProvingNode:
        name = mac(number, "5C:CF:82")
        return cls(name, running, address=address(7, number), proving=ProvingDevice(name))

    def _ask(self, fleet: Fleet) -> Reply:
        assert self.proving is not None
        self.sent = self.proving.prove(fleet.request(self.running, self.mac))
        reply, self.session, reused = exchange(fleet, self.sent, self.address, self.session)
        self.resumed += reused
        self.proving.heed(reply.headers)
        return reply


def stock_nodes(count: int, behind_router: int, running: Firmware) -> list[Node]:
    """Return devices with the stock core, of which some share an address."""
    return [
        Node(mac(number), running, address=ROUTER if number < behind_router else address(1, number))
        for number in range(count)
    ]


@dataclass
class Crowd:
    """Who invents devices, `count` from number `first` on, and speaks in the names of real ones from elsewhere."""

    fleet: Fleet
    count: int
    first: int = 0
    addresses: int = 250
    threads: int = 4
    heard: Counter[int] = field(default_factory=Counter)
    """The answers, by status; 0 for none."""
    _proving: dict[str, ProvingDevice] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(13))

    def begin(self, runs: Firmware) -> None:
        """Download what was just published: each invented device once, and somebody in each real name four times."""
        invented = [self._invented(number, runs) for number in range(self.count)]
        self._send([*invented, *(one for _ in range(4) for one in self._in_names("GET", runs))])

    def lie(self, runs: Firmware, new: Firmware, oldest: Firmware) -> None:
        """Come back, invented devices with what they ran, with the release, or not; real names with all there is.

        In real names with a proof by another key, too, and by saying once more what the device itself said.
        """
        invented = [self._invented(n, new if n % 4 == 0 else runs) for n in range(self.count) if n % 4 != 1]
        in_names = [one for image in (new, oldest, runs) for one in self._in_names("HEAD", image)]
        forged = [
            (ProvingDevice(node.mac, shows=shows).prove(request), source)
            for shows in (False, True)
            for node, (request, source) in zip(self.fleet.nodes, self._in_names("GET", new), strict=True)
        ]
        replayed = [
            (node.sent, source)
            for node, (_, source) in zip(self.fleet.nodes, self._in_names("GET", runs), strict=True)
            if isinstance(node, ProvingNode)
        ]
        self._send([*invented, *in_names, *forged, *replayed])

    def _invented(self, number: int, runs: Firmware) -> Request:
        """Return what one of them says, every other with a key that it agrees at first contact."""
        name = mac(self.first + number, "02:00:00")
        request = self.fleet.request(runs, name)
        if number % 2:
            device = self._proving.setdefault(name, ProvingDevice(name, shows=True))
            request = device.prove(request)
        return request, address(66, number % self.addresses)

    def _in_names(self, method: str, runs: Firmware) -> Iterator[Request]:
        for number, node in enumerate(self.fleet.nodes):
            request = self.fleet.request(runs, node.mac).replace(b"GET ", method.encode() + b" ", 1)
            yield request, address(66, number % self.addresses)

    def _send(self, requests: list[Request]) -> None:
        self._chance.shuffle(requests)
        waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        for one in requests:
            waiting.put(one)

        def work() -> None:
            session: ssl.SSLSession | None = None
            heard: Counter[int] = Counter()
            while True:
                try:
                    request, source = waiting.get_nowait()
                except queue.Empty:
                    break
                try:
                    reply, session, _ = exchange(self.fleet, request, source, session)
                    heard[reply.status] += 1
                except OSError:
                    heard[0] += 1
            self.heard.update(heard)

        in_threads(work, self.threads)


@dataclass
class Play:
    """A rollout of `new` to a fleet that runs `runs`, with a crowd around it; `oldest` ran before."""

    fleet: Fleet
    crowd: Crowd
    runs: Firmware
    new: Firmware
    oldest: Firmware

    def step(self) -> None:
        """Let devices ask while the crowd downloads; then the crowd lies, and then who downloaded comes back."""
        before = {one.mac: len(one.downloads) for one in self.fleet.nodes}
        with ThreadPoolExecutor(1) as pool:
            storm = pool.submit(self.crowd.begin, self.runs)
            self.fleet.poll()
            storm.result()
        self.settle()
        self.crowd.lie(self.runs, self.new, self.oldest)
        self.settle()
        self.fleet.poll(one for one in self.fleet.nodes if len(one.downloads) > before[one.mac])
        self.settle()

    def settle(self) -> None:
        """Wait until the server has written what it was told, as it has when a device has restarted."""
        operator(self.fleet.server).get(f"/v1/products/{PRODUCT}/devices?after=~")

    @property
    def took(self) -> list[Node]:
        """The devices that downloaded the release."""
        version = f"{self.fleet.images.index(self.new) + 1}.0"
        return [one for one in self.fleet.nodes if version in one.downloads]


def percent(server: Running, share: int) -> None:
    operator(server).post(f"{CHANNEL}/percent", {"percent": share})


def halted(server: Running) -> bool:
    state = operator(server).get(f"/v1/products/{PRODUCT}/releases")["channels"]["stable"]
    return bool(state["halted"])


def silent(store: Path, count: int, runs: Firmware, nodes: Iterable[Node]) -> None:
    """Let a store know devices for a month, as many silent ones and these, which all run this release."""
    now = time.time()
    rows = [(mac(number, "5C:CF:80"), address(4 + number // 60_000, number % 60_000)) for number in range(count)]
    known = [*rows, *((one.mac, one.address) for one in nodes)]
    with Devices(store / DEVICES_FILE) as devices:
        devices.take(
            Row(PRODUCT, f"mac:{name}", "stable", runs.md5, "", name, now - MONTH, now - 3600.0, address=home)
            for name, home in known
        )
