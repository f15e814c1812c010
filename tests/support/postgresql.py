"""A real PostgreSQL: one cluster for a run of tests, in memory where that can be, and a database for each test."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from support import namespaces, peers
from support.haproxy import free_port

ACCOUNT = "nobody"
"""PostgreSQL refuses to run as root."""
MEMORY = Path("/dev/shm")
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_numbers = count(1)


def programs() -> Path:
    """Return the folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    peers.require("PostgreSQL", bool(found), "postgresql")
    return found[-1].parent


@dataclass
class Cluster:
    """A cluster in `folder` that listens on a `port` of one address, in a network `namespace` if it has a name."""

    folder: Path
    port: int
    address: str = "127.0.0.1"
    namespace: str = ""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @classmethod
    def create(cls, **settings: str) -> Cluster:
        """Make and start a cluster with these settings."""
        cluster = cls(new_folder(), free_port("127.0.0.1"))
        cluster.make(**settings)
        return cluster

    def make(self, **settings: str) -> None:
        """Make and start it with these settings."""
        self.run("initdb", "-D", self.data, "-U", "otaseal", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        if self.namespace:
            with (self.data / "pg_hba.conf").open("a") as file:
                file.write("host all,replication all samenet trust\n")
        self.configure(**settings)
        self.start()

    def standby(self, name: str = "standby", place: Cluster | None = None) -> Cluster:
        """Make and start a standby of this one, which it takes part of `synchronous_standby_names` by its name."""
        other = place or Cluster(new_folder(), free_port("127.0.0.1"))
        source = f"host={self.address} port={self.port} user=otaseal application_name={name}"
        other.run("pg_basebackup", "-D", other.data, "-d", source, "-R", "-c", "fast", "--no-sync", "-X", "stream")
        other.configure()
        other.start()
        return other

    def configure(self, **settings: str) -> None:
        """Add settings, which hold from the next start or reload."""
        place = {"port": str(self.port), "listen_addresses": self.address, "unix_socket_directories": str(self.folder)}
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in {**place, **settings}.items())

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is what a crash does."""
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def reload(self) -> None:
        """Take the settings as they are now, as far as that is possible without a start."""
        self.run("pg_ctl", "-D", self.data, "reload")

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "-D", self.data, "-w", "promote")

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        (main, *_) = (self.data / "postmaster.pid").read_text().splitlines()
        children = subprocess.run(["pgrep", "-P", main], capture_output=True, text=True, check=False).stdout.split()
        for process in (main, *children):
            with contextlib.suppress(ProcessLookupError):  # they come and go
                os.kill(int(process), number)

    def end(self) -> None:
        """Stop it at once if it runs."""
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop", check=False)

    def remove(self) -> None:
        """Stop it if it runs, and remove it."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://otaseal@{self.address}:{self.port}/{database}"

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"store{next(_numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        return self.url(name)

    def run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        """Run one of PostgreSQL's programs, as somebody who is not root."""
        prefix, user = [], as_account()
        if self.namespace:  # which only root enters
            who = ("-S", str(pwd.getpwnam(ACCOUNT).pw_uid), "-G", str(_group()))
            prefix, user = [*namespaces.entered(self.namespace), *who], {}
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C", "TZ": "UTC"}
        done = subprocess.run(
            [*prefix, str(programs() / program), *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, cwd="/", env=environment, **user,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stderr


@cache
def cluster() -> Cluster:
    """Return the cluster of this process, which ends with it."""
    made = Cluster.create(**FAST, max_connections="200")
    atexit.register(made.remove)
    return made


def as_account() -> dict[str, Any]:
    """Return the arguments with which subprocess runs a program of PostgreSQL: as somebody who is not root."""
    return {"user": ACCOUNT, "group": _group(), "extra_groups": []} if os.geteuid() == 0 else {}


def new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="otaseal-pg-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam(ACCOUNT).pw_uid, -1)
    return folder


def _group() -> int:
    return pwd.getpwnam(ACCOUNT).pw_gid
