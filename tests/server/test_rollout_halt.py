"""A rollout halts by itself when updated devices don't come back with the new release, and a healthy one does not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError
from otaseal.release.channels import PATIENCE, Pointer
from otaseal.server.catalog import Catalog
from otaseal.server.operator_api.rollout_options import UptimeClock
from otaseal.server.process.maintenance import halt_failing
from otaseal.server.telemetry import Event, Telemetry
from otaseal.store.device_rows import Sighting
from otaseal.store.files import DEVICES_FILE
from otaseal.store.store import Store
from support.devices import Devices
from support.releases import make_release
from support.rollouts import includes
from support.servers import Running, as_device, operator, publish, talk


@dataclass
class Clocks:
    """A wall clock that is set, and one that nobody sets, in seconds."""

    wall: float = 1000.0
    steady: float = 50.0
    set_by: list[float] = field(default_factory=list)

    def clock(self) -> UptimeClock:
        return UptimeClock(self.set_by.append, lambda: self.wall, lambda: self.steady)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def at(now: float) -> UptimeClock:
    """Return the clock of a server that has listened for long."""
    clocks = Clocks(now - 1e6)
    clock = clocks.clock()
    clocks.pass_by(1e6)
    return clock


@pytest.mark.parametrize("healthy", [True, False])
def test_a_rollout_that_goes_wrong_is_halted(server: Running, healthy: bool) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    known = [f"5C:CF:7F:00:01:{number:02X}" for number in range(256)]
    with Devices(server.store / DEVICES_FILE) as devices, devices.batch() as rows:
        for mac in known:
            rows.see(Sighting("blink", "stable", f"mac:{mac}", old.md5, address="127.0.0.1"), time.time())
    publish(server, "2.0", new.signed, percent=100)
    operator(server).post("/v1/products/blink/channels/stable/percent", {"percent": 99})
    context, path = server.world.context(), "/blink/firmware.bin.signed"
    begun = Store.open(server.store).current("blink", "stable")
    assert begun is not None
    meant = [mac for mac in known if includes(f"mac:{mac}", begun.pointer.salt, begun.pointer.percent)][:12]
    for mac in meant:
        assert talk(context, server.port, as_device(path, old, mac)).body == new.signed
    for mac in meant:
        talk(context, server.port, as_device(path, new if healthy else old, mac))
    assert server.stop() == 0

    events: list[Event] = []
    store = Store.open(server.store)
    with Devices(store.directory / DEVICES_FILE) as devices:
        halt_failing(Catalog(store), devices, Telemetry(events.append), at(time.time() + 60.0 * PATIENCE / 2))
    state = store.current("blink", "stable")
    assert state is not None
    assert state.pointer.halted is not healthy
    told = [one["event"] for one in events] + ["halted" for line in server.lines() if line.startswith("halted ")]
    assert told == ([] if healthy else ["halted"]), "here, or by the server itself, which looks every few seconds"


def test_the_share_and_the_patience_are_the_operators(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    publish(server, "2.0", server.world.firmware(2).signed, percent=10, max_failed=20, patience=1440)
    client, path = operator(server), "/v1/products/blink/channels/stable"

    def state(answer: Any) -> tuple[int, int, int]:
        return tuple(answer["channel"][name] for name in ("percent", "max_failed", "patience"))  # type: ignore[return-value]

    store = Store.open(server.store)
    first = store.current("blink", "stable")
    assert first is not None
    assert state(client.post(f"{path}/percent", {"percent": 50})) == (50, 20, 1440)
    assert state(client.post(f"{path}/percent", {"percent": 60, "max_failed": 0})) == (60, 0, 1440)
    publish(server, "2.0", server.world.firmware(2).signed, percent=70)
    assert state(client.post(f"{path}/promote", {"version": "2.0", "percent": 80})) == (80, 0, 1440)
    now = store.current("blink", "stable")
    assert now is not None
    assert now.pointer.salt == first.pointer.salt, "the first group stays the first"
    assert now.previous == "1.0"
    assert state(client.post(f"{path}/rollback", {})) == (100, 5, 60)
    for wrong in ({"percent": 10, "max_failed": 101}, {"percent": 10, "patience": 0}, {"percent": 1, "patience": True}):
        with pytest.raises(InputError, match="is no"):
            client.post(f"{path}/percent", wrong)


@pytest.mark.parametrize(("max_failed", "halted"), [(5, True), (49, True), (50, False), (100, False)])
def test_it_halts_beyond_the_share_that_was_given(tmp_path: Path, max_failed: int, halted: bool) -> None:
    store = Store.create(tmp_path / "store")
    for version, data in (("1.0", b"old"), ("2.0", b"new")):
        store.publish(make_release(version, data), [data])
    store.point("blink", "stable", Pointer("1.0"), expected=0)
    store.point("blink", "stable", Pointer("2.0", 50, "salt", max_failed=max_failed, patience=10), expected=1)
    with Devices(tmp_path / "devices") as devices:
        for number in range(20):
            name = f"mac:{number}"
            devices.see(Sighting("blink", "stable", name, "0" * 32), 0.0)
            devices.offer("blink", name, "2.0", "1" * 32, 0.0)
            devices.deliver("blink", name, "2.0", 0.0)
            if number % 2:
                devices.see(Sighting("blink", "stable", name, "1" * 32), 1.0)
        halt_failing(Catalog(store), devices, Telemetry(lambda _: None), at(599.0))
        assert not _halted(store), "the others have ten minutes to come back"
        halt_failing(Catalog(store), devices, Telemetry(lambda _: None), at(600.0))
        assert _halted(store) is halted


MINUTES = 10
BEYOND = {"a year ahead": 365 * 86400.0, "an hour ahead": 3600.0, "an hour back": -3600.0, "years back": -9e8}


@pytest.mark.parametrize("jump", BEYOND.values(), ids=BEYOND.keys())
@pytest.mark.parametrize("after", [60.0, 540.0])
def test_a_clock_that_is_set_halts_no_rollout(tmp_path: Path, jump: float, after: float) -> None:
    """Devices have their patience by a clock that nobody sets; who is silent for so long has failed all the same."""
    clocks = Clocks(1.7e9)
    clock = clocks.clock()
    with Devices(tmp_path / "devices") as devices:
        store = rolling_out(tmp_path, devices, clocks.wall)

        def look() -> bool:
            halt_failing(Catalog(store), devices, Telemetry(lambda _: None), clock)
            return _halted(store)

        clocks.pass_by(after)
        assert not look()
        clocks.wall += jump
        clocks.pass_by(5.0)
        assert not look()
        assert clocks.set_by == [jump]
        for number in range(20):  # these take it now, by the new time
            name = f"mac:later{number}"
            devices.see(Sighting("blink", "stable", name, "0" * 32), clocks.wall)
            devices.offer("blink", name, "2.0", "1" * 32, clocks.wall)
            devices.deliver("blink", name, "2.0", clocks.wall)
        clocks.pass_by(60.0 * MINUTES - 10.0)
        assert not look()
        clocks.pass_by(10.0)
        assert look(), "they had their time"
        assert clocks.set_by == [jump]


def test_a_server_that_starts_listens_before_silence_is_failure(tmp_path: Path) -> None:
    """Nobody could come back while it was down."""
    clocks = Clocks(1.7e9)
    with Devices(tmp_path / "devices") as devices:
        store = rolling_out(tmp_path, devices, clocks.wall - 7200.0)
        clock = clocks.clock()
        for seconds, halted in ((0.0, False), (60.0 * MINUTES - 1, False), (1.0, True)):
            clocks.pass_by(seconds)
            halt_failing(Catalog(store), devices, Telemetry(lambda _: None), clock)
            assert _halted(store) is halted
    assert not clocks.set_by
    for days, seconds in ((30, 3600.0), (1 / 24 / 60, 60.0)):
        late, clock = days * 86400.0, clocks.clock()
        clocks.pass_by(seconds - 1)
        assert clock.read(late) == (clocks.wall, None)
        clocks.pass_by(1.0)
        assert clock.read(late) == (clocks.wall, late)


def rolling_out(folder: Path, devices: Devices, now: float) -> Store:
    """Return a store with a rollout, which twenty devices have taken and not come back from."""
    store = Store.create(folder / "store")
    for version, data in (("1.0", b"old"), ("2.0", b"new")):
        store.publish(make_release(version, data), [data])
    store.point("blink", "stable", Pointer("1.0"), expected=0)
    store.point("blink", "stable", Pointer("2.0", 50, "salt", patience=MINUTES), expected=1)
    for number in range(20):
        name = f"mac:{number}"
        devices.see(Sighting("blink", "stable", name, "0" * 32), now)
        devices.offer("blink", name, "2.0", "1" * 32, now)
        devices.deliver("blink", name, "2.0", now)
    return store


def _halted(store: Store) -> bool:
    state = store.current("blink", "stable")
    assert state is not None
    return state.pointer.halted


def test_what_was_halted_goes_nowhere_by_itself(server: Running) -> None:
    """Neither by a build that is published again nor to another channel."""
    new = server.world.firmware(2).signed
    publish(server, "1.0", server.world.firmware(1).signed, channel="beta")
    publish(server, "2.0", new, channel="beta", percent=10)
    store = Store.open(server.store)
    state = store.current("blink", "beta")
    assert state is not None
    store.point("blink", "beta", replace(state.pointer, halted=True), expected=state.generation)
    with pytest.raises(InputError, match=r"the rollout of '2\.0' was halted"):
        publish(server, "2.0", new, channel="beta")
    client, path = operator(server), "/v1/products/blink/channels"
    with pytest.raises(InputError, match=r"the rollout of '2\.0' in channel 'beta' was halted"):
        client.post(f"{path}/stable/promote", {"from": "beta"})
    assert client.post(f"{path}/stable/promote", {"version": "2.0"})["channel"]["version"] == "2.0"
    assert client.post(f"{path}/beta/rollback", {})["channel"]["version"] == "1.0"


def test_what_would_halt_at_once_does_not_go_on_unless_failures_are_allowed(server: Running) -> None:
    new = server.world.firmware(2)
    publish(server, "1.0", server.world.firmware(1).signed)
    with Devices(server.store / DEVICES_FILE) as devices, devices.batch() as rows:
        for number in range(29 + 71):
            rows.see(Sighting("blink", "stable", f"mac:{number}", "0" * 32), time.time())
    publish(server, "2.0", new.signed, percent=50, max_failed=100)  # else the server halts it, sooner or later
    with Devices(server.store / DEVICES_FILE) as devices:
        for number in range(29 + 71):
            name = f"mac:{number}"
            devices.offer("blink", name, "2.0", new.md5, time.time())
            devices.deliver("blink", name, "2.0", time.time())
            devices.see(Sighting("blink", "stable", name, "0" * 32 if number < 29 else new.md5), time.time())
    client, path = operator(server), "/v1/products/blink/channels/stable"
    said = r"the rollout of '2\.0' would be halted at once: 29 of the 100 devices that took it did not come back"
    with pytest.raises(InputError, match=said) as refused:
        client.post(f"{path}/percent", {"percent": 60, "max_failed": 5})
    assert "--max-failed 29" in refused.value.hint
    with pytest.raises(InputError, match=said):
        client.post(f"{path}/percent", {"percent": 60, "max_failed": 28})
    assert client.post(f"{path}/rollback", {})["channel"]["version"] == "1.0"
    with pytest.raises(InputError, match=said):
        client.post(f"{path}/promote", {"version": "2.0"})
    with pytest.raises(InputError, match=said):
        publish(server, "2.0", new.signed)
    assert client.post(f"{path}/promote", {"version": "2.0", "max_failed": 29})["channel"]["max_failed"] == 29
