"""Processor time of the update server for one request, beside nginx and other servers with static files.

    python bench/server.py [--pairs 15] [--threads 4] [--only poll ...] [--beside nginx express ...] [--before CHECKOUT]

Each round runs one batch of the same requests against each server, in turning order, so that what else the machine does
hits all of them; the servers' time is read from /proc (all threads, all processes of the tree). Prints medians in
microseconds, and capacity relative to nginx (nginx's time / ours, > 1: we serve more), the median of the rounds' ratios
with its quartiles. All log each request, as they do when nobody tells them otherwise. The client (load_client.c) sends
the bytes of ESP8266httpUpdate over TLS 1.2 with ECDHE-RSA-2048, X25519 and ChaCha20.

A poll is answered 304 by ours, which looks up what this device runs, and with a file of 17 bytes by the others, who
know of no devices. Every download is that of another device, as a release goes out: before each batch the channel is
rolled back, its devices poll, and the release is published again. "Strangers" are devices that nobody has heard of
before they download, and "plain" clients do not say who they are, so that ours keeps no books, as nginx never does.
Session ids: ours resumes them, and so do all but Express, with the caches that they get (rivals.py). With --before the
server of another checkout of otaseal runs beside that of this one. Needs Linux, cc, OpenSSL's headers, and the servers
of --beside, for Express node and npm; and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import RESUMING, RIVALS, Server

from otaseal.keys import signers
from otaseal.server.device_api.recorder import LAZY_SECONDS
from support.servers import Firmware, Running, World, as_device, operator, publish, start

CODE_SIZE = 256 * 1024 - 5100
FLEET = 1000
WARM_UP = 40
MAC = "5C:CF:7F:00:00:00"
STATUS = 6
"""Where in the client's command the status is."""
PLAIN = b"GET %s HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """What is measured: `mode` of the client's connections, what it wants, in batches of so many requests; and `who`
    asks: "fleet", "strangers" or "plain".
    """

    name: str
    wants: str
    batch: int
    mode: str = "new"
    record_size: int = 0
    target: float = 0.0
    who: str = "fleet"


CASES = (
    Case("poll", "poll", 300, target=0.85),
    Case("resumed", "poll", 600, "resumed", target=0.62),
    Case("download", "firmware", 200, target=0.9),
    Case("kept", "firmware", 400, "kept", target=0.8),
    Case("short records", "firmware", 120, record_size=512, target=3.0),
    Case("download, plain", "firmware", 200, target=0.9, who="plain"),
    Case("kept, plain", "firmware", 400, "kept", target=1.1, who="plain"),
    Case("short, plain", "firmware", 120, record_size=512, target=3.0, who="plain"),
    Case("strangers", "firmware", 200, target=0.9, who="strangers"),
)


@dataclass(frozen=True)
class Ours(Server):
    """Our server, with what its operator can do."""

    running: Running

    @classmethod
    @contextlib.contextmanager
    def start(
        cls, name: str, world: World, store: Path, releases: tuple[Firmware, Firmware], tools: Path
    ) -> Iterator[Ours]:
        """Run the otaseal in `tools` with both releases published."""
        running = start(world, store, environment={"PYTHONPATH": str(tools)})
        try:
            for version, firmware in zip(("1.0", "1.1"), releases, strict=True):
                publish(running, version, firmware.signed)
            yield cls(name, running.port, running.process.pid, running)
        finally:
            running.stop()

    def introduce(self, command: list[object], request: bytes) -> None:
        """Let the devices that are about to download poll before there is anything new for them."""
        channel, client = "/v1/products/blink/channels/stable", operator(self.running)
        client.post(f"{channel}/rollback", {})
        polls = [str(one) for one in command]
        polls[STATUS] = "304"
        for _ in range(2):  # the second finds in the file what the first one said
            subprocess.run(polls, input=request, capture_output=True, check=True)
            time.sleep(1.5 * LAZY_SECONDS)
        client.post(f"{channel}/promote", {"version": "1.1"})


@dataclass
class Bench:
    """The servers, the client, what it sends; `devices` numbers them, so that each downloads once."""

    servers: list[Server]
    client: Path
    running: Firmware
    released: Firmware
    threads: int
    devices: Iterator[int]

    def batch(self, server: Server, case: Case, size: int) -> float:
        """Return the server's processor time for one request of a batch, in seconds."""
        ours = isinstance(server, Ours)
        if case.wants == "poll":
            path = "/blink/firmware.bin.signed" if ours else "/poll"
            request, status = as_device(path, self.released, MAC), 304 if ours else 200
            first, count, length = 0, FLEET, None if not ours else 0
        else:
            path = "/blink/firmware.bin.signed" if ours else "/firmware.bin.signed"
            request, status = as_device(path, self.running, MAC) if case.who != "plain" else PLAIN % path.encode(), 200
            first, count, length = next(self.devices) * 1000 + FLEET, size, size * len(self.released.signed)
        if case.mode == "kept":
            request = request.replace(b"HTTP/1.0", b"HTTP/1.1").replace(b"Connection: close", b"Connection: keep-alive")
        command = [self.client, server.port, size, self.threads, case.mode, case.record_size, status, first, count]
        if isinstance(server, Ours) and case.wants == "firmware" and case.who == "fleet":
            server.introduce(command, request)
        before = server.cpu()
        done = subprocess.run([str(one) for one in command], input=request, capture_output=True, check=False)
        spent = server.cpu() - before
        if done.returncode:
            raise RuntimeError(f"{server.name}, {case.name}: {done.stderr.decode(errors='replace')}")
        received, resumed = map(int, done.stdout.split())
        if length is not None and received != length:
            raise RuntimeError(f"{server.name}, {case.name}: {received} bytes, not {length}")
        if case.mode == "resumed" and (ours or server.name in RESUMING) and resumed < size - self.threads:
            raise RuntimeError(f"{resumed} sessions of {size} resumed")
        return spent / size

    def measure(self, case: Case, rounds: int) -> dict[str, list[float]]:
        """Return the time for one request, server by server and round by round."""
        spent: dict[str, list[float]] = {one.name: [] for one in self.servers}
        for server in self.servers:
            self.batch(server, case, WARM_UP)
        for number in range(rounds):
            turn = number % len(self.servers)
            for server in self.servers[turn:] + self.servers[:turn]:
                spent[server.name].append(self.batch(server, case, case.batch))
        return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=4, help="devices at once")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CASES], default=[one.name for one in CASES])
    parser.add_argument("--beside", nargs="+", choices=list(RIVALS), default=["nginx", "express"], help="other servers")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another otaseal, to measure beside this one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        client = folder / "load_client"
        source = str(ROOT / "bench" / "load_client.c")
        subprocess.run(["cc", "-O2", "-o", client, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
        world = World.create(folder, signers.new_signing_key())
        releases = world.firmware(1, size=CODE_SIZE), world.firmware(2, size=CODE_SIZE)
        files = folder / "files"
        files.mkdir()
        (files / "poll").write_bytes(b"nothing new here\n")
        (files / "firmware.bin.signed").write_bytes(releases[1].signed)
        checkouts = {"otaseal": ROOT, "before": options.before}
        servers: list[Server] = [
            stack.enter_context(Ours.start(one, world, folder / f"store-{one}", releases, path.resolve() / "tools"))
            for one, path in checkouts.items()
            if path is not None
        ]
        for rival in options.beside:
            own = folder / rival
            own.mkdir()
            servers.append(
                stack.enter_context(RIVALS[rival](own, files, world.chain, world.chain.with_name("key.pem")))
            )
        bench = Bench(servers, client, *releases, options.threads, itertools.count())
        print(f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, {options.pairs} rounds")
        print(f"{options.threads} devices at once, {len(releases[1].signed)} bytes of firmware; microseconds a request")
        for case in (one for one in CASES if one.name in options.only):
            report(case, bench.measure(case, options.pairs))


def report(case: Case, spent: dict[str, list[float]]) -> None:
    medians = "  ".join(f"{name} {statistics.median(times) * 1e6:5.0f}" for name, times in spent.items())
    print(f"{case.name:<16} {medians}", end="")
    for name, times in spent.items():
        if name == "otaseal":
            continue
        low, middle, high = statistics.quantiles([a / b for a, b in zip(times, spent["otaseal"], strict=True)], n=4)
        print(f"   {name}/otaseal {middle:.2f} ({low:.2f} to {high:.2f})", end="")
    print(f"   to be reached: {case.target} of nginx", flush=True)


if __name__ == "__main__":
    main()
