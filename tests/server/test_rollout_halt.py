"""A rollout halts by itself when updated devices don't come back with the new release, and a healthy one does not."""

from __future__ import annotations

import time

import pytest

from otaseal.devices import Devices
from otaseal.server.catalog import Catalog
from otaseal.server.housekeeping import PATIENCE, halt_failing
from otaseal.server.telemetry import Event, Telemetry
from otaseal.store import DEVICES_FILE, Store
from support.servers import Running, as_device, operator, publish, talk


@pytest.mark.parametrize("healthy", [True, False])
def test_a_rollout_that_goes_wrong_is_halted(server: Running, healthy: bool) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    publish(server, "2.0", new.signed, percent=100)
    operator(server).post("/v1/products/blink/channels/stable/percent", {"percent": 99})
    context, path = server.world.context(), "/blink/firmware.bin.signed"
    macs = [f"5C:CF:7F:00:01:{number:02X}" for number in range(14)]
    took = [mac for mac in macs if talk(context, server.port, as_device(path, old, mac)).body == new.signed]
    assert len(took) >= 12
    for mac in took:
        talk(context, server.port, as_device(path, new if healthy else old, mac))
    assert server.stop() == 0

    events: list[Event] = []
    store = Store.open(server.store)
    with Devices(store.directory / DEVICES_FILE) as devices:
        halt_failing(Catalog(store), devices, Telemetry(events.append), time.time() + PATIENCE / 2)
    state = store.current("blink", "stable")
    assert state is not None
    assert state.pointer.halted is not healthy
    assert [one["event"] for one in events] == ([] if healthy else ["halted"])
