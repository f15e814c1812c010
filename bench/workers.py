"""How much more two workers serve than one: polls on new connections, and on resumed sessions.

    python bench/workers.py [--pairs 15] [--threads 32] [--workers 2]

Two servers that differ in nothing but --workers get the same batches in alternating order (load_client.c, as in
server.py). A worker does what counts in one thread: on cores of their own a batch is over when the busiest worker
is: the capacity ratio is the one server's processor time over the busiest worker's. That has in it what sharing costs
(looking at each connection, handing it over, a queue for each process) and how evenly it is shared. All processes of
the servers are pinned to one core and the client to another, so that one worker and several run under the same
conditions. What that cannot show is what two busy cores take from each other, by caches and memory they have in common.
Prints the median of the ratios with its quartiles, the processor time for one request and the share of the busiest
worker. Needs Linux, two cores, cc and OpenSSL's headers, and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import Server

from otaseal import keys
from support.servers import World, as_device, publish, start

MAC = "5C:CF:7F:00:00:00"
FLEET = 1000
MODES = {"new": 400, "resumed": 800}
WARM_UP = 100
CLIENTS_CORE, SERVERS_CORE = 0, 1


Batch = tuple[float, ...]
"""The processor time of each process that answers devices, in seconds."""


@dataclass(frozen=True)
class Crew:
    """A server and the processes that answer devices."""

    port: int
    members: tuple[Server, ...]

    def run(self, client: Path, request: bytes, mode: str, size: int, threads: int) -> Batch:
        """Let the client poll `size` times."""
        command = [client, self.port, size, threads, mode, 0, 304, 0, FLEET]
        before = [one.cpu() for one in self.members]
        done = subprocess.run([str(one) for one in command], input=request, capture_output=True, check=True)
        if mode == "resumed" and int(done.stdout.split()[1]) < size - threads:
            raise RuntimeError(f"{done.stdout.split()[1].decode()} sessions of {size} resumed")
        return tuple(one.cpu() - then for one, then in zip(self.members, before, strict=True))


def pin(pid: int, core: int) -> None:
    """Let all threads of a process run on one core only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


@contextlib.contextmanager
def crew(world: World, folder: Path, workers: int) -> Iterator[Crew]:
    """Run a server with so many workers, and one release published."""
    running = start(world, folder / f"store-{workers}", "--workers", str(workers))
    try:
        publish(running, "1.0", world.firmware(1).signed)
        pid = running.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids = [int(one) for one in children] if workers > 1 else [pid]
        for one in (pid, *pids):
            pin(one, SERVERS_CORE)
        yield Crew(running.port, tuple(Server(f"worker {one}", running.port, one) for one in pids))
    finally:
        running.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=32, help="devices at once")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        client = folder / "load_client"
        source = str(ROOT / "bench" / "load_client.c")
        subprocess.run(["cc", "-O2", "-o", client, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
        world = World.create(folder, keys.new_signing_key())
        request = as_device("/blink/firmware.bin.signed", world.firmware(1), MAC)
        crews = [stack.enter_context(crew(world, folder, count)) for count in (1, options.workers)]
        print(
            f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, {options.pairs} pairs, {options.threads} at once"
        )
        for mode, size in MODES.items():
            for one in crews:
                one.run(client, request, mode, WARM_UP, options.threads)
            pairs: list[tuple[Batch, Batch]] = []
            for number in range(options.pairs):
                turn = crews if number % 2 == 0 else crews[::-1]
                done = [one.run(client, request, mode, size, options.threads) for one in turn]
                pairs.append((done[0], done[1]) if number % 2 == 0 else (done[1], done[0]))
            report(mode, size, pairs, options.workers)


def report(mode: str, size: int, pairs: list[tuple[Batch, Batch]], workers: int) -> None:
    low, middle, high = statistics.quantiles([sum(one) / max(more) for one, more in pairs], n=4)
    single, several = (statistics.median(sum(pair[index]) for pair in pairs) / size * 1e6 for index in (0, 1))
    busiest = statistics.median(max(more) / sum(more) for _, more in pairs)
    print(f"{mode:<8} capacity of {workers} workers / 1: {middle:.2f} ({low:.2f} to {high:.2f})   ", end="")
    print(f"a request {single:.0f} us, with {workers} {several:.0f} us; the busiest has {busiest:.0%}", flush=True)


if __name__ == "__main__":
    main()
