"""Who a forwarder says that a client is: real HAProxy and headers made here, taken and refused."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import ConfigError, InputError
from otaseal.server.device_api.proxy_protocol import (
    MAX_ADDED,
    SIGNATURE,
    Header,
    crc32c,
    is_forwarder,
    parse_header,
    parse_network,
)
from otaseal.server.limits import OTHER_FILES, origin
from support import haproxy
from support.command import Command, otaseal
from support.servers import (
    SECONDS,
    Running,
    StartServer,
    as_device,
    devices_seen,
    metrics,
    parse_reply,
    publish,
    talk,
)

__all__ = ["otaseal"]

PATH = "/blink/firmware.bin.signed"
FORWARDER, OTHER = "127.0.0.2", "127.0.0.3"
LOCAL, PROXY, TCP4, TCP6 = 0x20, 0x21, 0x11, 0x21
V4 = bytes([203, 0, 113, 7, 192, 0, 2, 1]) + struct.pack("!HH", 40000, 8443)
V6 = bytes.fromhex("20010db8000000000000000000000007" + "20010db8000000000000000000000001" + "9c4020fb")
MAPPED = bytes.fromhex("00000000000000000000ffffcb007107" + "00000000000000000000ffffc0000201" + "9c4020fb")
UNIX = b"/run/client".ljust(108, b"\0") * 2


def header(command: int, family: int, added: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(added) if size is None else size) + added


def addition(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def checked(command: int, family: int, addresses: bytes, wrong: int = 0) -> bytes:
    """Return a header with its checksum, and another addition before it."""
    before = addresses + addition(4, b"nothing")
    empty = header(command, family, before + addition(3, bytes(4)))
    return header(command, family, before + addition(3, struct.pack("!I", crc32c(empty) ^ wrong)))


TAKEN = {
    "TCP over IPv4": (header(PROXY, TCP4, V4), "203.0.113.7"),
    "TCP over IPv6": (header(PROXY, TCP6, V6), "2001:db8::7"),
    "IPv4 within IPv6": (header(PROXY, TCP6, MAPPED), "203.0.113.7"),
    "additions": (
        header(PROXY, TCP4, V4 + addition(5, b"id") + addition(0xE0, b"") + addition(4, b"\0")),
        "203.0.113.7",
    ),
    "checksum": (checked(PROXY, TCP4, V4), "203.0.113.7"),
    "checksum over IPv6": (checked(PROXY, TCP6, V6), "2001:db8::7"),
    "as long as may be": (header(PROXY, TCP4, V4 + addition(4, bytes(MAX_ADDED - 15))), "203.0.113.7"),
    "health check": (header(LOCAL, 0), None),
    "health check that says more": (header(LOCAL, TCP4, V4 + b"and not this"), None),
    "unspecified": (header(PROXY, 0), None),
    "unspecified with additions": (header(PROXY, 0, addition(5, b"id")), None),
    "unspecified protocol": (header(PROXY, 0x10, V4), None),
    "datagrams": (header(PROXY, 0x12, V4), None),
    "Unix": (header(PROXY, 0x31, UNIX), None),
}
REFUSED = {
    "version 1": b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 8443\r\n",
    "TLS": b"\x16\x03\x01\x00\x80\x01",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "a wrong first byte": b"\n",
    "a wrong last byte of the signature": SIGNATURE[:-1] + b"\r",
    "version 3": header(0x31, TCP4, V4),
    "a version before 2": header(0x11, TCP4, V4),
    "an unknown command": header(0x22, TCP4, V4),
    "an unknown family": header(PROXY, 0x41, V4),
    "an unknown protocol": header(PROXY, 0x13, V4),
    "IPv4 cut short": header(PROXY, TCP4, V4[:-1]),
    "IPv6 cut short": header(PROXY, TCP6, V4),
    "too long": header(PROXY, TCP4, size=MAX_ADDED + 1),
    "too long for a health check": header(LOCAL, 0, size=MAX_ADDED + 1),
    "an addition without its size": header(PROXY, TCP4, V4 + b"\4\0"),
    "an addition beyond the end": header(PROXY, TCP4, V4 + b"\4\0\2x"),
    "another checksum": checked(PROXY, TCP4, V4, wrong=1),
    "a short checksum": header(PROXY, TCP4, V4 + addition(3, b"\0\0\0")),
    "an empty checksum": header(PROXY, TCP4, V4 + addition(3, b"")),
}


@pytest.mark.parametrize(("data", "client"), TAKEN.values(), ids=TAKEN)
def test_a_header_is_taken_whole_and_what_follows_is_left(data: bytes, client: str | None) -> None:
    assert parse_header(data + b"\x16\x03\x01") == Header(len(data), client)
    assert all(parse_header(data[:end]) is None for end in range(len(data)))


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_header(data)


def test_what_cannot_be_a_header_is_refused_before_more_is_read() -> None:
    for data in (REFUSED["too long"], b"PROXY ", SIGNATURE[:5] + b"x"):
        with pytest.raises(InputError):
            parse_header(data)


@given(st.binary(max_size=64), st.sampled_from([b"", SIGNATURE, SIGNATURE + b"\x21\x11", header(PROXY, TCP4, size=40)]))
def test_any_bytes_are_a_header_or_none_or_refused(data: bytes, before: bytes) -> None:
    try:
        found = parse_header(before + data)
    except InputError:
        return
    assert found is None or len(SIGNATURE) < found.size <= len(before + data)


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720's polynomial


@pytest.mark.parametrize("text", ["", "here", "10.0.0.5/24", "10.0.0.0/33", "10.0.0.5,10.0.0.6", "fe80::1%eth0/64"])
def test_what_names_no_forwarder_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no address of a forwarder"):
        parse_network(text)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0"])
def test_everybody_is_no_forwarder(otaseal: Command, text: str) -> None:
    done = otaseal("serve", "--store", "s", "--cert", "c", "--key", "k", "--proxy-protocol-from", text)
    done.failed(2, "is every address")


def test_forwarders_are_told_by_address_and_network() -> None:
    networks = [parse_network(text) for text in ("10.0.0.5", "192.0.2.0/24", "fd00::/64", "fe80::1")]
    named = ("10.0.0.5", "192.0.2.255", "fd00::ffff", "fe80::1%eth0")
    others = ("10.0.0.6", "192.0.3.0", "fd00:0:0:1::", "fe80::2", None)
    assert [is_forwarder(address, networks) for address in (*named, *others)] == [True] * 4 + [False] * 5
    assert not is_forwarder("10.0.0.5", ())


@pytest.fixture(scope="module")
def server(shared_server: StartServer) -> Running:
    """Return a server with two forwarders, and one release."""
    running = shared_server("--proxy-protocol-from", FORWARDER, "--proxy-protocol-from", "127.0.1.0/24")
    publish(running, "1.0", running.world.firmware(1).signed)
    return running


_macs = (f"5C:CF:7F:00:00:{number:02X}" for number in itertools.count())


@contextlib.contextmanager
def connected(server: Running, before: bytes, source: str, pieces: int = 1) -> Iterator[ssl.SSLSocket]:
    """Connect from `source`, and say `before` before TLS, in so many pieces."""
    with socket.create_connection(("127.0.0.1", server.port), SECONDS, (source, 0)) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = max(1, len(before) // pieces)
        for start in range(0, len(before), step):
            raw.sendall(before[start : start + step])
        with server.world.context().wrap_socket(raw, server_hostname="localhost") as connection:
            yield connection


def ask(server: Running, before: bytes, source: str, mac: str, pieces: int = 1) -> int:
    """Return the status of the answer to a device that has release 1.0."""
    with connected(server, before, source, pieces) as connection:
        connection.sendall(as_device(PATH, server.world.firmware(1), mac))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return parse_reply(received).status


@pytest.mark.parametrize("pieces", [1, 1000])
@pytest.mark.parametrize("name", ["TCP over IPv4", "TCP over IPv6", "checksum", "health check", "unspecified"])
def test_the_client_that_a_forwarder_names_is_who_counts(server: Running, name: str, pieces: int) -> None:
    data, client = TAKEN[name]
    mac, client = next(_macs), client or FORWARDER
    assert ask(server, data, FORWARDER, mac, pieces) == 304
    server.logs("device ", f"device=mac:{mac}", f"address={client}")
    assert [row["address"] for row in devices_seen(server) if row["device"] == f"mac:{mac}"] == [origin(client)]


@pytest.mark.parametrize("source", [OTHER, "127.0.0.1"])
def test_nobody_else_can_say_who_he_is(server: Running, source: str) -> None:
    mac = next(_macs)
    with pytest.raises(OSError, match=r"."):
        ask(server, TAKEN["TCP over IPv4"][0], source, mac)
    assert ask(server, b"", source, mac) == 304  # without a forwarder, as always
    assert [row["address"] for row in devices_seen(server) if row["device"] == f"mac:{mac}"] == [source]


@pytest.mark.parametrize("name", REFUSED)
def test_a_forwarder_that_says_something_else_gets_no_answer(server: Running, name: str) -> None:
    before = alarms(server)
    with socket.create_connection(("127.0.0.1", server.port), SECONDS, ("127.0.1.200", 0)) as raw:
        raw.sendall(REFUSED[name] + b"\x16\x03\x01")
        raw.settimeout(SECONDS)
        with contextlib.suppress(ConnectionError):
            assert raw.recv(1) == b""
    assert alarms(server) == before + 1
    server.logs("forwarder alarm=True address=127.0.1.200 message=")


def alarms(server: Running) -> int:
    match = re.search(r'otaseal_alarms_total\{kind="forwarder"\} (\d+)', metrics(server))
    return int(match[1]) if match else 0


def test_each_client_of_a_forwarder_has_its_share(start_server: StartServer) -> None:
    share, room = 5, 20
    files = OTHER_FILES + 2 * room
    options = ("--proxy-protocol-from", FORWARDER)
    server = start_server(*options, prefix=("prlimit", f"--nofile={files}:{files}"))

    def hold(stack: contextlib.ExitStack, last: int) -> ssl.SSLSocket:
        client = header(PROXY, TCP4, bytes([203, 0, 113, last]) + V4[4:])
        return stack.enter_context(connected(server, client, FORWARDER))

    with contextlib.ExitStack() as stack:
        for last in (1, 2, 3):  # three times the share that the forwarder itself has
            for _ in range(share):
                hold(stack, last)
            with pytest.raises(OSError, match=r"."):
                hold(stack, last)
        assert "otaseal_refused_connections_total 3" in metrics(server)
        hold(stack, 4)


@pytest.mark.parametrize("options", ["", "proxy-v2-options crc32c", "proxy-v2-options crc32c,unique-id,authority,ssl"])
def test_haproxy_is_understood(server: Running, tmp_path: Path, options: str) -> None:
    """HAProxy has no header of its own to show: what it sends is what a listener takes."""
    port = haproxy.free_port("127.0.0.1")
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n"
        f"listen devices\n bind 127.0.0.1:{port}\n unique-id-format %{{+X}}o\\ %ci:%cp\n"
        f" server a 127.0.0.1:{server.port} source {FORWARDER} send-proxy-v2 {options}\n"
    )
    with haproxy.running(config, ("127.0.0.1", port)):
        for source in ("127.0.0.5", "127.0.0.6"):
            mac = next(_macs)
            request = as_device(PATH, server.world.firmware(1), mac)
            assert talk(server.world.context(), port, request, source).status == 304
            server.logs("device ", f"device=mac:{mac}", f"address={source}")
