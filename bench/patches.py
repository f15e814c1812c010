"""What it costs the update server to hand out a patch, beside a poll for which there is nothing new.

    python bench/patches.py [--rounds 15]

Each round runs a batch of either against one server, in turning order, and each patch goes to another device, which has
polled before. Prints the medians of the server's processor time and the median of the rounds' ratios. bench/delta.py
has how long patches take to be made, and how small they are. Needs Linux, cc, OpenSSL's headers and the packages of the
extra `test`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import Server

from otaseal.keys import signers
from otaseal.protocol.decisions import PATCHES
from support.servers import World, as_device, operator, publish, start

PATH = "/blink/firmware.bin.signed"
MAC = "5C:CF:7F:00:00:00"
CODE_SIZE, BATCH, THREADS, FIRST = 445_000, 300, 4, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client, source = folder / "load_client", ROOT / "bench" / "load_client.c"
        subprocess.run(["cc", "-O2", "-o", client, source, "-lssl", "-lcrypto", "-lpthread"], check=True)
        world = World.create(folder, signers.new_signing_key())
        old, new = (world.firmware(1, size=CODE_SIZE, embedded=bytes([seed]) * 400) for seed in (1, 2))
        running = start(world, folder / "store")
        try:
            publish(running, "1.0", old.signed)
            polls = as_device(PATH, new, MAC)
            takes = as_device(PATH, old, MAC).replace(
                b"x-ESP8266-mode", f"X-Otaseal-Capabilities: 1 {PATCHES}\r\nx-ESP8266-mode".encode()
            )
            server = Server("otaseal", running.port, running.process.pid)

            def batch(request: bytes, status: int, first: int, size: int = BATCH) -> tuple[float, int]:
                """Return the processor time for a request in microseconds, and the bytes of all bodies."""
                command = [client, server.port, size, THREADS, "new", 0, status, first, size]
                before = server.cpu()
                done = subprocess.run([str(one) for one in command], input=request, capture_output=True, check=True)
                return 1e6 * (server.cpu() - before) / size, int(done.stdout.split()[0])

            batch(takes, 304, FIRST, (options.rounds + 1) * BATCH)
            publish(running, "1.1", new.signed)
            batch(polls, 304, 0)
            while not operator(running).get("/v1/products/blink/releases")["patches"]:
                time.sleep(0.1)
            (made,) = operator(running).get("/v1/products/blink/releases")["patches"]
            spent: dict[str, list[float]] = {"poll": [], "patch": []}
            for number in range(options.rounds + 1):
                for which in ("poll", "patch") if number % 2 else ("patch", "poll"):
                    asked = (polls, 304, 0) if which == "poll" else (takes, 200, FIRST + number * BATCH)
                    cost, received = batch(*asked)
                    assert received == (0 if which == "poll" else BATCH * made["size"])
                    if number:
                        spent[which].append(cost)
        finally:
            running.stop()
    ratios = [patch / poll for patch, poll in zip(spent["patch"], spent["poll"], strict=True)]
    print(
        f"Python {sys.version.split()[0]}, {options.rounds} rounds of {BATCH} new connections, a patch of "
        f"{made['size']} bytes for {len(new.signed)}"
    )
    print(
        f"poll {statistics.median(spent['poll']):.0f} us, patch {statistics.median(spent['patch']):.0f} us: "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); to be reached: 1.2"
    )


if __name__ == "__main__":
    main()
