"""The five machines on which failures are tried: that each failure happens, and ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support import cluster
from support.cluster import DEVICES, Five
from support.haproxy import listens
from support.namespaces import entered
from support.servers import SECONDS, World, as_device, publish, start, talk, until

pytestmark = pytest.mark.proof

PATH = "/blink/firmware.bin.signed"
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"


@pytest.fixture(scope="module")
def five(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Five]:
    """Return two servers with one release on stores of their own, HAProxy, and a database with its standby."""
    folder = tmp_path_factory.mktemp("five")
    with cluster.running(world) as made:
        first = start(world, folder / "first")
        publish(first, "1.0", world.firmware(1).signed)
        first.end()
        stores = {name: Path(shutil.copytree(first.store, folder / name)) for name in cluster.SERVERS}
        made.token = first.token
        made.add_servers(stores=stores)
        yield made


def reaches(five: Five, one: str, other: str, port: int) -> bool:
    command = [*entered(five.network.namespace(one)), "python3", "-c", REACH, five.network.address(other), str(port)]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode == 0


def poll(five: Five, number: int) -> int:
    request = as_device(PATH, five.world.firmware(1), f"5C:CF:7F:00:09:{number:02X}")
    return talk(five.world.context(), DEVICES, request, five.network.outside, five.front.address).status


def write(five: Five) -> None:
    with five.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS written (text text)")
        connection.execute("INSERT INTO written SELECT repeat('x', 100) FROM generate_series(1, 20000)")


def test_devices_are_served_and_are_who_they_are(five: Five) -> None:
    assert [poll(five, number) for number in range(4)] == [304] * 4
    own = f" address={five.network.outside}"
    for server in five.servers.values():
        until(lambda lines=server.lines: sum(line.endswith(own) for line in lines()) == 2, "their address is not there")
    assert five.operator().get("/v1/products") == {"products": ["blink"]}


def test_two_machines_are_cut_off_and_no_others(five: Five) -> None:
    five.network.cut("front", "a")
    assert not reaches(five, "front", "a", DEVICES)
    assert not reaches(five, "a", "front", DEVICES)
    assert reaches(five, "front", "b", DEVICES)
    assert reaches(five, "b", "a", DEVICES)
    five.network.heal("front", "a")
    assert reaches(five, "front", "a", DEVICES)


def test_a_killed_server_and_a_killed_haproxy_come_back(five: Five) -> None:
    five.servers["a"].kill()
    assert not reaches(five, "front", "a", DEVICES)
    assert poll(five, 10) == 304
    five.servers["a"].start()
    five.front.kill()
    assert not listens(five.front.address, DEVICES)
    five.front.start()
    assert poll(five, 11) == 304


def test_what_is_stopped_goes_on(five: Five) -> None:
    for machine in (five.servers["b"], five.front):
        machine.signal(signal.SIGSTOP)
        machine.signal(signal.SIGCONT)
    assert poll(five, 12) == 304


def test_the_database_has_a_synchronous_standby(five: Five) -> None:
    with five.connect() as connection:
        until(
            lambda: (
                connection.execute("SELECT application_name, sync_state FROM pg_stat_replication").fetchall()
                == [("db2", "sync")]
            ),
            "the standby does not follow",
        )
    write(five)


def test_the_database_is_out_of_room(five: Five) -> None:
    def writes() -> bool:
        try:
            write(five)
        except psycopg.Error:
            return False
        return True

    filler = five.fill_disk()
    until(lambda: not writes(), "there is room for all that is written")
    filler.unlink()
    until(writes, "it does not recover")


def test_the_database_is_out_of_connections(five: Five) -> None:
    with five.no_connections() as count:
        assert 0 < count <= cluster.FEW_CONNECTIONS
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            five.connect()
    five.connect().close()


def test_writers_wait(five: Five) -> None:
    write(five)
    with five.blocked_writers("written"), five.connect() as connection:
        connection.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("INSERT INTO written VALUES ('y')")


def test_the_standby_takes_over_with_all_that_was_committed(five: Five) -> None:
    write(five)
    with five.connect() as connection:
        before = connection.execute("SELECT count(*) FROM written").fetchone()
    five.kill_primary()
    five.promote()
    with psycopg.connect(five.url, autocommit=True) as connection:  # as servers find it
        assert connection.execute("SELECT count(*) FROM written").fetchone() == before
    five.rejoin()
    write(five)  # waits for the new standby
    with five.connect("db1") as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
