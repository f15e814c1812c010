"""Thousands of slow readers at once: what each costs the server in memory, whether all get all, and who else waits.

    python bench/slow_readers.py [--readers 5000] [--rate 50000] [--size 200000]

Each reader is a device on a connection of its own, with a window as small as a chip's, and takes at most `rate` bytes a
second; until all are connected it is 1,000, so that all are there at once. What all of them want together may be more
than the machine can encrypt and read, so the real rate is printed: a body's size, readers, and seconds until the last
one had all of it. Meanwhile one device after another polls on a new connection; printed is how long that takes. Memory
is what the process holds for itself (RssAnon) at its highest beyond that of the idle server, which has answered a poll;
and, apart, what the kernel holds in TCP buffers for both sides. The readers, in four processes, run on the same machine
as the server. Needs Linux, and descriptors for all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from otaseal.keys import signers
from support.servers import Running, World, as_device, get, parse_reply, publish, start, talk

PROCESSES = 4
WINDOW = 4096
TICK = 0.25
TRICKLE = 1000
PATIENCE = 600.0
SPARE_DESCRIPTORS = 200


@dataclass
class Reader:
    """A connection that takes its part of the body every now and then."""

    connection: ssl.SSLSocket
    due: float
    received: bytearray = field(default_factory=bytearray)

    def read(self, most: int) -> bool:
        """Take what there is, `most` bytes of it, and return whether the server has closed."""
        try:
            while most > 0:
                piece = self.connection.recv(min(most, 16384))
                if not piece:
                    return True
                self.received += piece
                most -= len(piece)
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        return False


def connect(port: int, context: ssl.SSLContext, request: bytes) -> Reader:
    """Return a reader that has asked."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    raw.settimeout(PATIENCE)
    raw.connect(("127.0.0.1", port))
    connection = context.wrap_socket(raw, server_hostname="localhost")
    connection.sendall(request)
    connection.settimeout(0)
    return Reader(connection, time.monotonic() + TICK)


def read_on(readers: list[Reader], rate: int, body: bytes) -> tuple[list[Reader], int]:
    """Let all whose turn it is take what `rate` leaves them; return who has not ended, and who had the whole body."""
    left, whole, now = [], 0, time.monotonic()
    for one in readers:
        ended = False
        if one.due <= now:
            ended = one.read(int(rate * (now - one.due + TICK)))
            one.due = now + TICK
        if ended:
            whole += parse_reply(bytes(one.received)).body == body
            one.connection.close()
        else:
            left.append(one)
    return left, whole


def read_slowly(port: int, ca: str, request: bytes, count: int, rate: int, body: bytes, pipe: Connection) -> None:
    """Be `count` readers who hardly read until all are connected, then slowly; send how many had the whole body."""
    context = ssl.create_default_context(cafile=ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    readers: list[Reader] = []
    whole, end = 0, time.monotonic() + PATIENCE
    for _ in range(count):
        readers.append(connect(port, context, request))
        readers, more = read_on(readers, TRICKLE, body)
        whole += more
    pipe.send("connected")
    while not pipe.poll() and time.monotonic() < end:
        readers, more = read_on(readers, TRICKLE, body)
        whole += more
        time.sleep(TICK)
    while readers and time.monotonic() < end:
        readers, more = read_on(readers, rate, body)
        whole += more
        time.sleep(0.01)
    pipe.send(whole)


def anonymous(pid: int) -> int:
    """Return the bytes of memory that a process holds for itself."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc says nothing about memory")


def in_tcp() -> int:
    """Return the bytes that the kernel holds in TCP buffers."""
    line = next(one for one in Path("/proc/net/sockstat").read_text().splitlines() if one.startswith("TCP:"))
    return int(line.split()[-1]) * resource.getpagesize()


@dataclass
class Watch(threading.Thread):
    """Looks at the server's memory, and polls, until told to stop."""

    running: Running
    request: bytes
    peak: int = 0
    tcp: int = 0
    waits: list[float] = field(default_factory=list)
    failed: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.context = self.running.world.context()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.peak = max(self.peak, anonymous(self.running.process.pid))
            self.tcp = max(self.tcp, in_tcp())
            begun = time.monotonic()
            try:
                self.failed += talk(self.context, self.running.port, self.request).status != 304
            except (OSError, AssertionError):
                self.failed += 1
            self.waits.append(time.monotonic() - begun)


@dataclass(frozen=True)
class Result:
    """What came of it: bytes of memory a reader, whole bodies, seconds, and seconds of each poll."""

    memory: float
    kernel: float
    whole: int
    seconds: float
    waits: list[float]
    failed: int

    @property
    def p99(self) -> float:
        """The time within which 99 of 100 polls were answered, in seconds."""
        return statistics.quantiles(self.waits, n=100, method="inclusive")[98]


def measure(world: World, store: Path, readers: int, rate: int, size: int) -> Result:
    """Run a server and that many readers against it."""
    running = start(world, store)
    watch = None
    try:
        firmware = world.firmware(1, size=size)
        publish(running, "1.0", firmware.signed)
        poll = as_device("/blink/firmware.bin.signed", firmware)
        talk(world.context(), running.port, poll)
        talk(world.context(), running.port, get("/blink/firmware.bin.signed"))
        idle, idle_tcp = anonymous(running.process.pid), in_tcp()
        watch = Watch(running, poll)
        watch.start()
        counts = [readers * (n + 1) // PROCESSES - readers * n // PROCESSES for n in range(PROCESSES)]
        pipes, processes = [], []
        for count in counts:
            mine, theirs = multiprocessing.Pipe()
            arguments = (running.port, str(world.ca), get("/blink/firmware.bin.signed"), count, rate, firmware.signed)
            process = multiprocessing.Process(target=read_slowly, args=(*arguments, theirs), daemon=True)
            process.start()
            pipes.append(mine)
            processes.append(process)
        for pipe in pipes:
            if not pipe.poll(PATIENCE):
                raise RuntimeError("the readers do not get connected")
            pipe.recv()
        begun = time.monotonic()
        for pipe in pipes:
            pipe.send("go")
        whole = sum(pipe.recv() for pipe in pipes if pipe.poll(PATIENCE + 10))
        seconds = time.monotonic() - begun
        for process in processes:
            process.join(10)
        watch.over.set()
        watch.join(60)
        memory, kernel = (watch.peak - idle) / readers, (watch.tcp - idle_tcp) / readers
        return Result(memory, kernel, whole, seconds, watch.waits, watch.failed)
    finally:
        if watch is not None:
            watch.over.set()
        running.stop()
        assert running.process.stdout is not None
        running.process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=50_000, help="bytes a second that a reader takes at most")
    parser.add_argument("--size", type=int, default=200_000, help="bytes of code in the firmware")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < options.readers + SPARE_DESCRIPTORS:
        sys.exit(f"only {hard} descriptors: ulimit -n {options.readers + SPARE_DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        world = World.create(Path(name), signers.new_signing_key())
        result = measure(world, Path(name) / "store", options.readers, options.rate, options.size)
    rate = options.size / result.seconds / 1000
    print(f"{result.whole} of {options.readers} readers got all {options.size} bytes, in {result.seconds:.0f} s")
    print(f"on average {rate:.1f} KB/s each, {rate * options.readers / 1000:.0f} MB/s together")
    print(f"memory of the server beyond idle: {result.memory / 1024:.1f} KiB a reader")
    print(f"TCP buffers in the kernel, both sides: {result.kernel / 1024:.1f} KiB a reader")
    waits = f"median {statistics.median(result.waits):.3f} s, p99 {result.p99:.3f} s, longest {max(result.waits):.3f} s"
    print(f"{len(result.waits)} polls meanwhile, {result.failed} failed: {waits}")


if __name__ == "__main__":
    main()
