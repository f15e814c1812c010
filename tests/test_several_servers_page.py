"""What docs/several-servers.md says to do with the database, done on PostgreSQL as it is here."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from support.haproxy import free_port
from support.manual import sections
from support.postgresql import Cluster, as_account, new_folder, programs
from support.servers import SECONDS, until

PAGE = Path(__file__).resolve().parent.parent / "docs" / "several-servers.md"
SECTIONS = sections(PAGE)
ROLE = "updates"
"""In place of `otaseal`, which is the superuser in the clusters of these tests."""


@dataclass
class Pair:
    """The machines of the page, each a cluster on this one."""

    db1: Cluster
    db2: Cluster

    def follow(self, title: str, number: int) -> str:
        """Run a block of a section where it says that it is to be run, and return what it printed."""
        text = [text for kind, text in SECTIONS[title].blocks if kind == "sh"][number]
        where = re.match(r"# on (\w+)\n", text)
        assert where, text
        here = getattr(self, where[1])
        text = text.replace("host=10.0.0.21", f"host=127.0.0.1 port={self.db1.port}").replace("otaseal", ROLE)
        environment = {"PGHOST": here.address, "PGPORT": str(here.port), "PGUSER": "otaseal", "PGDATA": str(here.data)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            env={"PATH": f"{programs()}:/usr/bin:/bin", **environment}, cwd="/", capture_output=True, text=True,
            timeout=SECONDS, check=False, **as_account(),
        )  # fmt: skip
        assert done.returncode == 0, text + done.stderr
        return done.stdout


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(Cluster.create(fsync="off"), Cluster(new_folder(), free_port("127.0.0.1")))
    yield made
    made.db1.remove()
    made.db2.remove()


def test_the_standby_takes_over_as_the_page_says(pair: Pair) -> None:
    pair.follow("The database", 0)
    pair.db1.stop()
    pair.db1.start()
    pair.follow("The database", 1)
    pair.db2.configure()
    pair.db2.start()
    until(lambda: "db2 | streaming | sync" in re.sub(" +", " ", pair.follow("The database", 2)), "it does not follow")
    with psycopg.connect(pair.db1.url(ROLE), autocommit=True) as connection:
        connection.execute("CREATE TABLE acknowledged ()")
    pair.db1.stop("immediate")
    pair.follow("When the primary fails", 0)
    both = f"postgresql://otaseal@127.0.0.1:{pair.db1.port},127.0.0.1:{pair.db2.port}/{ROLE}"
    with psycopg.connect(f"{both}?target_session_attrs=read-write", autocommit=True) as connection:
        connection.execute("INSERT INTO acknowledged DEFAULT VALUES")  # and waits for nobody


def test_a_primary_goes_on_without_its_standby(pair: Pair) -> None:
    pair.db1.configure(synchronous_standby_names="db2")
    pair.db1.reload()
    pair.follow("When the primary fails", 1)
    with psycopg.connect(pair.db1.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE acknowledged ()")


def test_the_page_has_no_block_that_is_not_run() -> None:
    counts = {title: sum(kind == "sh" for kind, _ in section.blocks) for title, section in SECTIONS.items()}
    assert counts == {"The database": 3, "When the primary fails": 2}
