"""Several workers behind one port: sessions, loops, counters and certificates as with one, and ends that are clean."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.errors import ConfigError
from otaseal.pki.profile import Role
from otaseal.server import workers
from support.command import TOOLS
from support.servers import (
    SECONDS,
    Firmware,
    Running,
    StartServer,
    World,
    as_device,
    get,
    metrics,
    operator,
    parse_reply,
    publish,
    until,
)

PATH = "/blink/firmware.bin.signed"
NOW = datetime.now(timezone.utc)


@pytest.fixture
def pair(start_server: StartServer) -> Running:
    return start_server("--workers", "2")


def of(server: Running) -> list[int]:
    """Return the processes of the workers."""
    pid = server.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def poll(
    server: Running, context: ssl.SSLContext, request: bytes, session: ssl.SSLSession | None = None
) -> tuple[int, ssl.SSLSession | None, bool]:
    """Return the status, the session, and whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as connection,
    ):
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return parse_reply(received).status, connection.session, bool(connection.session_reused)


def as_chip(world: World, client: Path | None = None) -> ssl.SSLContext:
    """Return TLS as BearSSL speaks it: 1.2, sessions by id."""
    context = world.context(client)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def counted(server: Running, name: str) -> int:
    return sum(int(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\d+)$", metrics(server), re.M))


def answered_by(server: Running) -> set[str]:
    return {line.rpartition("worker=")[2] for line in server.lines() if line.startswith("device ")}


@contextlib.contextmanager
def alone(server: Running, worker: int) -> Iterator[None]:
    """Let the process `worker` take every connection: the other workers stand still meanwhile.

    What is handed to one of them waits for its end, and so does all that the first worker does for operators.
    """
    others = [pid for pid in of(server) if pid != worker]
    try:
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        for pid in others:
            until(lambda pid=pid: _state(pid) == "T", "it does not stand still")  # type: ignore[misc]
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str:
    """Return the letter of /proc: T stands still, Z is dead, as is who has no letter."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def sessions(server: Running, context: ssl.SSLContext, each: int = 1) -> list[ssl.SSLSession]:
    """Return new sessions of every worker in turn, `each` of them; nothing is written down for that."""
    made = []
    for worker in of(server):
        with alone(server, worker):
            for _ in range(each):
                status, session, resumed = poll(server, context, get("/nothing"))
                assert (status, resumed) == (404, False)
                assert session is not None
                made.append(session)
    return made


@contextlib.contextmanager
def hello(server: Running, context: ssl.SSLContext, session: ssl.SSLSession) -> Iterator[ssl.SSLSocket]:
    """Yield a connection that has asked for a session, and waits for the answer."""
    with (
        socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw,
        context.wrap_socket(
            raw, server_hostname="localhost", session=session, do_handshake_on_connect=False
        ) as connection,
    ):
        connection.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            connection.do_handshake()
        connection.settimeout(SECONDS)
        yield connection


def test_sessions_are_resumed_whichever_worker_takes_the_connection(pair: Running) -> None:
    firmware, context = pair.world.firmware(1), as_chip(pair.world)
    publish(pair, "1.0", firmware.signed)
    for worker, session in zip(of(pair), reversed(sessions(pair, context)), strict=True):
        with contextlib.ExitStack() as stack:
            with alone(pair, worker):
                connection = stack.enter_context(hello(pair, context, session))
                poll(pair, context, get("/nothing"))  # who takes this one has taken the one before it
            connection.do_handshake()
            assert connection.session_reused, "one worker took it, and the other one knows the session"
    until(lambda: counted(pair, "otaseal_handed_over_total") == 2, "nothing was handed over")
    asked = 1 + 2 + 2  # whoever deploys reads back; then the sessions, and who came behind
    request = as_device(PATH, firmware)
    for _ in range(10):
        _, session, _ = poll(pair, context, request)
        for _ in range(4):
            status, session, resumed = poll(pair, context, request, session)
            assert (status, resumed) == (304, True)
        asked += 5
    until(lambda: counted(pair, "otaseal_device_requests_total") == asked, "requests are not summed")


def test_a_hello_in_pieces_is_served_wherever_it_comes(pair: Running) -> None:
    context = as_chip(pair.world)
    for session in sessions(pair, context):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
        with socket.create_connection(("127.0.0.1", pair.port), SECONDS) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            said = outgoing.read()
            raw.sendall(said[:20])
            poll(pair, context, get("/nothing"))
            raw.sendall(said[20:])
            while True:
                incoming.write(raw.recv(65536))
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
            client.write(get("/nothing"))
            raw.sendall(outgoing.read())
            incoming.write(raw.recv(65536))
            assert b" 404 " in client.read(65536)


def delivered(server: Running, number: int) -> int | None:
    """Return how many deliveries to a device of the test below are written."""
    listed = operator(server).get("/v1/products/blink/devices")["devices"]
    return next((one["deliveries"] for one in listed if one["device"] == f"mac:5C:CF:7F:00:01:{number:02X}"), None)


def test_a_loop_is_broken_across_workers(pair: Running) -> None:
    """Of many devices one may be put off a poll too early, when its delivery is just being written; none too late."""
    old, new = pair.world.firmware(1), pair.world.firmware(2)
    publish(pair, "1.1", new.signed, max_failed=100)  # else it halts by itself
    context = as_chip(pair.world)
    owned = sessions(pair, context)
    exact = 0
    for number in range(10):
        request = as_device(PATH, old, f"5C:CF:7F:00:01:{number:02X}")
        got = [poll(pair, context, request, owned[(number + turn) % 2])[0] for turn in range(5)]
        assert got in ([200, 200, 200, 304, 304], [200, 200, 304, 304, 304])
        exact += got.count(200) == 3
        # What is pending of one device may be counted for another (one in 65,536), so that it is written first.
        until(lambda number=number, got=got: delivered(pair, number) == got.count(200), "deliveries were lost")  # type: ignore[misc]
    assert exact > 5
    until(lambda: len(answered_by(pair)) == 2, "one of them answers all")


def test_a_worker_that_dies_is_replaced_and_forgets_nobody(pair: Running) -> None:
    firmware, context = pair.world.firmware(1), as_chip(pair.world)
    publish(pair, "1.0", firmware.signed)
    request, each = as_device(PATH, firmware), 10
    known = sessions(pair, context, each)
    until(lambda: counted(pair, "otaseal_device_requests_total") == 2 * each + 1, "not summed")
    killed = of(pair)[1]
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(of(pair)) == 2 and killed not in of(pair), "not replaced")
    again = [poll(pair, context, request, session) for session in known]
    assert {status for status, _, _ in again} == {304}
    resumed = [one for _, _, one in again]
    assert resumed == [True] * each + [False] * each, "the sessions of the dead one have gone with it"
    pair.logs("ended with signal SIGKILL", "alarm=True")
    until(lambda: counted(pair, "otaseal_device_requests_total") == 4 * each + 1, "counters were lost")
    assert 'otaseal_alarms_total{kind="worker"} 1' in metrics(pair)


def test_workers_that_keep_dying_end_the_service(pair: Running) -> None:
    killed = 0
    while pair.process.poll() is None:
        assert killed <= workers.MAX_RESTARTS + 2
        for pid in of(pair)[1:]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
            until(lambda pid=pid: pid not in of(pair) if pair.process.poll() is None else True, "not noticed")  # type: ignore[misc]
        if killed > workers.MAX_RESTARTS:
            assert pair.process.wait(SECONDS) not in (0, None)
    assert f"the {workers.MAX_RESTARTS + 1}th within a minute" in pair.log.read_text()
    assert "otaseal: hint:" in pair.log.read_text()


def slow_download(server: Running, firmware: Firmware) -> ssl.SSLSocket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.settimeout(SECONDS)
    raw.connect(("127.0.0.1", server.port))
    connection = server.world.context().wrap_socket(raw, server_hostname="localhost")
    connection.sendall(get(PATH))
    return connection


@pytest.mark.parametrize("whole_group", [False, True])
def test_downloads_in_all_workers_end_before_they_do(pair: Running, whole_group: bool) -> None:
    firmware = pair.world.firmware(1, size=1_500_000)
    publish(pair, "1.0", firmware.signed)
    downloads, received, children = [], [], of(pair)
    for worker in children:
        with alone(pair, worker):
            downloads += [slow_download(pair, firmware) for _ in range(4)]
            received += [one.recv(1000) for one in downloads[-4:]]
    for pid in [pair.process.pid, *(children if whole_group else [])]:
        os.kill(pid, signal.SIGTERM)  # systemd tells every process of the group

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", pair.port), SECONDS).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            return False
        return False

    until(refused, "new connections are still taken")
    for start, connection in zip(received, downloads, strict=True):
        data = bytearray(start)
        with connection:
            while piece := connection.recv(65536):
                data += piece
        assert parse_reply(bytes(data)).body == firmware.signed
    assert pair.process.wait(SECONDS) == 0
    until(lambda: len(answered_by(pair)) == 2, "one of them answers all")


def test_workers_end_with_their_supervisor(pair: Running) -> None:
    children = of(pair)
    pair.process.kill()
    pair.process.wait(SECONDS)
    until(lambda: all(_state(pid) == "Z" for pid in children), "they go on")


def test_a_renewed_certificate_is_taken_by_every_worker(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    first, second = (world.pki.issue_server(name, ["localhost", "127.0.0.1"], now=NOW) for name in ("one", "two"))
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    for path in (chain, key):
        path.write_bytes((first / path.name).read_bytes())
    key.chmod(0o600)
    server = start_server("--workers", "2", "--key", key, chain=chain)

    def shown(worker: int) -> bytes:
        with (
            alone(server, worker),
            socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw,
            world.context().wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(True) or b""

    before = [shown(worker) for worker in of(server)]
    for path in (key, chain):
        path.write_bytes((second / path.name).read_bytes())
    for worker, old in zip(of(server), before, strict=True):
        until(lambda worker=worker, old=old: shown(worker) != old, "the old certificate is still shown")  # type: ignore[misc]


def test_a_session_that_is_handed_over_is_no_way_around_a_revocation(world: World, start_server: StartServer) -> None:
    folder = world.pki.issue_device("crewed", now=NOW)
    server = start_server("--workers", "2", "--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    context = as_chip(world, folder)
    request = get(PATH)
    known = sessions(server, context, 3)
    assert all(poll(server, context, request, one)[2] for one in known)
    world.pki.revoke(Role.DEVICE, "crewed", now=NOW)
    for one in known * 2:
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            poll(server, context, request, one)


def test_odd_beginnings_are_left_to_the_handshake_and_hold_up_nobody(pair: Running) -> None:
    firmware, context = pair.world.firmware(1), as_chip(pair.world)
    publish(pair, "1.0", firmware.signed)
    held = [socket.create_connection(("127.0.0.1", pair.port), SECONDS) for _ in range(60)]
    for number, one in enumerate(held):
        one.sendall([b"", b"\x16", b"\x16\x03\x01\x00\xff\x01", b"GET / HTTP/1.0\r\n\r\n" * 5, b"\0" * 200][number % 5])
    for _ in range(20):
        assert poll(pair, context, as_device(PATH, firmware))[0] == 304
    for one in held:
        one.close()


def test_a_hello_in_two_pieces_is_served(pair: Running) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = as_chip(pair.world).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", pair.port), SECONDS) as raw:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(hello[:20])
        raw.settimeout(0.2)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        raw.settimeout(SECONDS)
        raw.sendall(hello[20:])
        for _ in range(20):
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))
        assert client.cipher() is not None


@pytest.mark.parametrize("count", ["0", "65", "-1"])
def test_numbers_that_are_none_are_refused(world: World, tmp_path: Path, count: str) -> None:
    command = ["-m", "otaseal", "serve", "--store", tmp_path / "s", "--workers", count, "--cert", world.chain]
    command += ["--key", world.chain.with_name("key.pem")]
    environment = {"PYTHONPATH": str(TOOLS)}
    ran = [sys.executable, *map(str, command)]
    done = subprocess.run(ran, capture_output=True, text=True, env=environment, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert f"'{count}' is not a valid number of workers" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_system_that_cannot_share_a_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.check_count(2)
    monkeypatch.delattr(os, "fork")
    workers.check_count(1)
    with pytest.raises(ConfigError, match="'2' workers cannot share a port"):
        workers.check_count(2)
