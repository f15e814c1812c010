"""How much more two workers serve than one: polls on new connections, and on resumed sessions.

    python bench/workers.py [--pairs 15] [--threads 32] [--workers 2]

Two servers that differ in nothing but --workers get the same batches in alternating order (load_client.c, as in
server.py). A worker does what counts in one thread: on cores of their own a batch is over when the busiest worker is.
So the capacity ratio is the one server's processor time over the busiest worker's. That has in it what sharing costs
(looking at each connection, handing it over, a queue for each process) and how evenly it is shared. All processes of
the servers are pinned to one core and the client to another, so that one worker and several run under the same
conditions. As a control, as many servers with one worker each, which share nothing, get a share of the requests each:
what they lose is not the workers' doing, but that of processes in each other's caches. What all that cannot show is how
two busy cores hinder each other. Prints medians, and ratios with their quartiles. Needs Linux, two cores, cc and
OpenSSL's headers, and the packages of the extra `test`.
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

from otaseal.keys import signers
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

    ports: tuple[int, ...]
    members: tuple[Server, ...]

    def run(self, client: Path, request: bytes, mode: str, size: int, threads: int) -> Batch:
        """Let clients poll `size` times, an equal share at each port."""
        share, crowd = size // len(self.ports), threads // len(self.ports)
        before = [one.cpu() for one in self.members]
        running = []
        for port in self.ports:
            command = [client, port, share, crowd, mode, 0, 304, 0, FLEET]
            ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            running.append(subprocess.Popen([str(one) for one in command], **ends))  # type: ignore[call-overload]
            running[-1].stdin.write(request)
            running[-1].stdin.close()
        for one in running:
            said = one.stdout.read()
            if one.wait() or (mode == "resumed" and int(said.split()[1]) < share - crowd):
                raise RuntimeError(f"{mode}: the client ends with {one.returncode} and says {said!r}")
        return tuple(one.cpu() - then for one, then in zip(self.members, before, strict=True))


def pin(pid: int, core: int) -> None:
    """Let all threads of a process run on one core only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


@contextlib.contextmanager
def crew(world: World, folder: Path, workers: int, name: str = "") -> Iterator[Crew]:
    """Run a server with so many workers, and one release published."""
    running = start(world, folder / f"store-{workers}{name}", "--workers", str(workers))
    try:
        publish(running, "1.0", world.firmware(1).signed)
        pid = running.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids = [int(one) for one in children] if workers > 1 else [pid]
        for one in (pid, *pids):
            pin(one, SERVERS_CORE)
        yield Crew((running.port,), tuple(Server(f"worker {one}", running.port, one) for one in pids))
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
        world = World.create(folder, signers.new_signing_key())
        request = as_device("/blink/firmware.bin.signed", world.firmware(1), MAC)
        one, several = (stack.enter_context(crew(world, folder, count)) for count in (1, options.workers))
        apart = [stack.enter_context(crew(world, folder, 1, f"-{number}")) for number in range(options.workers)]
        ports = tuple(port for single in apart for port in single.ports)
        crews = (one, several, Crew(ports, tuple(member for single in apart for member in single.members)))
        print(
            f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, {options.pairs} pairs, {options.threads} at once"
        )
        for mode, size in MODES.items():
            for one in crews:
                one.run(client, request, mode, WARM_UP, options.threads)
            rounds: list[tuple[Batch, ...]] = []
            for number in range(options.pairs):
                turn = crews if number % 2 == 0 else crews[::-1]
                done = tuple(one.run(client, request, mode, size, options.threads) for one in turn)
                rounds.append(done if number % 2 == 0 else done[::-1])
            report(mode, size, rounds, options.workers)


def report(mode: str, size: int, rounds: list[tuple[Batch, ...]], workers: int) -> None:
    single, several, apart = (statistics.median(sum(done[index]) for done in rounds) / size * 1e6 for index in range(3))
    busiest = statistics.median(max(done[1]) / sum(done[1]) for done in rounds)
    print(f"{mode:<8} a request: 1 worker {single:.0f} us, {workers} workers {several:.0f} us, ", end="")
    print(f"{workers} servers apart {apart:.0f} us; the busiest worker has {busiest:.0%}")
    for name, index in ((f"{workers} workers / 1", 1), (f"{workers} servers apart / 1", 2)):
        low, middle, high = statistics.quantiles([sum(done[0]) / max(done[index]) for done in rounds], n=4)
        print(f"         capacity of {name}: {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
