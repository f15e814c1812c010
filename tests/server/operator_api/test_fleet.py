"""A fleet over real TLS: a rollout that goes wrong halts in its first group, a healthy one reaches everybody, once."""

from __future__ import annotations

import os
import time

import pytest

from otaseal.errors import InputError
from otaseal.server.process.maintenance import ROLLOUT_SECONDS
from otaseal.store.store import Store
from support import rollouts
from support.fleet import Fleet, verify
from support.servers import SECONDS, Running, World, operator, publish

pytestmark = pytest.mark.proof

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
DEVICES = 500 if THOROUGH else 100
CHANNEL = "/v1/products/blink/channels/stable"


@pytest.fixture
def fleet(server: Running) -> Fleet:
    """Return devices of which each runs 1.0, as the server knows."""
    images = tuple(server.world.firmware(seed, size=8_000) for seed in (1, 2))
    publish(server, "1.0", images[0].signed)
    made = Fleet.of(server, images, DEVICES)
    made.poll()
    assert {tuple(one.statuses) for one in made.nodes} == {(304,)}
    return made


def channel(fleet: Fleet) -> dict[str, object]:
    state: dict[str, object] = operator(fleet.server).get("/v1/products/blink/releases")["channels"]["stable"]
    return state


def meant(fleet: Fleet) -> set[str]:
    """Return who is among the share that the rollout has reached."""
    state = Store.open(fleet.server.store).current("blink", "stable")
    assert state is not None
    salt, percent = state.pointer.salt, state.pointer.percent
    return {one.mac for one in fleet.nodes if rollouts.includes(f"mac:{one.mac}", salt, percent)}


def took(fleet: Fleet) -> set[str]:
    return {one.mac for one in fleet.nodes if one.downloads}


def test_a_rollout_that_fails_halts_in_its_first_group(fleet: Fleet) -> None:
    publish(fleet.server, "2.0", fleet.images[1].signed, percent=10 if THOROUGH else 25)
    first = meant(fleet)
    failing = set(sorted(first)[::10])
    for node in fleet.nodes:
        node.fails = node.mac in failing
    fleet.poll()  # who is meant takes it
    assert took(fleet) == first
    fleet.poll(one for one in fleet.nodes if one.mac in first)  # and comes back, with it or without it
    end = time.monotonic() + 2 * ROLLOUT_SECONDS + SECONDS
    while not channel(fleet)["halted"]:
        assert time.monotonic() < end, "it does not halt"
        time.sleep(0.1)
    fleet.poll()
    fleet.poll()
    assert took(fleet) == first, "a device outside of the first group got it"
    fleet.server.logs("halted", "version=2.0")
    with pytest.raises(InputError, match=r"the rollout of '2\.0' was halted"):
        publish(fleet.server, "2.0", fleet.images[1].signed)


def test_a_healthy_fleet_ends_with_everybody_once(fleet: Fleet) -> None:
    before: set[str] = set()
    publish(fleet.server, "2.0", fleet.images[1].signed, percent=10)
    for percent in (10, 50, 100):
        if percent > 10:
            operator(fleet.server).post(f"{CHANNEL}/percent", {"percent": percent})
        fleet.poll()
        fleet.poll()
        assert before <= took(fleet) == meant(fleet)
        before = took(fleet)
    assert [one.downloads for one in fleet.nodes] == [["2.0"]] * DEVICES
    assert all(one.running is fleet.images[1] for one in fleet.nodes)
    assert all(one.statuses.count(200) == 1 for one in fleet.nodes)
    assert not channel(fleet)["halted"]
    assert_told(fleet, {("2.0", "updated")})
    resumed = sum(one.resumed for one in fleet.nodes)
    polls = sum(len(one.statuses) for one in fleet.nodes)
    assert resumed == polls - DEVICES


def assert_told(fleet: Fleet, wanted: set[tuple[str, str]]) -> None:
    """Assert what operators are told of the devices."""
    listed = operator(fleet.server).get("/v1/products/blink/devices")["devices"]
    assert {(one["running"], one["state"]) for one in listed} == wanted


def test_nodes_refuse_what_is_not_signed(world: World) -> None:
    """The judge of the tests above can say no."""
    body = bytearray(world.firmware(1).signed)
    verify(world.key.public_key(), bytes(body))
    body[5000] ^= 1
    with pytest.raises(AssertionError, match="signature"):
        verify(world.key.public_key(), bytes(body))
