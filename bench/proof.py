"""Processor time of the update server for a poll that proves the device's name, beside one that does not.

    python bench/proof.py [--pairs 15] [--threads 4]

Each round runs a batch of polls of the device library with proofs and one without, in turning order, against one server
and with as many devices; load_client.c sends them, as in server.py. Prints medians in microseconds, and the median of
the rounds' ratios with its quartiles. Needs Linux, cc, OpenSSL's headers, and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import itertools
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from otaseal.keys import signers
from server import Ours
from support.proving import ProvingDevice
from support.servers import World, as_device, metrics

FLEET = 400
"""Devices of each kind: requests of no more than these are remembered."""
MODES = ("new", "resumed", "kept")
LIBRARY = (
    "X-Otaseal-Counter: 5",
    "X-Otaseal-Error: 0",
    f"X-Otaseal-Certs: {'5a' * 32}",
    f"X-Otaseal-Board: {'5b' * 8}",
)
MAX_RATIO = 1.05


@dataclass
class Polls:
    """What two fleets of the library say, one that proves its names and one that does not, device by device in turn."""

    template: bytes
    fleet: list[ProvingDevice] = field(default_factory=lambda: [ProvingDevice(_mac(n, "5C")) for n in range(FLEET)])
    proven: Iterator[int] = field(default_factory=itertools.count)
    unproven: Iterator[int] = field(default_factory=itertools.count)

    def with_proof(self, mode: str, size: int) -> bytes:
        """Return so many polls, each as long as the others."""
        devices = [self.fleet[next(self.proven) % FLEET] for _ in range(size)]
        return b"".join(one.prove(self._poll(one.mac, mode)) for one in devices)

    def without(self, mode: str, size: int) -> bytes:
        """Return so many polls of the other fleet."""
        return b"".join(self._poll(_mac(next(self.unproven) % FLEET, "A8"), mode) for _ in range(size))

    def _poll(self, mac: str, mode: str) -> bytes:
        poll = self.template.replace(b"STA-MAC: MAC", b"STA-MAC: " + mac.encode())
        if mode != "kept":
            return poll
        return poll.replace(b"HTTP/1.0", b"HTTP/1.1").replace(b"Connection: close", b"Connection: keep-alive")


def _mac(number: int, first: str) -> str:
    return f"{first}:CF:7F:00:{number >> 8:02X}:{number & 255:02X}"


def send(client: Path, server: Ours, polls: bytes, mode: str, size: int, threads: int) -> float:
    """Send a batch, and return the server's processor time for one of it, in seconds."""
    command = [client, server.port, size, threads, mode, 0, 304, 0, 0]
    before = server.cpu()
    done = subprocess.run([str(one) for one in command], input=polls, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return (server.cpu() - before) / size


def good_proofs(server: Ours) -> int:
    """Return how many proofs the server has found good."""
    name = 'otaseal_proofs_total{result="good"} '
    return sum(
        int(float(line.removeprefix(name))) for line in metrics(server.running).splitlines() if line.startswith(name)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=4, help="devices at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = folder / "load_client"
        source = str(ROOT / "bench" / "load_client.c")
        subprocess.run(["cc", "-O2", "-o", client, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
        world = World.create(folder, signers.new_signing_key())
        releases = world.firmware(1), world.firmware(2)
        library = "".join(f"{line}\r\n" for line in LIBRARY).encode() + b"\r\n"
        stock = as_device("/blink/firmware.bin.signed", releases[1], "MAC", version="1.1")
        polls = Polls(stock.removesuffix(b"\r\n") + library)
        print(f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, {options.pairs} rounds, twice {FLEET} devices")
        with Ours.start("otaseal", world, folder / "store", releases, ROOT / "tools") as server:
            for shows in (True, False):
                for device in polls.fleet:
                    device.shows = shows
                for kind in (polls.with_proof, polls.without):
                    send(client, server, kind("new", FLEET), "new", FLEET, options.threads)
            for mode in MODES:
                before, size = good_proofs(server), FLEET  # each device once: a later proof may overtake an earlier one
                rounds: list[tuple[float, float]] = []
                for number in range(options.pairs):
                    kinds = [polls.with_proof, polls.without]
                    spent = [
                        send(client, server, kind(mode, size), mode, size, options.threads)
                        for kind in (kinds if number % 2 else kinds[::-1])
                    ]
                    rounds.append((spent[0], spent[1]) if number % 2 else (spent[1], spent[0]))
                if good_proofs(server) - before != size * options.pairs:
                    raise RuntimeError(f"{good_proofs(server) - before} proofs of {size * options.pairs} are good")
                report(mode, rounds)


def report(mode: str, rounds: list[tuple[float, float]]) -> None:
    proven, unproven = (statistics.median(times) * 1e6 for times in zip(*rounds, strict=True))
    low, middle, high = statistics.quantiles([one / other for one, other in rounds], n=4)
    print(f"{mode:<8} with proof {proven:4.0f}  without {unproven:4.0f}   ", end="")
    print(f"{middle:.3f} ({low:.3f} to {high:.3f})   at most {MAX_RATIO}", flush=True)


if __name__ == "__main__":
    main()
