"""How long operators wait for a fleet's list and counts, and what devices feel of that.

    python bench/operators.py [--devices 100000] [--labels 5000] [--rounds 20] [--plan]
        [--backend files postgresql]

Fills a store with devices in twenty kinds (versions, boards, channels, states, paces), some with labels, and two rules
for tags; then asks a real server over TLS for pages of each filter, for the counts, and for screens of the operators'
page, one after the other; the page remembers counts for a moment, so a pause comes before each of its rounds. A thread
polls as devices do the whole time: once with nobody else, once beside the operator. Prints medians and 95th
percentiles in milliseconds. Needs the packages of the extra `test`, and PostgreSQL for its backend.
"""

from __future__ import annotations

import argparse
import contextlib
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPSConnection
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from otaseal.keys import signers
from otaseal.names import is_database
from otaseal.protocol.answers import REASONS
from otaseal.release.waves import Wave
from otaseal.store.backend import open_backend, open_new
from otaseal.store.device_rows import Device
from otaseal.store.labels import Label, Labels
from otaseal.store.tag_rules import TagRule
from support.filled_store import new_location
from support.page_client import visit
from support.servers import Running, World, as_device, publish, start, talk

PRODUCT = "/v1/products/blink"
PAGE = "/page/products/blink"
SCREENS = (
    "",
    "/channels/stable",
    "/channels/beta",
    "/devices",
    "/devices?state=stuck",
    "/device?name=mac:5C:CF:00:00:00:01",
    "/report",
)
BATCH = 5000
PAUSE = 4.0
"""Seconds for which the page no longer remembers the counts of such a fleet."""
FILTERS = (
    *(
        "",
        "channel=stable",
        "state=stuck",
        "version=1.0",
        "board=0000000000000001",
        "tag=indoor",
        "tag=old",
        "answered=no-room",
    ),
    *("text=00:7", "text=room%2077", "late=1", "no_room=1", "pinned=1", "since=1000000000"),
)


def rows(count: int, now: float, md5: str) -> Iterator[Device]:
    """Yield devices of twenty kinds."""
    for number in range(count):
        kind, mac = number % 20, ":".join(f"{byte:02X}" for byte in (0x5C, 0xCF, *number.to_bytes(4, "big")))
        yield Device(
            "blink",
            f"mac:{mac}",
            "beta" if kind < 3 else "stable",
            md5 if kind < 15 else f"{kind:032x}",
            "1.0" if kind < 15 else f"0.{kind}",
            mac,
            now - 90 * 86400,
            now - (number % 3600) - (30 * 86400 if number % 97 == 0 else 0),
            offered="1.0" if kind % 4 else None,
            confirmed_at=now - 86400 if kind % 4 == 1 else None,
            delivered_at=now - 90000 if kind % 4 else None,
            failed_at=now - 86400 if kind % 4 == 2 else None,
            address=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            certs="ab" * 32,
            board=f"{kind % 5:016x}",
            chip=("esp8266", "esp32")[kind % 2],
            free_space=100_000 * (kind + 1),
            sketch_size=300_000,
            chip_size=4_194_304,
            sdk="2.2.2-dev(38a443e)",
            answered=REASONS[kind % len(REASONS)],
            pace=3600.0 + kind,
        )


def fill(location: str, count: int, labels: int, md5: str) -> None:
    """Put devices and labels into the store at a location."""
    now = time.time()
    with open_backend(location) as backend:
        with backend.hold():
            pass
        with backend.seen() as devices:
            assert devices is not None
            every = rows(count, now, md5)
            while batch := list(islice(every, BATCH)):  # a transaction that takes long is ended
                devices.take(batch)
            with devices.transaction() as transaction:
                transaction.execute("ANALYZE devices" if is_database(location) else "SELECT 1")  # as autovacuum does
        known = Labels(backend.secrets)
        step = max(1, count // max(labels, 1))
        said = {
            row.device: Label(
                f"room {number}", tags=frozenset({"indoor"} if number % 2 else {"spare"}), pinned=number % 9 == 0
            )
            for number, row in enumerate(rows(count, now, md5))
            if number % step == 0
        }
        known.change("blink", {device: lambda _, label=label: label for device, label in said.items()})  # type: ignore[misc]
        known.rules.set("blink", TagRule("old", version="0.*"))
        known.rules.set("blink", TagRule("rooms", name="room 1*"))


def asked(server: Running, paths: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Return how long the answers to these paths took, in milliseconds."""
    connection = HTTPSConnection("localhost", server.operators, context=server.world.context(), timeout=120)
    client = visit(server)
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    taken: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(rounds):
        time.sleep(PAUSE)
        for path in paths:
            who = {"Cookie": cookies} if path.startswith("/page") else {"Authorization": f"Bearer {server.token}"}
            began = time.perf_counter()
            connection.request("GET", path, headers=who)
            answer = connection.getresponse()
            answer.read()
            taken[path].append(1000 * (time.perf_counter() - began))
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status}")
    connection.close()
    return taken


@contextlib.contextmanager
def polling(server: Running, taken: list[float]) -> Iterator[None]:
    """Poll as a device, over and over, and note in milliseconds how long each took."""
    context: ssl.SSLContext = server.world.context()
    request = as_device("/blink/firmware.bin.signed", server.world.firmware(1), "5C:CF:7F:00:00:01")
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(0.05):
            began = time.perf_counter()
            talk(context, server.port, request)
            taken.append(1000 * (time.perf_counter() - began))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def line(name: str, taken: Sequence[float]) -> str:
    """Return what was measured, in words."""
    quantiles = statistics.quantiles(taken, n=20)
    return f"  {name:<28} median {statistics.median(taken):7.1f}   p95 {quantiles[-1]:7.1f}   ({len(taken)})"


def measure(backend: str, arguments: argparse.Namespace) -> None:
    """Measure one backend, and print it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World.create(folder, signers.new_signing_key())
        location = new_location(backend, folder)
        open_new(location).close()
        before = start(world, folder / "store", location=location if backend != "files" else "")
        ramp = tuple(Wave(percent=percent) for percent in (1, 10, 50, 100)) if arguments.plan else ()
        publish(before, "1.0", world.firmware(1).signed, waves=ramp)
        waves = (Wave(tags=("indoor",), approval=("nobody",)), Wave(percent=100))
        publish(before, "1.0b", world.firmware(2).signed, channel="beta", waves=waves)
        assert before.stop() == 0
        fill(location, arguments.devices, arguments.labels, world.firmware(1).md5)
        server = start(world, folder / "store", location=location if backend != "files" else "")
        alone: list[float] = []
        beside: list[float] = []
        try:
            with polling(server, alone):
                time.sleep(arguments.rounds / 2)
            paths = [f"{PRODUCT}/devices?limit=50{one and '&'}{one}" for one in FILTERS]
            paths += [f"{PRODUCT}/counts", f"{PRODUCT}/counts?channel=beta", *map(PAGE.__add__, SCREENS)]
            with polling(server, beside):
                taken = asked(server, paths, arguments.rounds)
        finally:
            server.stop()
        print(f"{backend}: {arguments.devices} devices, {arguments.labels} labels")
        for path, values in taken.items():
            print(line(path.removeprefix(f"{PRODUCT}/").replace("limit=50", "").replace("?&", "?"), values))
        print(line("a poll, alone", alone))
        print(line("a poll, beside that", beside))


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=5000)
    parser.add_argument("--plan", action="store_true", help="let the large channel have a plan of four waves")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--backend", nargs="+", choices=("files", "postgresql"), default=["files", "postgresql"])
    arguments = parser.parse_args()
    for backend in arguments.backend:
        measure(backend, arguments)


if __name__ == "__main__":
    main()
