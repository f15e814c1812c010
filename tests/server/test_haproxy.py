"""Two servers behind the real HAProxy as it is shipped: sessions, failures, real addresses, operators."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otaseal.client.client import Client
from otaseal.errors import OtasealError
from otaseal.pki.profile import Role
from support import haproxy
from support.servers import SECONDS, Running, World, as_device, get, publish, start, talk, until

pytestmark = pytest.mark.proof

CUT = "5C:CF:7F:00:03:FF"
PATH = "/blink/firmware.bin.signed"
FRONT, BEHIND = "127.0.0.1", {"a": "127.0.0.11", "b": "127.0.0.12"}
TIMES, SIZE = 12, 900_000


@dataclass
class Pair:
    """Servers a and b with HAProxy in front of both; all have the same two ports, each at its own address."""

    world: World
    port: int
    operators: int
    servers: dict[str, Running]
    front: haproxy.Proxy

    def resumed(self, session: Path, *, save: bool) -> bool:
        """Connect with openssl, over TLS 1.2 as devices do; return whether the session in the file was resumed."""
        command = ["openssl", "s_client", "-connect", f"{FRONT}:{self.port}", "-tls1_2", "-no_ticket", "-ign_eof"]
        command += ["-CAfile", str(self.world.ca), "-sess_out" if save else "-sess_in", str(session)]
        request = get("/n")
        said = subprocess.run(command, input=request, capture_output=True, timeout=SECONDS, check=False)
        assert b"HTTP/1.1 404" in said.stdout, said.stdout + said.stderr
        match = re.search(rb"^(New|Reused), ", said.stdout, re.MULTILINE)
        assert match
        return match[1] == b"Reused"

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of both logs, with the name of the server."""
        return [(name, line) for name, server in self.servers.items() for line in server.lines()]

    def poll(self, mac: str, source: str = "127.0.0.1") -> str:
        """Poll as a device that is up to date, and return which server has answered, and what it saw."""
        firmware = self.world.firmware(1, size=SIZE)
        assert talk(self.world.context(), self.port, as_device(PATH, firmware, mac), source).status == 304
        found: list[str] = []

        def answered() -> bool:
            for name, line in self.lines():
                if mac in line and (match := re.search(r" address=(\S+)", line)):
                    found.append(f"{name} {match[1]}")
            return bool(found)

        until(answered, f"no server has answered {mac}")
        assert len(found) == 1
        return found[0]


@contextlib.contextmanager
def running(world: World, folder: Path, *options: str | Path) -> Iterator[Pair]:
    """Run two servers with one release, and stores of the same content, and HAProxy before them."""
    first = start(world, folder / "first", *options)
    publish(first, "1.0", world.firmware(1, size=SIZE).signed)
    first.end()
    port = haproxy.free_port(FRONT, *BEHIND.values())
    operators = haproxy.free_port(FRONT, *BEHIND.values())
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, address in BEHIND.items():
            store = Path(shutil.copytree(first.store, folder / name))
            ports = ("--listen", f"{address}:{port}", "--operator-listen", f"{address}:{operators}")
            named = ("--proxy-protocol-from", FRONT)
            servers[name] = start(world, store, *ports, *named, *options, token=first.token)
            stack.callback(servers[name].end)
        environment = {f"OTASEAL_SERVER_{name.upper()}": address for name, address in BEHIND.items()}
        environment |= {"OTASEAL_BIND": FRONT, "OTASEAL_DEVICES": str(port), "OTASEAL_OPERATORS": str(operators)}
        environment["OTASEAL_PEERS"] = f"{FRONT}:{haproxy.free_port(FRONT)}"
        front = stack.enter_context(haproxy.running(haproxy.SHIPPED, (FRONT, port), environment))
        yield Pair(world, port, operators, servers, front)


@pytest.fixture(scope="module")
def pair(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    authority = world.pki.directory / "operator-ca" / "certificate.pem"
    with running(world, tmp_path_factory.mktemp("pair"), "--operator-ca", authority) as made:
        yield made


def test_devices_resume_their_sessions_in_whichever_order(pair: Pair, tmp_path: Path) -> None:
    sessions = [tmp_path / str(number) for number in range(TIMES)]
    assert [pair.resumed(session, save=True) for session in sessions] == [False] * TIMES
    # Not as they came: servers that take turns would have each device again, and nothing would have been learnt.
    order = [*sessions[::2], *sessions[1::2]]
    assert [pair.resumed(session, save=False) for session in order] == [True] * TIMES
    assert [pair.resumed(session, save=False) for session in reversed(sessions)] == [True] * TIMES


def test_both_servers_have_work_and_see_who_asks(pair: Pair) -> None:
    answered = [pair.poll(f"5C:CF:7F:00:01:{number:02X}", f"127.0.0.{20 + number}") for number in range(TIMES)]
    assert [one.split()[1] for one in answered] == [f"127.0.0.{20 + number}" for number in range(TIMES)]
    assert set(Counter(one.split()[0] for one in answered)) == {"a", "b"}


def test_what_lies_in_its_buffers_is_little(pair: Pair) -> None:
    """A device that loses its network half-way was not given the release: three times, and it would be a loop."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(SECONDS)
        raw.connect((FRONT, pair.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
        with pair.world.context().wrap_socket(raw, server_hostname="localhost") as connection:
            connection.sendall(as_device(PATH, pair.world.firmware(2), CUT))
            taken = 0
            while taken < SIZE // 2:
                taken += len(connection.recv(4096))
            for number in range(TIMES):  # time in which all of it could be counted as delivered
                pair.poll(f"5C:CF:7F:00:03:{number:02X}")
    until(lambda: any(CUT in line for _, line in pair.lines()), "the download does not end")
    assert [line for _, line in pair.lines() if CUT in line and "cut=True" in line], "it is counted as delivered"


def test_an_operators_certificate_reaches_the_server(pair: Pair) -> None:
    world = pair.world
    folder = world.client(Role.OPERATOR, "through-haproxy")
    url = f"https://localhost:{pair.operators}"
    own = Client(url, None, world.ca, (folder / "chain.pem", folder / "key.pem"))
    assert own.get("/v1/products") == {"products": ["blink"]}
    with pytest.raises(OtasealError, match="no valid token"):
        Client(url, None, world.ca).get("/v1/products")
    assert Client(url, pair.servers["a"].token, world.ca).get("/v1/products") == {"products": ["blink"]}


def test_haproxy_is_not_root(pair: Pair) -> None:
    (worker,) = pair.front.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    assert re.search(r"^Uid:\t(?!0\t)(\d+)\t\1\t\1\t", status, re.MULTILINE), status


def test_who_speaks_no_tls_gets_no_further(pair: Pair) -> None:
    with socket.create_connection((FRONT, pair.port), SECONDS) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert raw.recv(1) == b""


def test_a_reload_of_haproxy_keeps_them(pair: Pair, tmp_path: Path) -> None:
    sessions = [tmp_path / str(number) for number in range(TIMES)]
    assert [pair.resumed(session, save=True) for session in sessions] == [False] * TIMES
    until(pair.front.teaches, "HAProxy still waits for another one to tell it sessions")
    pair.front.reload()
    until(lambda: pair.front.ask("@1 show table devices").count("key=") >= TIMES, "the new process knows no sessions")
    assert [pair.resumed(session, save=False) for session in (*sessions[::2], *sessions[1::2])] == [True] * TIMES


def test_the_devices_of_a_server_that_is_killed_go_to_the_other(world: World, tmp_path: Path) -> None:
    with running(world, tmp_path) as pair:
        sessions = [tmp_path / str(number) for number in range(TIMES)]
        for session in sessions:
            pair.resumed(session, save=True)
        lost = pair.servers["a"]
        lost.process.kill()
        lost.process.wait(SECONDS)
        again = [pair.resumed(session, save=False) for session in sessions]  # at once: no check has found out yet
        assert 0 < again.count(False) < TIMES, "those of the other server only are resumed"
        assert {pair.poll(f"5C:CF:7F:00:02:{number:02X}").split()[0] for number in range(3)} == {"b"}


def test_no_poll_fails_while_a_server_ends(world: World, tmp_path: Path) -> None:
    with running(world, tmp_path) as pair:
        ended = threading.Event()

        def end() -> None:
            pair.servers["a"].end()
            ended.set()

        ending = threading.Thread(target=end)
        ending.start()
        count = 0
        while not ended.is_set() or count < TIMES:
            pair.poll(f"5C:CF:7F:00:04:{count:02X}")
            count += 1
        ending.join()
