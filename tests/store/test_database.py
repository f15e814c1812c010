"""A database that does not answer as it should: what was not safe is said not to be, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from otaseal.errors import SystemFaultError
from otaseal.release.channels import Pointer
from otaseal.store.postgresql import database as databases
from otaseal.store.postgresql.backend import PostgresBackend
from otaseal.store.postgresql.database import Database
from support.filled_store import fill
from support.postgresql import Cluster
from support.servers import until

INSERT = "INSERT INTO audit (line) VALUES (?)"


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """Return a primary and its synchronous standby."""
    primary = Cluster.create(fsync="off")
    standby = primary.standby("db2")
    primary.configure(synchronous_standby_names="db2")
    primary.run("pg_ctl", "-D", primary.data, "reload")
    yield primary, standby
    primary.signal(signal.SIGCONT)
    for cluster in (standby, primary):
        cluster.remove()


@pytest.mark.proof
def test_what_hangs_is_ended_and_what_no_standby_has_is_not_safe(
    clusters: tuple[Cluster, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = clusters
    for name, seconds in (("COMMIT_SECONDS", 1.0), ("DEADLINE_SECONDS", 2.0), ("POOL_SECONDS", 2.0)):
        monkeypatch.setattr(databases, name, seconds)
    with Database(primary.database(), "test") as database:
        database.open(create=True)
        with database.transaction() as transaction:
            transaction.execute(INSERT, ("safe",))
        standby.stop()
        with (
            pytest.raises(SystemFaultError, match="has it, and no standby may have"),
            database.transaction() as transaction,
        ):
            transaction.execute(INSERT, ("on one machine",))
        with database.transaction(durable=False) as transaction:
            transaction.execute(INSERT, ("telemetry",))
        primary.signal(signal.SIGSTOP)
        with pytest.raises(SystemFaultError, match=r"gives no connection|cannot be used"):
            database.query("SELECT 1")
        primary.signal(signal.SIGCONT)
        lines = [line for (line,) in database.query("SELECT line FROM audit ORDER BY number")]
        assert lines == ["safe", "on one machine", "telemetry"]


def test_a_commit_that_is_cut_off_is_not_said_to_have_failed(clusters: tuple[Cluster, Cluster]) -> None:
    primary, _ = clusters
    waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    def write(database: Database, then: str = "") -> None:
        with database.transaction() as transaction:
            transaction.execute(f"INSERT INTO audit (line) VALUES ('may be there'){then}")

    with waiting_for(primary, ""), Database(primary.database(), "test") as database:
        database.open(create=True)
        with (
            ThreadPoolExecutor(1) as pool,
            psycopg.connect(primary.url(), autocommit=True) as connection,
            waiting_for(primary, "nobody"),
        ):
            written = pool.submit(write, database)
            until(lambda: connection.execute(waiting).rowcount == 1, "nothing waits for a standby")
            with pytest.raises(SystemFaultError, match=r"it is not known whether the database '.*' has the change"):
                written.result()
        with pytest.raises(SystemFaultError, match="cannot be used"):
            write(database, "; SELECT pg_terminate_backend(pg_backend_pid())")
        assert database.query("SELECT line FROM audit") == [("may be there",)]


def test_a_change_that_is_made_is_not_said_to_have_failed_when_the_database_goes_away(
    clusters: tuple[Cluster, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, _ = clusters
    monkeypatch.setattr(databases, "POOL_SECONDS", 1.0)
    behind = "INSERT INTO servers VALUES ('other', 0, clock_timestamp() + interval '1 minute')"
    with waiting_for(primary, ""), PostgresBackend(primary.database(), "test", create=True, upgrade=False) as backend:
        store = fill(backend.store)
        with backend.secrets.transaction() as transaction:
            transaction.execute(behind)
        with ThreadPoolExecutor(1) as pool:
            pointed = pool.submit(store.point, "blink", "stable", Pointer("2.0.0", 0), expected=2)
            until(lambda: "2.0.0" in str(store.current("blink", "stable")), "the channel does not change")
            primary.stop("immediate")
            try:
                with pytest.raises(SystemFaultError, match="channel 'stable' is changed, and not every server may"):
                    pointed.result()
            finally:
                primary.start()


@contextlib.contextmanager
def waiting_for(primary: Cluster, standby: str) -> Iterator[None]:
    """Let what is committed wait for a standby of that name, "" for none."""
    _configure(primary, standby)
    yield
    _configure(primary, "")


def _configure(primary: Cluster, standby: str) -> None:
    primary.configure(synchronous_standby_names=standby)
    primary.reload()
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        shown = "SHOW synchronous_standby_names"
        until(lambda: connection.execute(shown).fetchone() == (standby,), "it is not configured")
