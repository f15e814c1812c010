"""What several servers on PostgreSQL cost: behind HAProxy, with a large fleet, and when an operator promotes a release.

    python bench/several_servers.py [--rounds 15] [--known 100000] [--promotions 50]

Three measurements, each in one run on this machine, which carries clients, HAProxy and the database, too:

- promotions, alternately at both servers: how long each takes until it is acknowledged, and whether the other server
  gives the release to the next device that asks;
- polls that resume their session, at one server alone and at two behind HAProxy as it is shipped, in turns: the
  processor time of the servers for a poll, HAProxy's own apart, and the median of the rounds' ratios;
- how long a server takes to start that finds so many known devices, its memory for each of them, and what a poll costs
  it beside one that knows 500.

bench/fleet_day.py --postgresql compares a poll on PostgreSQL with one on files. Needs Linux, cc, OpenSSL's headers,
HAProxy, PostgreSQL and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import Server

from otaseal.keys import signers
from otaseal.store.backend import open_backend, open_new
from otaseal.store.device_batch import TAKE
from otaseal.store.device_rows import Sighting
from otaseal.store.row_changes import seen
from support import haproxy
from support.postgresql import Cluster
from support.servers import PRODUCT, Running, World, as_device, operator, publish, start, talk

PATH = "/blink/firmware.bin.signed"
MAC = "5C:CF:7F:00:00:00"
FRONT, BEHIND = "127.0.0.1", ("127.0.0.11", "127.0.0.12")
POLLS, FLEET, THREADS = 600, 500, 4


@dataclass
class Bench:
    """What all measurements share."""

    folder: Path
    client: Path
    world: World
    cluster: Cluster

    def serve(self, name: str, url: str, *options: str, token: str = "") -> Running:
        return start(self.world, self.folder / name, *options, location=url, token=token)

    def new(self) -> str:
        """Return the address of an empty store in a database."""
        url = self.cluster.database()
        open_new(url).close()
        return url

    def polls(self, port: int, servers: Sequence[Server], fleet: int = FLEET) -> list[float]:
        """Let devices poll in turn, and return the servers' processor time for a poll in microseconds."""
        command = [self.client, port, POLLS, THREADS, "resumed", 0, 304, 0, fleet]
        before = [server.cpu() for server in servers]
        request = as_device(PATH, self.world.firmware(1), MAC)
        subprocess.run([str(one) for one in command], input=request, capture_output=True, check=True)
        return [1e6 * (server.cpu() - spent) / POLLS for server, spent in zip(servers, before, strict=True)]

    @contextlib.contextmanager
    def pair(self) -> Iterator[tuple[list[Running], int, Server]]:
        """Run two servers behind HAProxy; yield them, its port, and it."""
        url, port = self.new(), haproxy.free_port(FRONT, *BEHIND)
        operators = haproxy.free_port(FRONT, *BEHIND)
        with contextlib.ExitStack() as stack:
            running: list[Running] = []
            for address in BEHIND:
                ports = ("--listen", f"{address}:{port}", "--operator-listen", f"{address}:{operators}")
                token = running[0].token if running else ""
                running.append(self.serve(address, url, *ports, "--proxy-protocol-from", FRONT, token=token))
                stack.callback(running[-1].stop)
            environment = {"OTASEAL_SERVER_A": BEHIND[0], "OTASEAL_SERVER_B": BEHIND[1], "OTASEAL_BIND": FRONT}
            environment |= {"OTASEAL_DEVICES": str(port), "OTASEAL_OPERATORS": str(operators)}
            environment["OTASEAL_PEERS"] = f"{FRONT}:{haproxy.free_port(FRONT)}"
            front = stack.enter_context(haproxy.running(haproxy.SHIPPED, (FRONT, port), environment))
            yield running, port, Server("haproxy", port, front.process.pid)


def behind_haproxy(bench: Bench, rounds: int) -> None:
    """Compare one server alone with two behind HAProxy."""
    alone = bench.serve("alone", bench.new())
    publish(alone, "1.0", bench.world.firmware(1).signed)
    with bench.pair() as (running, port, front):
        publish(running[0], "1.0", bench.world.firmware(1).signed)
        one = [Server("alone", alone.port, alone.process.pid)]
        two = [*(Server("server", port, server.process.pid) for server in running), front]
        spent: dict[str, list[float]] = {"one": [], "two": [], "haproxy": []}
        for number in range(rounds + 1):
            for which in ("one", "two") if number % 2 else ("two", "one"):
                costs = bench.polls(alone.port if which == "one" else port, one if which == "one" else two)
                if number:  # the first devices are new
                    spent[which].append(costs[0] if which == "one" else costs[0] + costs[1])
                    spent["haproxy"] += costs[2:]
    alone.stop()
    middle = {name: statistics.median(values) for name, values in spent.items()}
    print(
        f"a resumed poll: {middle['one']:.0f} us at one server, {middle['two']:.0f} at two behind HAProxy, which takes "
        f"{middle['haproxy']:.0f} itself; {compared(spent['two'], spent['one'])} of one"
    )


def compared(these: Sequence[float], those: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, with the lowest and the highest."""
    ratios = [this / that for this, that in zip(these, those, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def fill(url: str, count: int) -> None:
    """Make devices known."""
    with open_backend(url) as backend, backend.seen() as devices:
        assert devices is not None
        rows = [
            seen(None, Sighting(PRODUCT, "stable", f"mac:{_mac(number)}", "0" * 32, "1.0", _mac(number)), 1.0)
            for number in range(1 << 23, (1 << 23) + count)
        ]
        for begin in range(0, count, 1000):
            with devices.transaction() as transaction:
                transaction.executemany(TAKE, rows[begin : begin + 1000])


def large_fleet(bench: Bench, known: int, rounds: int) -> None:
    """Compare a server that knows many devices with one that knows 500."""
    servers, spent = [], {0: list[float](), 1: list[float]()}
    for count in (0, known):
        url = bench.new()
        fill(url, count)
        began = time.monotonic()
        running = bench.serve(f"known{count}", url)
        servers.append((running, Server(str(count), running.port, running.process.pid), time.monotonic() - began))
        publish(running, "1.0", bench.world.firmware(1).signed)
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            running, server, _ = servers[which]
            cost = bench.polls(running.port, [server])[0]
            if number:
                spent[which].append(cost)
    few, many = servers
    gained = (many[1].memory() - few[1].memory()) / known
    print(
        f"{known} known devices: started after {many[2]:.1f} s ({few[2]:.1f} s with none), {gained:.0f} bytes each; "
        f"a poll costs {compared(spent[1], spent[0])} of one with {FLEET}"
    )
    for running, _, _ in servers:
        running.stop()


def promotions(bench: Bench, count: int) -> None:
    """Promote at one server, and ask the other one."""
    url = bench.new()
    first = bench.serve("first", url)
    second = bench.serve("second", url, token=first.token)
    images = [bench.world.firmware(number) for number in (1, 2)]
    for number, image in enumerate(images):
        publish(first, f"1.{number}", image.signed)
    took, late = [], 0
    for number in range(count):
        operators, devices = ((first, second), (second, first))[number % 2]
        began = time.monotonic()
        operator(operators).post("/v1/products/blink/channels/stable/promote", {"version": f"1.{number % 2}"})
        took.append(time.monotonic() - began)
        asking = as_device(PATH, images[1 - number % 2], f"5C:CF:7F:01:{number // 256:02X}:{number % 256:02X}")
        late += talk(bench.world.context(), devices.port, asking).body != images[number % 2].signed
    took.sort()
    middle, most = 1000 * statistics.median(took), [1000 * took[count * 99 // 100], 1000 * took[-1]]
    print(
        f"{count} promotions: acknowledged after {middle:.0f} ms in the median, {most[0]:.0f} at p99, {most[1]:.0f} at "
        f"most; not known then to the other server: {late}"
    )
    for running in (first, second):
        running.stop()


def _mac(number: int) -> str:
    return f"5C:CF:7F:{number >> 16 & 255:02X}:{number >> 8 & 255:02X}:{number & 255:02X}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--known", type=int, default=100_000)
    parser.add_argument("--promotions", type=int, default=50)
    options = parser.parse_args()
    cluster = Cluster.create(max_connections="200")
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            source = str(ROOT / "bench" / "load_client.c")
            client = folder / "load_client"
            subprocess.run(["cc", "-O2", "-o", client, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
            bench = Bench(folder, client, World.create(folder, signers.new_signing_key()), cluster)
            print(
                f"Python {sys.version.split()[0]}, {options.rounds} rounds of {POLLS} polls, {THREADS} devices at once"
            )
            promotions(bench, options.promotions)
            behind_haproxy(bench, options.rounds)
            large_fleet(bench, options.known, options.rounds)
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
