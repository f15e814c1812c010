"""A database that does not answer as it should: what was not safe is said not to be, and nobody waits for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from otaseal.errors import SystemFaultError
from otaseal.store.postgresql import database as databases
from otaseal.store.postgresql.database import Database
from support.postgresql import Cluster

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
