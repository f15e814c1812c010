"""Two servers on one database: what one is told, the other does; what one has seen, the other counts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import OtasealError
from otaseal.protocol.decisions import LOOP_LIMIT
from otaseal.release.waves import Wave
from otaseal.store import copying
from otaseal.store.backend import FileBackend, open_backend
from otaseal.store.store import Store
from support import postgresql
from support.postgresql import Cluster
from support.servers import (
    Firmware,
    Reply,
    Running,
    World,
    as_device,
    devices_seen,
    operator,
    publish,
    start,
    talk,
    until,
)

pytestmark = pytest.mark.proof

MACS = [f"5C:CF:7F:00:00:{number:02X}" for number in range(20)]
STABLE = "/v1/products/blink/channels/stable"
ROLLOUT = f"{STABLE}/rollout"
Pair = tuple[Running, Running]


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """Return a cluster that may be stopped."""
    cluster = Cluster.create(**postgresql.FAST)
    yield cluster
    cluster.remove()


@pytest.fixture
def url(own: Cluster) -> str:
    """Return the address of an empty database."""
    return own.database()


@pytest.fixture
def pair(url: str, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> Iterator[Pair]:
    world = World.create(tmp_path, rsa_key)
    first = start(world, tmp_path / "a", location=_made(url))
    second = start(world, tmp_path / "b", location=url, token=first.token)
    yield first, second
    for running in (first, second):
        running.end()


def _made(url: str) -> str:
    open_backend(url, create=True).close()
    return url


def ask(server: Running, running: Firmware, mac: str = MACS[0]) -> Reply:
    return talk(server.world.context(), server.port, as_device("/firmware.bin.signed", running, mac))


def let_nobody_judge(url: str) -> None:
    """Give no server a turn to judge rollouts within the next hour."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE judged SET at = now() + interval '1 hour'")


def is_loop(reply: Reply) -> bool:
    return reply.status == 304 and reply.headers.get("x-otaseal-reason") == "loop"


def test_what_one_is_told_the_other_does_and_counts(pair: Pair) -> None:
    first, second = pair
    old, new = first.world.firmware(1), first.world.firmware(2)
    publish(first, "1.0", old.signed)
    assert ask(second, old).status == 304, "it was told before it was acknowledged"
    publish(second, "1.1", new.signed, percent=0)
    assert ask(first, old).status == 304
    operator(second).post(f"{STABLE}/percent", {"percent": 100})
    for server in (first, second)[: LOOP_LIMIT - 1]:
        assert ask(server, old, MACS[1]).body == new.signed

    def deliveries(server: Running) -> list[int]:
        return [device["deliveries"] for device in devices_seen(server) if device["mac"] == MACS[1]]

    until(lambda: deliveries(first) == deliveries(second) == [2], "a delivery counts at both servers")
    for server in (first, second):
        until(lambda server=server: is_loop(ask(server, old, MACS[1])), "the loop is seen at both servers")  # type: ignore[misc]
    operator(first).post(f"{STABLE}/rollback", {})
    assert ask(second, old, MACS[2]).status == 304
    assert {device["mac"] for device in devices_seen(second)} == {MACS[0], MACS[1], MACS[2]}


def test_devices_are_served_while_the_database_is_away(own: Cluster, url: str, pair: Pair) -> None:
    first, second = pair
    old, new, next_one = (first.world.firmware(number) for number in (1, 2, 3))
    publish(first, "1.0", old.signed)
    publish(first, "1.1", new.signed)
    own.stop("immediate")
    try:
        for server in pair:
            server.logs("alarm", "cannot be used")
            assert ask(server, old, MACS[3]).body == new.signed
            assert ask(server, new, MACS[4]).status == 304
        until(lambda: "served from memory" in str(operator(first).get("/healthz")), "/healthz tells it")
        with pytest.raises(OtasealError, match=r"the database '.*' (gives no connection|cannot be used)"):
            publish(first, "1.2", next_one.signed)
        assert ask(second, old, MACS[5]).body == new.signed
        for server in pair:
            server.logs("rollout", "alarm", "the database")
    finally:
        own.start()
    let_nobody_judge(url)  # who has no turn, which may be for ever, is well again all the same
    for server in pair:
        until(lambda server=server: operator(server).get("/healthz") == {"status": "ok"}, "it is well again")  # type: ignore[misc]
    publish(first, "1.2", next_one.signed)
    assert ask(second, old, MACS[6]).body == next_one.signed
    until(
        lambda: {device["mac"] for device in devices_seen(second)} >= {MACS[3], MACS[4], MACS[5]},
        "what was noted meanwhile is written",
    )


def test_who_judges_is_killed_and_the_other_halts(pair: Pair) -> None:
    first, second = pair
    old, bad = first.world.firmware(1), first.world.firmware(2)
    publish(first, "1.0", old.signed)
    for mac in MACS:
        assert ask(first, old, mac).status == 304
    until(lambda: len(devices_seen(second)) == len(MACS), "both know the fleet")
    publish(first, "2.0", bad.signed, percent=99, max_failed=10)
    first.process.kill()
    given = [mac for mac in MACS if ask(second, old, mac).status == 200]
    assert len(given) > 10
    for mac in given:
        ask(second, old, mac)
    second.logs("halted", "2.0")
    channel = operator(second).get("/v1/products/blink")["channels"]["stable"]
    assert channel["halted"] is True
    assert ask(second, old, MACS[0]).status in (304, 403)
    first.process.wait()


def test_a_store_moves_into_a_database_while_devices_are_served(
    own: Cluster, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    world, url = World.create(tmp_path, rsa_key), own.database()
    before = start(world, tmp_path / "files")
    old, new = world.firmware(1), world.firmware(2)
    publish(before, "1.0", old.signed)
    assert ask(before, old).status == 304
    until(lambda: len(devices_seen(before)) == 1, "the device is known")
    answers: list[int] = []
    with FileBackend(Store.open(before.store)) as files, ThreadPoolExecutor(1) as pool:
        copied = pool.submit(copying.copy, files, url)
        while not copied.done():
            answers.append(ask(before, old).status)
    assert set(answers) == {304}
    assert copied.result().devices == 1
    after = start(world, tmp_path / "database", location=url, token=before.token)
    before.end()
    assert ask(after, old).status == 304
    assert [device["mac"] for device in devices_seen(after)] == [MACS[0]]
    publish(after, "1.1", new.signed)
    assert ask(after, old).body == new.signed
    after.end()


def test_one_of_two_begins_the_next_wave_and_both_give_it_out(pair: Pair) -> None:
    first, second = pair
    old, new = first.world.firmware(1), first.world.firmware(2)
    publish(first, "1.0", old.signed)
    for mac in MACS[:3]:
        assert ask(first, old, mac).status == 304
    waves = (Wave(devices=(f"mac:{MACS[0]}",)), Wave(devices=(f"mac:{MACS[1]}",)), Wave(percent=100))
    publish(second, "2.0", new.signed, waves=waves)
    for number, mac in enumerate(MACS[:3], 1):
        until(lambda wave=number: operator(first).get(ROLLOUT)["waves"][wave - 1]["state"] == "running", "it began")
        later = [ask(server, old, other).status for server in pair for other in MACS[number:3]]
        assert set(later) <= {304}
        assert ask(second, old, mac).status == 200
        assert ask(first, new, mac).status == 304

    def begun() -> list[str]:
        return [line for server in pair for line in server.lines() if line.startswith("wave ")]

    until(lambda: len(begun()) >= 2, "both are in the log")
    assert sorted(line.partition(" wave=")[2][0] for line in begun()) == ["2", "3"], "each began once"
