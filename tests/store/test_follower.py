"""What one server writes, the others have in memory a moment later, whatever is lost on the way; and counts add up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import psycopg
import pytest

from otaseal.release.channels import Pointer
from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.postgresql.database import Database
from otaseal.store.postgresql.devices import PostgresDevices
from otaseal.store.postgresql.documents import PostgresDocuments
from otaseal.store.postgresql.follower import Follower
from otaseal.store.store import Store
from support import postgresql
from support.filled_store import fill
from support.servers import until

OLD, NEW = "0" * 32, "1" * 32
FIRST, ASKING = Sighting("blink", "stable", "mac:A", OLD, "1.0", "A"), Asking("blink", "mac:A")

OTHERS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@dataclass
class Server:
    """What a server has of the database."""

    database: Database
    store: Store
    devices: PostgresDevices
    follower: Follower


@contextlib.contextmanager
def serving(url: str, name: str) -> Iterator[Server]:
    with Database(url, name) as database:
        database.open(create=True)
        documents, devices = PostgresDocuments(database), PostgresDevices(database)
        follower = Follower(database, print)
        documents.follow(follower)
        devices.follow(follower)
        follower.start()
        yield Server(database, Store(documents), devices, follower)
        follower.stop()


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    url = postgresql.cluster().database()
    with serving(url, "a") as first, serving(url, "b") as second:
        yield first, second


def test_what_is_changed_is_known_to_the_other_when_it_is_acknowledged(pair: tuple[Server, Server]) -> None:
    first, second = pair
    fill(first.store)
    assert second.store.current("blink", "stable") == first.store.current("blink", "stable")
    second.store.point("blink", "stable", Pointer("2.0.0"), expected=2)
    assert first.store.current("blink", "stable") == second.store.current("blink", "stable")
    with pytest.raises(Exception, match="has generation 3, not 2"):
        first.store.point("blink", "stable", Pointer("1.0.0"), expected=2)


def test_a_lost_notification_is_made_up_for(pair: tuple[Server, Server]) -> None:
    first, second = pair
    with psycopg.connect(first.database.url, autocommit=True) as other:
        other.execute("INSERT INTO documents VALUES ('products/blink/keys/x.pub', 'key', now())")
        other.execute(
            "INSERT INTO changes (server, kind, names) VALUES ('c', 'document', '{products/blink/keys/x.pub}')"
        )
    for server in (first, second):
        until(lambda server=server: server.store.keys("blink") == {"x": b"key"}, "it is found without a word")  # type: ignore[misc]


def test_who_was_cut_off_loads_everything_anew(pair: tuple[Server, Server]) -> None:
    first, second = pair
    fill(first.store)
    with psycopg.connect(first.database.url, autocommit=True) as other:
        other.execute("DELETE FROM changes")  # as if a standby had been promoted that did not have them
        other.execute("UPDATE documents SET data = '{}' WHERE name LIKE '%/stable.json'")
        other.execute(OTHERS)
    name = "products/blink/channels/stable.json"
    for server in (first, second):
        until(lambda server=server: server.store.reader.read(name, name, 999) == b"{}", "it is read anew")  # type: ignore[misc]


@pytest.mark.parametrize("order", sorted(set(permutations("aabb"))))
def test_deliveries_at_two_servers_add_up(order: tuple[str, ...]) -> None:
    """Whatever each of them believes to know when it writes."""
    url = postgresql.cluster().database()
    with Database(url, "a") as one, Database(url, "b") as two:
        one.open(create=True)
        two.open()
        servers = {"a": PostgresDevices(one), "b": PostgresDevices(two)}
        with servers["a"].batch() as rows:
            rows.see(FIRST, 1.0)
            rows.offer(ASKING, "2.0", NEW, 2.0)
        for devices in servers.values():
            devices.load()
        for number, name in enumerate(order):
            with servers[name].batch([("blink", "mac:A")]) as rows:
                rows.deliver(ASKING, "2.0", 3.0 + number)
        row = servers["a"].get("blink", "mac:A")
        assert row is not None
        assert (row.deliveries, row.delivered_at) == (4, 6.0)
        assert servers[order[-1]].reader().get("blink", "mac:A") == row
        with servers["b"].batch() as rows:
            rows.touch("blink", "mac:A", 99.0, None)
        row = servers["a"].get("blink", "mac:A")
        assert row is not None
        assert (row.deliveries, row.last_seen) == (4, 99.0), "a server that knows less overwrites nothing"


def test_a_forgotten_device_is_forgotten_everywhere(pair: tuple[Server, Server]) -> None:
    first, second = pair
    reader = second.devices.reader()
    with first.devices.batch() as rows:
        rows.see(FIRST, 1.0)
    until(lambda: reader.get("blink", "mac:A") is not None, "it is known")
    before = reader.losses
    with first.devices.batch() as rows:
        rows.forget("blink", "mac:A")
    until(lambda: reader.get("blink", "mac:A") is None, "it is forgotten")
    assert reader.losses > before, "and whoever has it in a cache is told"
