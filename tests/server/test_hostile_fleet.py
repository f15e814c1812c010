"""A small fleet over TLS beside a crowd that says what may harm it; bench/hostile_fleet.py has thousands."""

from __future__ import annotations

import pytest

from otaseal.store.store import Store
from support.fleet import Fleet
from support.hostile import Crowd, Play, ProvingNode, halted, mac, percent, release, stock_nodes
from support.rollouts import includes
from support.servers import SECONDS, Running, StartServer, devices_seen, metrics, publish, until

pytestmark = pytest.mark.proof

STOCK, BEHIND_ROUTER, PROVING, INVENTED, FIRST_GROUP = 12, 3, 6, 12, 11
DEVICES = STOCK + PROVING


def reach(server: Running, fleet: Fleet, count: int) -> set[str]:
    """Let the rollout reach so many devices or a few more, and return which."""
    state = Store.open(server.store).current("blink", "stable")
    assert state is not None
    for share in range(1, 101):
        meant = {one.mac for one in fleet.nodes if includes(f"mac:{one.mac}", state.pointer.salt, share)}
        if len(meant) >= count:
            percent(server, share)
            return meant
    raise AssertionError(count)


def test_a_fleet_beside_a_crowd(server: Running) -> None:
    """A good release reaches each real device once, a bad one halts in its first group; no row of theirs is lost."""
    one, two, three = images = tuple(release(server.world, seed, 4_000) for seed in (1, 2, 3))
    fleet = Fleet.of(server, images, 0)
    fleet.nodes += [*stock_nodes(STOCK, BEHIND_ROUTER, one), *(ProvingNode.create(n, one) for n in range(PROVING))]
    publish(server, "1.0", one.signed)
    for _ in range(3):  # a device that proves its name is told that its key is unknown, shows it, and proves it
        fleet.poll()
    crowd = Crowd(fleet, INVENTED)

    publish(server, "2.0", two.signed, percent=1)
    good = Play(fleet, crowd, one, two, one)
    for count in (DEVICES // 2, DEVICES):
        meant = reach(server, fleet, count)
        good.step()
        assert {node.mac for node in good.took} == meant
    assert not halted(server)
    rows = {row["device"]: row for row in devices_seen(server)}
    for node in fleet.nodes:
        row = rows.pop(f"mac:{node.mac}")
        assert (node.running, node.downloads) == (two, ["2.0"])
        assert (row["running"], row["state"], row["evidence"]) == ("2.0", "updated", "known")
        assert row["address"] == node.address
    others = {f"unproven:{node.mac}" for node in fleet.nodes if isinstance(node, ProvingNode)}
    assert rows.keys() == {*others, *(f"mac:{mac(number, '02:00:00')}" for number in range(INVENTED))}
    assert {row["evidence"] for row in rows.values()} == {"newcomer"}
    told = metrics(server).splitlines()
    for evidence, count in (("proven", 0), ("known", DEVICES), ("newcomer", INVENTED + PROVING)):
        assert f'otaseal_devices{{evidence="{evidence}"}} {count}' in told

    publish(server, "3.0", three.signed, percent=1)
    meant = reach(server, fleet, FIRST_GROUP)
    for node in fleet.nodes:
        node.fails = True
    crowd.first += INVENTED  # those of before are known by now, and no newcomers
    bad = Play(fleet, crowd, two, three, one)
    bad.step()
    until(lambda: halted(server), f"not halted within {SECONDS} seconds")
    fleet.poll()
    assert {node.mac for node in bad.took} == meant
    assert set(crowd.heard) == {200, 304}


def test_where_proof_is_required_a_crowd_gets_no_firmware(start_server: StartServer) -> None:
    """Nor with keys of its own, or with what a device said before; who proves its name gets it."""
    server = start_server()
    one, two = images = tuple(release(server.world, seed, 4_000) for seed in (1, 2))
    fleet = Fleet.of(server, images, 0)
    fleet.nodes += [ProvingNode.create(number, one) for number in range(PROVING)]
    publish(server, "1.0", one.signed)
    for _ in range(3):
        fleet.poll()
    assert server.stop() == 0
    fleet.server = start_server("--require-proof")
    publish(fleet.server, "2.0", two.signed)
    crowd = Crowd(fleet, INVENTED)
    Play(fleet, crowd, one, two, one).step()
    assert [(node.running, node.downloads) for node in fleet.nodes] == [(two, ["2.0"])] * PROVING
    assert set(crowd.heard) == {304, 403}
