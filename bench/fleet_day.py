"""What a fleet's day costs the update server: devices that poll once an hour, each with its last TLS session.

    python bench/fleet_day.py [--devices 500 10000] [--hours 6] [--before CHECKOUT] [--postgresql]

Each device polls an hour after its last poll, with a jitter of an eighth, resumes its last session and forgets it
after 24 hours, as the device library does. The wall clocks of the servers are moved (moved_clock.c) by a quarter of an
hour at a time; all polls that are due are then sent as fast as the server answers. Before what is counted there is one
hour in which all devices are new. The servers take turns quarter by quarter: this one, with --before that of another
checkout of otaseal, with --postgresql this one on a database (whose own time is not counted), and nginx with a cache of
sessions for 24 hours and a file of 17 bytes, at its best settings (rivals.py).

Prints for each fleet and server the processor time for a poll in microseconds (all threads, what is written afterwards
included), the share of polls that resumed a session, and how much memory it has gained for each device since its start.
Then the medians over the hours of what this server takes relative to others, with the lowest and the highest. Needs
Linux, cc, OpenSSL's headers and nginx, and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import Server, nginx

from otaseal.keys import signers
from otaseal.server.device_api.recorder import LAZY_SECONDS
from otaseal.store.backend import open_new
from support import postgresql
from support.servers import Firmware, World, as_device, publish, start

HOUR, STEPS = 3600, 4
JITTER = 1 / 8
THREADS = 4
POSTGRESQL = "postgresql"
MAC = "5C:CF:7F:00:00:00"
SETTLE_SECONDS = 1.5 * LAZY_SECONDS
"""Until what a server writes after its answers is written, and counted."""


@dataclass
class Day:
    """One server's day: its clock, its fleet's client, and for each hour what it spent, and polls, all and resumed."""

    server: Server
    clock: Path
    client: subprocess.Popen[str]
    before: int
    spent: list[float] = field(default_factory=list)
    polls: list[int] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)

    def poll(self, hour: int, now: float, devices: list[int]) -> None:
        """Let these devices poll at `now`, in seconds."""
        set_clock(self.clock, round(now))
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        before = self.server.cpu()
        self.client.stdin.write(" ".join(map(str, [round(now), *devices])) + "\n")
        self.client.stdin.flush()
        answer = self.client.stdout.readline().split()
        if len(answer) != 2:
            raise RuntimeError(f"{self.server.name}: the client has failed")
        time.sleep(SETTLE_SECONDS)
        for what in (self.spent, self.polls, self.resumed):
            what += [0] * (hour + 1 - len(what))
        self.spent[hour] += self.server.cpu() - before
        self.polls[hour] += len(devices)
        self.resumed[hour] += int(answer[1])

    def costs(self) -> list[float]:
        """Return the microseconds for a poll, hour by hour, without the first one."""
        return [1e6 * spent / polls for spent, polls in zip(self.spent[1:], self.polls[1:], strict=True)]

    def mean(self) -> float:
        return 1e6 * sum(self.spent[1:]) / sum(self.polls[1:])

    def line(self, devices: int) -> str:
        share = 100 * sum(self.resumed[1:]) / sum(self.polls[1:])
        gained = self.server.memory() - self.before
        return (
            f"{devices:>6} {self.server.name:<8} {self.mean():5.0f} us a poll, {share:4.1f} % resumed, "
            f"{gained / devices / 1000:5.2f} KB a device ({gained / 1e6:.1f} MB)"
        )


def new_database() -> str:
    """Return the address of an empty store in a database whose writes are as safe as PostgreSQL's own settings."""
    cluster = postgresql.Cluster.create()
    atexit.register(cluster.remove)
    url = cluster.database()
    open_new(url).close()
    return url


def set_clock(file: Path, seconds: int) -> None:
    """Move a server's clock: the file is mapped, and so changed in place."""
    with file.open("r+b") as opened:
        opened.write(struct.pack("@l", seconds))


def schedule(devices: int, hours: int) -> Iterator[tuple[int, float, list[int]]]:
    """Yield the steps of a day: its hour, its time in seconds, who polls, in the order in which they are due."""
    chance = random.Random(devices)
    due = [chance.uniform(0, HOUR) for _ in range(devices)]
    for step in range((hours + 1) * STEPS):
        end = (step + 1) * HOUR / STEPS
        polling = sorted((one for one in range(devices) if due[one] < end), key=due.__getitem__)
        for one in polling:
            due[one] += HOUR * chance.uniform(1 - JITTER, 1 + JITTER)
        yield step // STEPS, end, polling


@dataclass(frozen=True)
class Bench:
    """What all fleets share."""

    folder: Path
    client: Path
    library: Path
    world: World
    firmware: Firmware
    checkouts: Mapping[str, Path]

    @contextlib.contextmanager
    def day(self, name: str, devices: int) -> Iterator[Day]:
        """Run a server, and the client with its fleet."""
        own = self.folder / f"{name}-{devices}"
        own.mkdir()
        clock = own / "clock"
        clock.write_bytes(struct.pack("@l", 0))
        environment = {"LD_PRELOAD": str(self.library), "MOVED_CLOCK": str(clock)}
        ours = name in self.checkouts
        with contextlib.ExitStack() as stack:
            if ours:
                tools = str(self.checkouts[name] / "tools")
                location = new_database() if name == POSTGRESQL else ""
                settings = {"PYTHONPATH": tools, **environment}
                running = start(self.world, own / "store", environment=settings, location=location)
                stack.callback(running.stop)
                publish(running, "1.0", self.firmware.signed)
                server = Server(name, running.port, running.process.pid)
            else:
                chain, files = self.world.chain, own / "files"
                files.mkdir()
                (files / "poll").write_bytes(b"nothing new here\n")
                peer = nginx(own, files, chain, chain.with_name("key.pem"), environment)
                server = stack.enter_context(peer)
            options = (server.port, 1, THREADS, "day", 0, 304 if ours else 200, 0, devices)
            command = [str(self.client), *map(str, options)]
            client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(client.wait)
            assert client.stdin is not None
            stack.callback(client.stdin.close)
            client.stdin.write(
                as_device("/blink/firmware.bin.signed" if ours else "/poll", self.firmware, MAC).decode()
            )
            yield Day(server, clock, client, server.memory())

    def compare(self, devices: int, hours: int) -> None:
        """Measure all servers with a fleet, and print what came of it."""
        with contextlib.ExitStack() as stack:
            days = [stack.enter_context(self.day(name, devices)) for name in (*self.checkouts, "nginx")]
            for number, (hour, now, polling) in enumerate(schedule(devices, hours)):
                turn = number % len(days)
                for day in days[turn:] + days[:turn]:
                    day.poll(hour, now, polling)
            for day in days:
                print(day.line(devices), flush=True)
            ours = days[0].costs()
            for day in days[1:]:
                ratios = [mine / others for mine, others in zip(ours, day.costs(), strict=True)]
                middle = statistics.median(ratios)
                print(f"{devices:>6} otaseal/{day.server.name} {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[500, 10_000], help="fleets, one after the other")
    parser.add_argument("--hours", type=int, default=6, help="counted, after the first one")
    parser.add_argument("--postgresql", action="store_true", help="measure this one on PostgreSQL, too")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another otaseal, to measure beside this one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        client, library = folder / "load_client", folder / "moved_clock.so"
        for out, source, more in (
            (client, "load_client.c", ("-lssl", "-lcrypto", "-lpthread")),
            (library, "moved_clock.c", ("-shared", "-fPIC")),
        ):
            subprocess.run(["cc", "-O2", "-o", out, ROOT / "bench" / source, *more], check=True)
        world = World.create(folder, signers.new_signing_key())
        checkouts = {"otaseal": ROOT} | ({"before": options.before.resolve()} if options.before else {})
        checkouts |= {POSTGRESQL: ROOT} if options.postgresql else {}
        print(f"{options.hours} hours of polls once an hour, the servers in turns; Python {sys.version.split()[0]}")
        bench = Bench(folder, client, library, world, world.firmware(1), checkouts)
        for devices in options.devices:
            bench.compare(devices, options.hours)


if __name__ == "__main__":
    main()
