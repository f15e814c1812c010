"""What may be said without proof moves no fleet: each attack of docs/adr/0019-evidence.md, played on a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError
from otaseal.protocol.decisions import LOOP_LIMIT
from otaseal.release.channels import Pointer
from otaseal.server.catalog import Catalog
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.operator_api.rollout_options import UptimeClock
from otaseal.server.process.maintenance import halt_failing, report_flood
from otaseal.server.telemetry import Event, Telemetry
from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.files import DEVICES_FILE
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.secrets import Secrets
from otaseal.store.store import Store
from support.command import process
from support.devices import Devices
from support.releases import make_release
from support.servers import (
    PRODUCT,
    SECONDS,
    Firmware,
    Running,
    StartServer,
    World,
    as_device,
    operator,
    publish,
    talk,
    until,
)

PATH = "/blink/firmware.bin.signed"
ELSEWHERE = "127.0.9.9"
OLD, NEW = "0" * 32, "1" * 32


def mac(number: int, maker: str = "5C:CF:7F") -> str:
    return f"{maker}:00:{number >> 8:02X}:{number & 255:02X}"


def home(number: int) -> str:
    return f"127.0.{1 + number // 200}.{1 + number % 200}"


def ask(server: Running, runs: Firmware, name: str, source: str) -> int:
    """Let a device ask, and return the status of the answer."""
    reply = talk(server.world.context(), server.port, as_device(PATH, runs, name), source)
    return reply.status


def take_twice(server: Running, runs: Firmware, devices: list[tuple[str, str]]) -> None:
    """Let devices, each with the address that it asks from, download and come back with what they ran before."""
    for times in (1, 2):
        for name, source in devices:
            assert ask(server, runs, name, source) == 200
        wait(server, [name for name, _ in devices], lambda row: deliveries(row) >= times)  # noqa: B023 - before the next


def deliveries(row: dict[str, Any]) -> int:
    return int(row["deliveries"] + row.get("elsewhere_deliveries", 0))


def wait(server: Running, names: Iterable[str], done: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until what was said is written of all these devices."""
    devices = {f"mac:{name}" for name in names}

    def all_done() -> bool:
        rows = operator(server).get("/v1/products/blink/devices")["devices"]
        return {row["device"] for row in rows if done(row)} >= devices

    until(all_done, "not written")


def judged(server: Running) -> tuple[bool, list[Event]]:
    """Stop the server, judge its rollouts as it does, and return whether `stable` is halted by now."""
    assert server.stop() == 0
    events: list[Event] = []
    store = Store.open(server.store)
    now = time.time()
    times = iter((now - 1e6, now))
    clock = UptimeClock(lambda _: None, lambda: now, lambda: next(times, now))
    with Devices(store.directory / DEVICES_FILE) as devices:
        halt_failing(Catalog(store), devices, Telemetry(events.append), clock)
    state = store.current("blink", "stable")
    assert state is not None
    return state.pointer.halted, events


@pytest.fixture
def releases(server: Running) -> tuple[Firmware, Firmware]:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    return old, new


def test_ten_invented_devices_halt_no_rollout(server: Running, releases: tuple[Firmware, Firmware]) -> None:
    """They download, and poll once with the old MD5."""
    old, new = releases
    for number in range(4):
        assert ask(server, old, mac(number), home(number)) == 304
    publish(server, "2.0", new.signed)
    take_twice(server, old, [(mac(number, "02:00:00"), ELSEWHERE) for number in range(10)])
    halted, events = judged(server)
    assert not halted
    assert not any(line.startswith("halted ") for line in server.lines())
    told = "\n".join([*(str(one.get("message")) for one in events), *server.lines()])
    assert "so many devices that do not count" in told, "a person is told"


@pytest.mark.parametrize("source", [ELSEWHERE, None])
def test_a_bad_release_halts_with_what_stock_devices_say(
    server: Running, releases: tuple[Firmware, Firmware], source: str | None
) -> None:
    """Whether each is at an address of its own or all are behind one router."""
    old, new = releases
    for number in range(12):
        ask(server, old, mac(number), source or home(number))
    publish(server, "2.0", new.signed)
    take_twice(server, old, [(mac(number), source or home(number)) for number in range(12)])
    assert judged(server)[0]
    events = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    (halt,) = [one for one in events if one["event"] == "halted"]
    assert halt["evidence"] == f"12 known at {'1 address' if source else '12 addresses'}"


def test_downloads_in_the_name_of_known_devices_are_not_their_failures(
    server: Running, releases: tuple[Firmware, Firmware]
) -> None:
    old, new = releases
    for number in range(12):
        ask(server, old, mac(number), home(number))
    publish(server, "2.0", new.signed)
    take_twice(server, old, [(mac(number), ELSEWHERE) for number in range(12)])
    request = as_device(PATH, old, mac(0)).replace(b"GET ", b"HEAD ", 1)
    for number in range(12):  # and then these ask themselves, before they download
        talk(server.world.context(), server.port, request.replace(mac(0).encode(), mac(number).encode()), home(number))
    assert not judged(server)[0]


Fleet = Iterable[tuple[str, str, float, bool]]
"""Devices: name, address, when first seen, and whether they come back with the release."""


def nothing(*_: object) -> None:
    """Say nothing in a device's name."""


def halts(
    folder: Path,
    fleet: Fleet,
    then: Callable[[Devices], object] = nothing,
    meanwhile: Callable[[Devices, str], object] = nothing,
) -> bool:
    """Return whether a rollout that began at 100.0 is halted at 1000.0, which these devices took.

    `meanwhile` speaks in the name of each while it restarts, `then` at the end.
    """
    store = Store.create(folder / "store")
    for version, data in (("1.0", b"old"), ("2.0", b"new")):
        store.publish(make_release(version, data), [data])
    store.point("blink", "stable", Pointer("1.0"), expected=0)
    store.point("blink", "stable", Pointer("2.0", 50, "salt"), expected=1)
    with Devices(folder / "devices") as devices:
        devices.begin("blink", "stable", "2.0", 100.0)
        with devices.batch() as rows:
            for name, address, first_seen, _ in fleet:
                rows.see(Sighting("blink", "stable", name, OLD, address=address), first_seen)
        for name, address, _, healthy in fleet:
            devices.offer("blink", name, "2.0", NEW, 200.0, address)
            devices.deliver("blink", name, "2.0", 200.0, address)
            meanwhile(devices, name)
            devices.see(Sighting("blink", "stable", name, NEW if healthy else OLD, address=address), 300.0)
        then(devices)
        clock = UptimeClock(lambda _: None, lambda: 1000.0, lambda: 0.0)
        halt_failing(Catalog(store), devices, Telemetry(lambda _: None), clock)
    state = store.current("blink", "stable")
    assert state is not None
    return state.pointer.halted


@pytest.mark.parametrize(
    ("failing", "healthy", "halted"),
    [
        ([(f"mac:{n}", ELSEWHERE, 50.0, False) for n in range(60)], 99, False),  # invented before, at one address
        ([(f"mac:{n}", f"10.0.0.{n // 3}", 50.0, False) for n in range(60)], 12, True),
        ([(f"mac:{n}", f"10.0.0.{n}", 150.0, False) for n in range(60)], 12, False),  # newcomers, wherever they are
        ([(f"cert:{n}", "", 150.0, False) for n in range(10)], 12, True),  # enrolled by the operator's authority
        ([(f"cert:{n}", "", 50.0, False) for n in range(12)], 900, True),  # which so many others cannot hide
        ([(f"cert:{n}", "", 50.0, False) for n in range(9)], 900, False),  # too few for a group of their own
        ([(f"cert:{n}", "", 50.0, False) for n in range(1)], 0, True),
        ([(f"mac:{n}", ELSEWHERE, 50.0, False) for n in range(3)], 1000, False),  # of a thousand behind one router
    ],
)
def test_what_counts(tmp_path: Path, failing: list[tuple[str, str, float, bool]], healthy: int, halted: bool) -> None:
    one_router = healthy == 1000
    fleet = [
        (f"mac:own{n}", "10.1.0.0" if one_router else f"10.1.{n // 250}.{n % 250}", 50.0, True) for n in range(healthy)
    ]
    assert halts(tmp_path, [*failing, *fleet]) is halted


def test_no_claim_from_elsewhere_takes_a_failure_back(tmp_path: Path) -> None:
    fleet = [(f"mac:{n}", f"10.0.0.{n}", 50.0, False) for n in range(12)]

    def claim(devices: Devices) -> None:
        for name, *_ in fleet:
            for md5 in (NEW, "2" * 32):
                devices.see(Sighting("blink", "stable", name, md5, address=ELSEWHERE), 400.0)
            devices.see(Sighting("blink", "beta", name, OLD, address=ELSEWHERE), 400.0)
            devices.offer("blink", name, "3.0", OLD, 400.0, ELSEWHERE)
            devices.deliver("blink", name, "2.0", 400.0, ELSEWHERE)

    assert halts(tmp_path, fleet, claim)


@pytest.mark.parametrize("healthy", [False, True])
def test_no_claim_from_elsewhere_forestalls_a_failure(tmp_path: Path, healthy: bool) -> None:
    """That it is back with the release is believed until the device says at home that it is not."""
    fleet = [(f"mac:{n}", f"10.0.0.{n}", 50.0, healthy) for n in range(12)]

    def claim(devices: Devices, name: str) -> None:
        assert devices.see(Sighting("blink", "stable", name, NEW, address=ELSEWHERE), 250.0).confirmed_at == 250.0

    assert halts(tmp_path, fleet, meanwhile=claim) is not healthy


def test_a_device_that_moves_is_at_home_there_after_hours(tmp_path: Path) -> None:
    with Devices(tmp_path / "d") as devices:
        there, moved = Sighting("blink", "stable", "mac:A", OLD, address="10.0.0.1"), 6 * 3600.0
        devices.see(there, 1.0)
        devices.offer("blink", "mac:A", "2.0", NEW, 2.0, "10.0.0.1")
        devices.deliver("blink", "mac:A", "2.0", 3.0, "10.0.0.1")
        new = replace(there, md5=NEW, address="10.0.0.2")
        assert devices.see(new, 60.0).confirmed_at == 60.0, "its address changed while it restarted"
        assert devices.see(new, 70.0)[:8] == devices.see(there, 1.0)[:8]
        assert devices.see(new, moved + 1.0).address == "10.0.0.2"
        assert devices.see(new, moved + 1.0).md5 == NEW


def test_a_halted_rollout_goes_on_with_its_evidence_set_aside(
    server: Running, releases: tuple[Firmware, Firmware], tmp_path: Path
) -> None:
    old, new = releases
    with Devices(server.store / DEVICES_FILE) as devices, devices.batch() as rows:
        for number in range(22):
            rows.see(Sighting("blink", "stable", f"mac:{mac(number)}", old.md5, address=home(number)), time.time())
    publish(server, "2.0", new.signed, max_failed=100)

    def fail(numbers: range) -> None:
        with Devices(server.store / DEVICES_FILE) as devices:
            for number in numbers:
                name, address = f"mac:{mac(number)}", home(number)
                devices.offer("blink", name, "2.0", new.md5, time.time(), address)
                devices.deliver("blink", name, "2.0", time.time(), address)
                devices.see(Sighting("blink", "stable", name, old.md5, address=address), time.time())

    fail(range(10))
    where = ["--server", server.url, "--product", PRODUCT, "--ca", str(server.world.ca), "--max-failed", "5"]

    def promote(*options: str) -> tuple[int, str]:
        done = process("promote", *options, *where, cwd=tmp_path, OTASEAL_TOKEN=server.token)
        return done.code, done.err

    code, said = promote("--percent", "50")
    assert (code, "10 of the 10 devices" in said, "(10 known at 10 addresses)" in said) == (1, True, True)
    assert "--set-aside" in said
    assert promote("--version", "2.0", "--set-aside")[0] == 2
    assert promote("--percent", "50", "--set-aside") == (0, "")
    assert promote("--percent", "60") == (0, ""), "it does not count again"
    events = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    (line,) = [one for one in events if one["event"] == "set-aside"]
    assert (line["failed"], line["by"]) == ("10 known at 10 addresses", "token:tests")
    fail(range(10, 22))
    with pytest.raises(InputError, match="12 of the 12 devices"):
        operator(server).post("/v1/products/blink/channels/stable/percent", {"percent": 70, "max_failed": 5})
    with pytest.raises(InputError, match="set_aside is 'yes'"):
        operator(server).post("/v1/products/blink/channels/stable/percent", {"percent": 70, "set_aside": "yes"})


def test_downloads_in_its_name_hold_no_device_back(server: Running, releases: tuple[Firmware, Firmware]) -> None:
    old, new = releases
    ask(server, old, mac(1), home(1))
    publish(server, "2.0", new.signed)
    answers = [ask(server, old, mac(1), ELSEWHERE) for _ in range(5)]
    assert answers == [200, 200, 200, 304, 304], "that somebody loops there is true all the same"
    operator(server).get("/v1/products/blink/devices")
    assert ask(server, old, mac(1), home(1)) == 200
    operator(server).get("/v1/products/blink/devices")
    assert ask(server, new, mac(1), home(1)) == 304
    (row,) = operator(server).get("/v1/products/blink/devices")["devices"]
    assert (row["state"], row["running"]) == ("updated", "2.0")


@pytest.mark.parametrize("device", ["mac:A", "cert:A"])
def test_who_proves_nothing_is_slowed_and_never_stopped(tmp_path: Path, device: str) -> None:
    """Others behind its router may have downloaded in its name."""
    address = "" if device.startswith("cert:") else home(1)
    sighting = Sighting("blink", "stable", device, OLD, address=address)
    with Recorder(tmp_path / "d", print) as recorder:
        asking = Asking("blink", device, address)
        recorder.poll(sighting, "2.0", 1.0)
        recorder.offer(asking, "2.0", NEW, 1.0)
        for now in (2.0, 3.0, 4.0):
            recorder.deliver(asking, "2.0", now)
        assert recorder.flush(SECONDS)

        def looping(now: float) -> bool:
            return recorder.poll(sighting, "2.0", now)[0] >= LOOP_LIMIT

        assert looping(5.0)
        assert looping(3603.0)
        assert looping(3605.0) is device.startswith("cert:"), "its certificate says who downloaded"
        recorder.deliver(asking, "2.0", 3606.0)
        assert recorder.flush(SECONDS)
        assert looping(3610.0)


def test_who_can_read_the_firmware_is_said_where_the_port_is_opened(
    server: Running, world: World, start_server: StartServer
) -> None:
    def told(running: Running) -> bool:
        opened = "who reaches their port can read the firmware"
        return any(line.startswith("open ") and opened in line for line in running.lines())

    server.logs("open ", "who reaches their port can read the firmware")
    guarded = start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    guarded.logs("open ", "only devices with a certificate of --device-ca can read the firmware")
    assert not told(guarded)


def test_a_flood_is_an_alarm_until_it_ends(tmp_path: Path) -> None:
    events: list[Event] = []
    telemetry, keys = Telemetry(events.append), ProofKeys(Secrets(tmp_path / "s"), limit=10)
    with Devices(tmp_path / "d", limit=50) as devices:
        for number in range(100):
            devices.see(Sighting("blink", "stable", f"mac:{number}", OLD), 1.0 + number)
            report_flood(devices, keys, telemetry)
        (alarm,) = events
        assert (alarm["event"], alarm["alarm"]) == ("flood", True)
        assert "more than 5 of 50 are new within a day" in str(alarm["message"])
        with devices.batch() as rows:
            for device in devices.list("blink")[:40]:
                rows.forget("blink", device.device)
        report_flood(devices, keys, telemetry)
        assert [one["event"] for one in events] == ["flood", "flood"]
        keys.agree("blink", "mac:1", bytes(32), 1.0)
        report_flood(devices, keys, telemetry)
        assert "there is no room for more keys of devices" in str(events[-1]["message"])
