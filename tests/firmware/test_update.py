"""The library on the host really updates, from the real server; and what a device does that has no luck."""

from __future__ import annotations

import gzip
import hashlib
import ssl
import struct
import subprocess
import time
from pathlib import Path

import pytest

from otaseal.pki.profile import Role
from support import peers
from support.answering import firmware_reply, reply
from support.firmware import BOARD, COUNTER, LIBRARY, Device, Signing, StartAnswers, flags, pack, sources, write_header
from support.images import build_image
from support.servers import Running, StartServer, World, publish

pytestmark = pytest.mark.proof

NOW = int(time.time())
DAY = 24 * 3600


def runs(world: World, server: Running, device: Device, signing: Signing) -> None:
    """Let the device run a release that the server knows, so that it knows the chip and its core."""
    firmware = world.firmware(8)
    publish(server, "1.0", signing.sign(signing.payload(firmware.raw, version="1.0")))
    device.runs(firmware.sketch)


@pytest.mark.parametrize("form", ["raw", "gzip"])
def test_a_release_arrives_byte_by_byte(
    world: World, server: Running, device: Device, signing: Signing, form: str
) -> None:
    runs(world, server, device, signing)
    raw = build_image(seed=7, code_size=60_000)
    payload = signing.payload(raw if form == "raw" else gzip.compress(raw, mtime=0))
    publish(server, "1.1", signing.sign(payload))
    done = device.run(port=server.port)
    assert done.results == [("installed", 0, 0)]
    assert done.seen["restarted"] == "1"
    assert done.seen["progress"] == str(len(signing.sign(payload)))
    assert done.staged == payload
    assert (gzip.decompress(done.staged) if form == "gzip" else done.staged[: len(raw)]) == raw


def test_what_is_up_to_date_stays(world: World, server: Running, device: Device, signing: Signing) -> None:
    runs(world, server, device, signing)
    device.run(port=server.port, polls=2)  # the server gets to know its key
    done = device.run(port=server.port, polls=3)
    assert done.results == [("up-to-date", 0, 0)] * 3
    assert done.seen["resumed"] == "5", "a request for firmware and one for certificates each, and one whole handshake"


def test_a_device_with_a_certificate(start_server: StartServer, world: World, device: Device, signing: Signing) -> None:
    server = start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    publish(server, "1.1", signing.sign(signing.payload()))
    assert device.run(port=server.port).results[0][0] == "failed"
    issued = world.client(Role.DEVICE, "kitchen")
    device.put("client.crt", (issued / "chain.pem").read_bytes())
    device.put("client.key", b"no key")
    damaged = device.run(port=server.port)
    assert damaged.ready, "without a certificate it can still ask"
    assert damaged.begin_error == 5
    device.put("client.key", (issued / "key.pem").read_bytes())
    assert device.run(port=server.port).results == [("installed", 0, 0)]


def test_it_says_who_it_is(answers: StartAnswers, device: Device) -> None:
    running = answers()
    device.run(port=running.port, polls=2)
    first, certificates, second = running.requests[:3]
    assert first.startswith("GET /blink/firmware.bin.signed HTTP/1.0\r\n")
    assert certificates.startswith("GET /blink/certs.ar.signed HTTP/1.0\r\n")
    assert f"\r\nX-Otaseal-Counter: {COUNTER}\r\n" in first
    assert "\r\nX-Otaseal-Error: 0\r\n" in first
    assert f"\r\nX-Otaseal-Board: {hashlib.sha256(BOARD.encode()).digest()[:8].hex()}\r\n" in first
    assert "\r\nX-Otaseal-Error: 21\r\n" in second, "the last poll found nothing"
    assert "\r\nx-ESP8266-version: 1.0\r\n" in first
    sha256 = subprocess.run(
        ["sha256sum", device.folder / "fs" / "certs.ar"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert f"\r\nX-Otaseal-Certs: {sha256}\r\n" in first
    device.run(port=running.port, channel="beta")
    assert running.requests[-1].startswith("GET /blink/beta/certs.ar.signed ")


def test_sessions_are_kept_and_records_short(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None))
    done = device.run(port=running.port, polls=3)
    assert done.results == [("up-to-date", 0, 0)] * 3
    assert done.seen["probes"] == "1"
    assert set(done.seen["buffers"].split()) == {"4096"}


@pytest.mark.parametrize(
    ("heap", "block", "buffer"), [(24_000, 20_000, "2048"), (18_400, 9_000, "512"), (60_000, 1_100, "512")]
)
def test_buffers_fit_the_heap(answers: StartAnswers, device: Device, heap: int, block: int, buffer: str) -> None:
    running = answers(reply(b"", "304 Not Modified", None))
    done = device.run(port=running.port, heap=heap, block=block)
    assert done.results == [("up-to-date", 0, 0)]
    assert set(done.seen["buffers"].split()) == {buffer}


def test_without_memory_nothing_is_tried(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None))
    assert device.run(port=running.port, heap=12_000).results == [("failed", 10, 0)]
    assert not running.requests


def test_a_release_is_tried_three_times(
    answers: StartAnswers, device: Device, offered: bytes, signing: Signing
) -> None:
    running = answers(offered)
    for _ in range(3):
        assert device.run(port=running.port).results == [("installed", 0, 0)], "a loop: it always runs the old one"
    fourth = device.run(port=running.port)
    assert fourth.results == [("failed", 37, 0)]
    assert fourth.seen["progress"] == "0", "not even downloaded"
    running.paths["/blink/firmware.bin.signed"] = offered.replace(b"x-MD5", b"y-MD5")
    fifth = device.run(port=running.port)
    assert fifth.results[0][:2] == ("failed", 37), "told by its bytes, where a server says nothing"
    running.paths["/blink/firmware.bin.signed"] = firmware_reply(signing.sign(signing.payload(version="1.2")))
    for _ in range(3):
        assert device.run(port=running.port).results == [("installed", 0, 0)], "another release is another matter"
    assert device.run(port=running.port).results == [("failed", 37, 0)]


@pytest.mark.parametrize("magic", [b"OSJ1", b"OSJ2"])
def test_a_state_of_another_format_counts_for_nothing(
    magic: bytes, answers: StartAnswers, device: Device, offered: bytes
) -> None:
    """What an earlier or later library has written, its checksum right: three tries of what is offered now."""
    transfer = hashlib.md5(offered.partition(b"\r\n\r\n")[2]).digest()
    body = magic + struct.pack("<IIB", NOW, 0, 3) + transfer + bytes(8)
    device.put("otaseal.jnl", body + hashlib.sha256(body).digest()[:4])
    done = device.run(port=answers(offered).port)
    assert done.results == [("failed", 37, 0) if magic == b"OSJ1" else ("installed", 0, 0)]


def test_a_refused_release_is_not_downloaded_for_ever(answers: StartAnswers, device: Device, signing: Signing) -> None:
    running = answers(firmware_reply(signing.sign(signing.payload(board="nodemcuv2"))))
    done = device.run(port=running.port, polls=4)
    assert [error for _, error, _ in done.results] == [35, 35, 35, 37]


def test_it_asks_less_often_while_it_fails(answers: StartAnswers, device: Device) -> None:
    fine = answers(reply(b"", "304 Not Modified", None))
    failing = answers(reply(b"", "500 Internal Server Error"))
    often = device.run(port=fine.port, polls=0, minutes=24 * 60).results
    seldom = device.run(port=failing.port, polls=0, minutes=24 * 60).results
    assert 20 <= len(often) <= 30
    assert 3 <= len(seldom) <= 6


def test_a_fleet_does_not_ask_at_once(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None))
    asked = [len(device.run(port=running.port, polls=0, minutes=60 * 10, chance=seed).results) for seed in range(1, 5)]
    assert len(set(asked)) > 1
    assert all(9 <= count <= 12 for count in asked)


def test_the_clock_has_a_floor(answers: StartAnswers, device: Device, offered: bytes) -> None:
    running = answers(offered)
    assert device.run(port=running.port, ntp=0, floor=1).results[0] == ("failed", 14, 54), "in 1970, as a stock device"
    assert device.run(port=running.port, ntp=0, floor=NOW).results == [("installed", 0, 0)]
    assert device.run(port=running.port, ntp=NOW - 20 * 365 * DAY, floor=NOW).results == [("installed", 0, 0)]


def test_a_good_time_is_kept_and_a_wrong_one_is_not(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None))
    far = NOW + 20 * 365 * DAY
    assert device.run(port=running.port, ntp=far).errors == [14], "a time server that lies stops updates"
    assert device.run(port=running.port, ntp=NOW).errors == [0], "and does no harm beyond that"
    assert device.run(port=running.port, ntp=0, floor=1).errors == [0], "the last good time is enough"


def test_no_network_no_error(device: Device) -> None:
    done = device.run(port=1, online=0, minutes=10)
    assert done.ready
    assert not done.results


@pytest.mark.parametrize(
    ("settings", "error"), [({"mountable": 0}, 2), ({"product": "toaster"}, 1), ({"server": ""}, 1), ({"port": 0}, 1)]
)
def test_what_cannot_work_is_said_at_once(device: Device, settings: dict[str, object], error: int) -> None:
    done = device.run(**{"port": 1, **settings})
    assert (done.ready, done.begin_error, done.results) == (False, error, [])
    assert done.seen["formatted"] == "0", "certificates would be gone for good"


@pytest.mark.parametrize(("content", "error"), [(None, 3), (b"", 3), (b"!<arch>\n", 4), (b"certificates", 4)])
def test_without_certificates_there_are_no_updates(device: Device, content: bytes | None, error: int) -> None:
    if content is None:
        (device.folder / "fs" / "certs.ar").unlink()
    else:
        device.put("certs.ar", content)
    assert device.run(port=1).begin_error == error


def test_damaged_certificates_do_not_crash(device: Device, world: World) -> None:
    der = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    for broken in (
        der[:-1],
        der + b"\0",
        der + der,
        b"\x30\x82" + der[2:40],
        der.replace(b"\x06\x03U\x04\x03", b"\x06\x03U\x04"),
    ):
        device.put("certs.ar", pack(broken))
        assert device.run(port=1).begin_error == 4


def test_it_compiles_without_exceptions_and_run_time_types(tmp_path: Path, world: World) -> None:
    compiler = peers.tool("g++", "g++")
    write_header(tmp_path, world.key.public_key())
    strict = ["-fno-exceptions", "-fno-rtti", "-fsyntax-only", "-Wshadow"]
    for source in sources():
        command = [compiler, *flags(tmp_path), *strict, source]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_build_without_a_key_is_stopped(tmp_path: Path) -> None:
    command = [peers.tool("g++", "g++"), *flags(tmp_path), "-fsyntax-only", LIBRARY / "otaseal" / "build.cpp"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no key is compiled in: add verify_updates.py to extra_scripts" in done.stderr
