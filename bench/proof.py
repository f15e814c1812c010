"""Processor time of the update server for a poll that is proven, beside one that is not, in one run.

    python bench/proof.py [--rounds 15] [--devices 500] [--mode resumed kept]

Two fleets of as many devices poll one server, in turns: one says what a device library says that cannot prove its name,
the other one says the same, and proves it, each time with another number. All are answered 304. Prints the medians in
microseconds a poll, and the median of the rounds' ratios with its quartiles; at most 1.05 is to be reached by polls as
devices make them, on a connection each. Kept alive, they show what the proof alone costs. Needs Linux, cc, OpenSSL's
headers, and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import Server

from otaseal.keys import signers
from support.proving import ProvingDevice, plausible
from support.servers import Firmware, Running, World, as_device, metrics, publish, start

PATH = "/blink/firmware.bin.signed"
LIBRARY = b"\r\nX-Otaseal-Counter: 3\r\nX-Otaseal-Error: 0\r\nX-Otaseal-Certs: " + b"ab" * 32 + b"\r\n\r\n"
MODES = ("new", "resumed", "kept")
THREADS = 4
TO_BE_REACHED = 1.05


def says(firmware: Firmware, mac: str, mode: str) -> bytes:
    """Return what the device library of before says."""
    request = as_device(PATH, firmware, mac, version="1.0").removesuffix(b"\r\n\r\n") + LIBRARY
    if mode == "kept":
        request = request.replace(b"HTTP/1.0", b"HTTP/1.1").replace(b"Connection: close", b"Connection: keep-alive")
    return request


def poll(client: Path, server: Server, requests: list[bytes], mode: str) -> float:
    """Send these requests, and return the server's processor time for one, in seconds."""
    command = [client, server.port, len(requests), THREADS, mode, 0, 304, 0, 0]
    before = server.cpu()
    subprocess.run([str(one) for one in command], input=b"".join(requests), capture_output=True, check=True)
    return (server.cpu() - before) / len(requests)


def compare(client: Path, running: Running, firmware: Firmware, mode: str, options: argparse.Namespace) -> float:
    """Print what both kinds of polls cost, and return the ratio."""
    server = Server("otaseal", running.port, running.process.pid)
    first = 100_000 * MODES.index(mode)
    numbers = range(first, first + options.devices)
    plain = [says(firmware, plausible(number), mode) for number in numbers]
    fleet = [ProvingDevice(plausible(number + 50_000)) for number in numbers]

    def proven() -> list[bytes]:
        return [device.prove(says(firmware, device.mac, mode)) for device in fleet]

    for shows in (True, False):
        for device in fleet:
            device.shows = shows
        poll(client, server, proven(), mode)
        poll(client, server, plain, mode)
    spent: dict[str, list[float]] = {"unproven": [], "proven": []}
    for number in range(options.rounds):
        turns = (("unproven", plain), ("proven", proven()))
        for name, requests in turns if number % 2 else turns[::-1]:
            spent[name].append(poll(client, server, requests, mode))
    low, middle, high = statistics.quantiles([b / a for a, b in zip(*spent.values(), strict=True)], n=4)
    medians = "  ".join(f"{name} {statistics.median(times) * 1e6:6.1f}" for name, times in spent.items())
    print(f"{mode:<8} {medians}   proven/unproven {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client, source = folder / "load_client", str(ROOT / "bench" / "load_client.c")
        subprocess.run(["cc", "-O2", "-o", client, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
        world = World.create(folder, signers.new_signing_key())
        firmware = world.firmware(1)
        running = start(world, folder / "store")
        try:
            publish(running, "1.0", firmware.signed)
            print(
                f"Python {sys.version.split()[0]}, {options.rounds} rounds of {options.devices} polls, in microseconds"
            )
            ratios = {mode: compare(client, running, firmware, mode, options) for mode in options.mode}
            worst = max((ratio for mode, ratio in ratios.items() if mode != "kept"), default=0.0)
            failed = [line for line in metrics(running).splitlines() if re.search('result="(wrong|after|none)"', line)]
            if failed:
                raise RuntimeError(f"proofs did not hold: {failed}")
            print(f"at most {TO_BE_REACHED} to be reached: {'reached' if worst <= TO_BE_REACHED else 'NOT reached'}")
        finally:
            running.stop()


if __name__ == "__main__":
    main()
