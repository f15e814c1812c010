"""The scripts of the compose file, on PostgreSQL as it is here."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from support.postgresql import Cluster, as_account, new_folder, programs
from support.servers import SECONDS, until

COMPOSE = Path(__file__).resolve().parents[3] / "packaging" / "compose"


@pytest.fixture
def primary() -> Iterator[Cluster]:
    made = Cluster.create(fsync="off")
    yield made
    made.remove()


@contextlib.contextmanager
def started(script: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script as the image does: not as root, and with PostgreSQL's programs."""
    path = f"{script.parent}:{programs()}:/usr/bin:/bin"
    process = subprocess.Popen(
        ["bash", str(script)], env={"PATH": path, **environment}, cwd="/", stderr=subprocess.PIPE, **as_account()
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)
        process.communicate(timeout=SECONDS)


def test_the_second_database_follows_the_first_and_is_waited_for(primary: Cluster) -> None:
    folder = new_folder()
    for script in COMPOSE.glob("*.sh"):
        text = script.read_text().replace("host=db1", f"host={primary.address} port={primary.port}")
        (folder / script.name).write_text(text)
    entry = folder / "docker-entrypoint.sh"  # of the image, which makes no cluster where there is one
    entry.write_text(f'#!/bin/sh\nexec "$@" -k {folder} -c listen_addresses=\n')
    entry.chmod(0o755)
    try:
        environment = {"PGDATA": str(primary.data), "POSTGRES_USER": "otaseal", "PGHOST": primary.address}
        with started(folder / "primary.sh", {**environment, "PGPORT": str(primary.port)}) as made:
            assert made.wait(SECONDS) == 0
        assert (primary.data / "pg_hba.conf").read_text().endswith("host replication all samenet scram-sha-256\n")
        primary.stop()
        primary.start()
        with started(folder / "standby.sh", {"PGDATA": str(folder / "data")}) as standby:
            with psycopg.connect(primary.url(), autocommit=True) as connection:
                asked = "SELECT application_name, sync_state FROM pg_stat_replication"
                until(lambda: connection.execute(asked).fetchall() == [("db2", "sync")], "nothing follows")
            assert standby.poll() is None
    finally:
        shutil.rmtree(folder)
