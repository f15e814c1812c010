"""Two servers, HAProxy, PostgreSQL and its standby as five machines of a network, and what can happen to each.

    with cluster.running(world) as five:
        five.servers["a"].kill()
        five.network.cut("b", "db1")
        five.promote()

Machines are `a`, `b`, `front`, `db1` (primary at the start) and `db2`. Devices and operators ask `five.front.address`,
at DEVICES and OPERATORS. All of it is on this machine, so that tests and bench can look at logs and processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import psycopg

from otaseal.client.client import Client
from support import haproxy, namespaces, postgresql
from support.command import TOOLS
from support.namespaces import Network, entered
from support.postgresql import Cluster
from support.servers import PRODUCT, SECONDS, World, until
from support.serving import serve

DEVICES, OPERATORS, DATABASE = 8443, 8444, 5432
DISK = 256 * 1024 * 1024
"""Bytes for the data of each database."""
FEW_CONNECTIONS = 40
SERVERS, DATABASES = ("a", "b"), ("db1", "db2")
ENVIRONMENT = {"PYTHONPATH": str(TOOLS), "PATH": "/usr/sbin:/usr/bin:/bin"}


@dataclass
class Server:
    """One `otaseal serve`, which may be dead; `start` begins it with the same command."""

    command: Sequence[str | Path]
    namespace: str
    log: Path
    process: subprocess.Popen[str] | None = None
    tools: Path = TOOLS
    """Where its otaseal is."""

    def start(self) -> None:
        """Start it, and return when it says that it is ready; its log goes on behind what is there."""
        prefix = entered(self.namespace)
        environment = ENVIRONMENT | {"PYTHONPATH": str(self.tools)}
        with self.log.open("a") as errors:
            self.process, _ = serve(
                *self.command, log=self.log, environment=environment, errors=errors.fileno(), prefix=prefix
            )

    def signal(self, number: int) -> None:
        """Send it a signal: SIGSTOP and SIGCONT, too."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as the loss of its machine does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(SECONDS)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def stop(self) -> int:
        """End it as a service manager does, and return its exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(SECONDS)

    def lines(self) -> list[str]:
        """Return what its log says, since its first start."""
        return self.log.read_text().splitlines()


@dataclass
class Front:
    """HAProxy as it is shipped."""

    network: Network
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    proxy: haproxy.Proxy | None = None

    @property
    def address(self) -> str:
        """Where devices and operators connect."""
        return self.network.address("front")

    def start(self) -> None:
        """Start it, and return when it listens."""
        environment = {f"OTASEAL_SERVER_{name.upper()}": self.network.address(name) for name in SERVERS}
        environment |= {"OTASEAL_BIND": self.address, "OTASEAL_OPERATORS_BIND": self.address}
        prefix = entered(self.network.namespace("front"))
        run = haproxy.running(haproxy.SHIPPED, (self.address, DEVICES), environment, prefix)
        self.proxy = self._stack.enter_context(run)

    def signal(self, number: int) -> None:
        """Send a signal to its master and its worker."""
        assert self.proxy is not None
        main = self.proxy.process.pid
        for process in (*_children(main), main):
            os.kill(process, number)

    def kill(self) -> None:
        """End it at once, with all connections."""
        if self.proxy is not None:
            self.signal(signal.SIGKILL)
            self.proxy.process.wait(SECONDS)
            until(lambda: not haproxy.listens(self.address, DEVICES), "its worker does not end")
        self._stack.close()
        self.proxy = None


@dataclass
class Five:
    """What runs: a name of a machine stands for what runs there."""

    world: World
    network: Network
    folder: Path
    databases: dict[str, Cluster]
    primary: str = "db1"
    servers: dict[str, Server] = field(default_factory=dict)
    front: Front = field(init=False)
    token: str = field(repr=False, default="")

    def __post_init__(self) -> None:
        self.front = Front(self.network)

    @property
    def url(self) -> str:
        """The database as servers name it: both machines, of which that is asked which can be written."""
        hosts = ",".join(f"{cluster.address}:{DATABASE}" for cluster in self.databases.values())
        return f"postgresql://otaseal@{hosts}/otaseal?target_session_attrs=read-write"

    def operator(self) -> Client:
        """Return a client of the operators' port, by a token, through HAProxy."""
        return Client(f"https://{self.front.address}:{OPERATORS}", self.token, self.world.ca)

    def connect(self, machine: str = "") -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection to a database, the primary's unless another one is named."""
        return psycopg.connect(self.databases[machine or self.primary].url("otaseal"), autocommit=True)

    @property
    def standby(self) -> str:
        """The name of the database that is not the primary."""
        return next(name for name in DATABASES if name != self.primary)

    def in_touch(self, since: float) -> bool:
        """Return whether both servers have seen the database since a time."""
        with contextlib.suppress(psycopg.OperationalError), self.connect() as connection:
            seen = connection.execute("SELECT count(*) FROM servers WHERE at > to_timestamp(%s)", (since,))
            return seen.fetchone() == (len(SERVERS),)
        return False

    def kill_primary(self) -> None:
        """End all processes of the primary at once."""
        self.databases[self.primary].signal(signal.SIGKILL)

    def promote(self) -> None:
        """Make the standby the primary, which waits for no other from then on."""
        self.primary = self.standby
        new = self.databases[self.primary]
        new.configure(synchronous_standby_names="")
        new.promote()
        new.reload()

    def rejoin(self) -> None:
        """Make the other database anew, as the synchronous standby of the primary."""
        name = self.standby
        place, primary = self.databases[name], self.databases[self.primary]
        place.end()
        shutil.rmtree(place.data)
        primary.standby(name, place)
        primary.configure(synchronous_standby_names=name)
        primary.reload()

    def fill_disk(self, machine: str = "") -> Path:
        """Fill the disk of a database, and return the file that does; removing it makes room again."""
        filler = self.databases[machine or self.primary].folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass
        return filler

    @contextlib.contextmanager
    def no_connections(self) -> Iterator[int]:
        """Take all connections that the primary has left, and yield how many those were."""
        with contextlib.ExitStack() as stack:
            count = 0
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(self.connect())
                    count += 1
            yield count

    @contextlib.contextmanager
    def blocked_writers(self, table: str = "changes") -> Iterator[None]:
        """Let every transaction that touches a table wait, so that the servers' pools run dry."""
        with self.connect() as connection, connection.transaction():
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield

    def add_servers(self, *options: str | Path, stores: Mapping[str, Path] | None = None) -> None:
        """Start both servers on the database, or each on a store of its own, and HAProxy before them."""
        chain = self.chain()
        product = f"{PRODUCT}={self.world.folder / 'signing.pub'}"
        for name in SERVERS:
            address = self.network.address(name)
            location = self.url if stores is None else stores[name]
            command = ("--store", location, "--cert", chain, "--key", chain.with_name("key.pem"), "--product", product)
            ports = ("--listen", f"{address}:{DEVICES}", "--operator-listen", f"{address}:{OPERATORS}")
            named = ("--proxy-protocol-from", self.front.address)
            self.servers[name] = Server(
                (*command, *ports, *named, *options), self.network.namespace(name), self.folder / f"{name}.log"
            )
            self.servers[name].start()
        self.front.start()
        if stores is None:
            self.token = self._new_token()

    def _new_token(self) -> str:
        command = [sys.executable, "-m", "otaseal", "token", "new", "tests", "--store", self.url]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout.strip()

    def chain(self) -> Path:
        """Return the certificate of the servers, for HAProxy's address."""
        folder = self.world.pki.directory / "issued" / "server" / f"front{self.network.number}"
        if not folder.exists():
            names = ["localhost", self.front.address]
            self.world.pki.issue_server(folder.name, names, now=datetime.now(timezone.utc))
        return folder / "chain.pem"

    def end(self) -> None:
        """End everything at once."""
        self.front.kill()
        for server in self.servers.values():
            server.kill()
        for cluster in self.databases.values():
            cluster.end()


@contextlib.contextmanager
def running(world: World, **settings: str) -> Iterator[Five]:
    """Run a primary with its synchronous standby, each on a small disk of its own; `add_servers` runs the rest."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(namespaces.network("front", *SERVERS, *DATABASES))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otaseal-cluster-")))
        databases = {}
        for name in DATABASES:
            disk = stack.enter_context(_disk())
            databases[name] = Cluster(disk, DATABASE, network.address(name), network.namespace(name))
        five = Five(world, network, folder, databases)
        stack.callback(five.end)
        primary, standby = databases.values()
        primary.make(max_connections=str(FEW_CONNECTIONS), wal_keep_size="64MB", max_wal_size="64MB", **settings)
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE otaseal")
        primary.standby("db2", standby)
        primary.configure(synchronous_standby_names="db2")
        primary.reload()
        yield five


@contextlib.contextmanager
def _disk() -> Iterator[Path]:
    """Make a disk of DISK bytes, in memory, for a database."""
    folder = postgresql.new_folder()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "otaseal", str(folder)], check=True)
    try:
        shutil.chown(folder, postgresql.ACCOUNT)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def _children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    return [int(number) for number in found.stdout.split()]
