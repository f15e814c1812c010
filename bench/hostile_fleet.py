"""A fleet beside thousands of invented devices, over TLS: what it gets, when a bad release halts, and what it costs.

    python bench/hostile_fleet.py [--stock 160] [--proving 40] [--library 20] [--invented 5000] [--silent 80000]
                                  [-- SERVE OPTIONS]

A release goes to 10, 50 and 100 per cent of the fleet, and then a bad one to 10 per cent, with which no device comes
back. All the while a crowd says what may harm (tests/support/hostile.py). Proving devices are played in Python, those
with the library run it; silent ones are rows of a month ago, so that the list of devices is as full as wanted. The
server gets its options when it has known the fleet for a month. Prints what became of the real ones, and the server's
memory and file. Minutes. Needs Linux, for the addresses of 127.0.0.0/8, g++, libbearssl, and the extra `test`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "bench")]

from rivals import process_tree

from otaseal.keys import signers
from otaseal.store.device_rows import Device
from otaseal.store.devices import Devices
from otaseal.store.files import DEVICES_FILE
from support import firmware
from support.fleet import Fleet, Node
from support.hostile import Crowd, LibraryNode, Play, ProvingNode, halted, percent, release, silent, stock_nodes
from support.servers import Firmware, Running, World, publish, start

STEPS = (10, 50, 100)
CONTACTS = 3
"""Polls until a device proves its name: it is told that its key is unknown, shows it, and proves it."""
HALT_SECONDS = 30.0


def resident(server: Running) -> float:
    """Return the memory of the server's processes, in MB."""
    pages = (Path(f"/proc/{pid}/status").read_text() for pid in process_tree(server.process.pid))
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in pages) / 1024


def on_disk(server: Running) -> float:
    """Return the size of the list of devices and its journal, in MB."""
    return sum(path.stat().st_size for path in server.store.glob(f"{DEVICES_FILE}*")) / 1e6


def rows(server: Running) -> dict[str, Device]:
    """Return the row of every device that the server knows."""
    with Devices(server.store / DEVICES_FILE) as devices:
        return {row.device: row for row in devices.read_all()}


def tell(what: str, value: object) -> None:
    print(f"{what:<44} {value}", flush=True)


def cost(server: Running, when: str) -> None:
    tell(f"{when}: memory, list of devices", f"{resident(server):.0f} MB, {on_disk(server):.1f} MB")


def good(play: Play, server: Running) -> None:
    """Let a release that works go out, and tell whom it reached."""
    publish(server, "2.0", play.new.signed, percent=1)
    for share in STEPS:
        percent(server, share)
        play.step()
        tell(f"of the good release at {share} %", f"{len(play.took)} of {len(play.fleet.nodes)} devices have it")
    play.fleet.poll()
    runs = sum(one.running is play.new for one in play.fleet.nodes)
    tell("reached", f"{runs / len(play.fleet.nodes):.1%}, halted: {halted(server)}")
    tell("downloads of one device", dict(Counter(len(one.downloads) for one in play.fleet.nodes)))


def bad(play: Play, server: Running) -> None:
    """Let one go out with which nobody comes back, and tell when it halts."""
    for one in play.fleet.nodes:
        one.fails = True
    publish(server, "3.0", play.new.signed, percent=STEPS[0])
    play.step()
    begun = time.monotonic()
    while not halted(server) and time.monotonic() < begun + HALT_SECONDS:
        time.sleep(0.1)
    taken = f"{time.monotonic() - begun:.1f} s after they came back" if halted(server) else "NOT"
    tell("the bad release halted", f"{taken}, with {len(play.took)} of {len(play.fleet.nodes)} devices")
    percent_after = len(play.took)
    play.fleet.poll()
    tell("devices that took it afterwards", len(play.took) - percent_after)


@contextlib.contextmanager
def serving(world: World, store: Path, *options: str) -> Iterator[Running]:
    """Run a server for a store."""
    server = start(world, store, *options)
    try:
        yield server
    finally:
        server.end()


def introduce(world: World, store: Path, images: tuple[Firmware, ...], nodes: list[Node], count: int) -> Fleet:
    """Let a new server know these devices, which prove their names where they can, and `count` silent ones.

    Returns the devices, which wait for the server to be started again.
    """
    with serving(world, store) as server:
        publish(server, "1.0", images[0].signed)
    silent(store, count, images[0], nodes)
    with serving(world, store) as server:
        fleet = Fleet.of(server, images, 0)
        fleet.nodes += nodes
        for _ in range(CONTACTS):
            fleet.poll()
    return fleet


def play(fleet: Fleet, invented: int, threads: int) -> None:
    """Let both releases go out beside a crowd, and tell what became of the real devices and of the server."""
    server, nodes, (one, two, three) = fleet.server, fleet.nodes, fleet.images
    fleet.poll()
    before = rows(server)
    cost(server, "before")
    crowd = Crowd(fleet, invented, threads=threads)
    good(Play(fleet, crowd, one, two, one), server)
    known = rows(server)
    own = [known.get(f"mac:{node.mac}") for node in nodes]
    tell("states of the real ones", dict(Counter("GONE" if row is None else row.state for row in own)))
    able = sum(isinstance(node, (ProvingNode, LibraryNode)) for node in nodes)
    proven = sum(row is not None and row.sequence is not None for row in own)
    tell("of them prove their names", f"{proven} of {able} that can")
    cost(server, "after the good release")
    crowd.first += invented  # those of before are known by now, and no newcomers
    bad(Play(fleet, crowd, two, three, one), server)
    audit = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    tell("evidence of the halt", [event["evidence"] for event in audit if event["event"] == "halted"])
    cost(server, "after the bad release")
    after = rows(server)
    tell("rows that were there before and are gone", f"{len(before.keys() - after.keys())} of {len(before)}")
    tell("rows", len(after))
    tell("the crowd was answered", dict(crowd.heard))
    told = Counter(line.split()[0] for line in server.lines() if "alarm" in line or "halted" in line)
    tell("alarms", dict(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stock", type=int, default=160)
    parser.add_argument("--behind-router", type=int, default=40, help="of them, at one address")
    parser.add_argument("--proving", type=int, default=40)
    parser.add_argument("--library", type=int, default=20)
    parser.add_argument("--invented", type=int, default=5000)
    parser.add_argument("--silent", type=int, default=80_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("serve", nargs="*", help="options of otaseal serve")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World.create(folder, signers.new_signing_key())
        images = tuple(release(world, seed) for seed in (1, 2, 3))
        (folder / "library").mkdir()
        program = firmware.compile_programs(folder / "library", world.key.public_key(), "esp8266", "-DNDEBUG")["device"]
        nodes: list[Node] = stock_nodes(options.stock, options.behind_router, images[0])
        nodes += [ProvingNode.create(number, images[0]) for number in range(options.proving)]
        nodes += [LibraryNode.create(world, program, folder / f"d{n}", n, images[0]) for n in range(options.library)]
        fleet = introduce(world, folder / "store", images, nodes, options.silent)
        with serving(world, folder / "store", *options.serve) as server:
            tell("real, invented, silent devices", f"{len(nodes)}, {options.invented}, {options.silent}")
            fleet.server = server
            play(fleet, options.invented, options.threads)


if __name__ == "__main__":
    main()
