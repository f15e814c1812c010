"""The whole virtual ESP32: against the real update server, and what it says of itself."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal.certs import certstore
from otaseal.certs.pem import Source
from otaseal.client import archives
from otaseal.image.manifest import Claim
from otaseal.rehearsal.loopback import HOST, Loopback, Request, TemporaryAuthority, response
from otaseal.release import signed_archive
from otaseal.simulator.esp32.chip import CHIPS
from otaseal.simulator.esp32.device import Esp32Device
from otaseal.simulator.esp32.table import APPLICATION, DATA, Partition, serialise
from otaseal.simulator.filesystem import read_file
from otaseal.simulator.report import Outcome, Result
from support.esp32_boards import NOW, board, claims, image, sealed
from support.images import Signer
from support.servers import StartServer, World, operator, publish


@pytest.fixture(scope="module")
def authority() -> TemporaryAuthority:
    return TemporaryAuthority.create(NOW)


def answered(device: Esp32Device, authority: TemporaryAuthority, answer: bytes) -> tuple[Outcome, Request]:
    """Return what the device makes of one answer, over the TLS of the update server, and what it has asked."""
    asked: list[Request] = []

    def reply(request: Request) -> bytes:
        asked.append(request)
        return answer

    trusting = replace(device, anchors=(authority.root,), clock=NOW)
    with Loopback(reply, authority.context("localhost")) as server:
        outcome = trusting.poll(f"https://localhost:{server.port}/x", host=HOST)
    return outcome, asked[0]


@pytest.mark.parametrize("counter", [None, 3])
def test_a_request_says_what_the_core_or_the_library_says(
    counter: int | None, rsa_key: rsa.RSAPrivateKey, authority: TemporaryAuthority
) -> None:
    raw = image(rsa_key, counter=counter)
    device = replace(board(raw), version="1.1", mac="24:0A:C4:00:00:FF")
    outcome, asked = answered(device, authority, response(304))
    assert outcome.result is Result.UP_TO_DATE
    said = [(name.decode(), value.decode()) for name, value in asked.headers]
    own = [
        ("X-Otaseal-Counter", "3"),
        ("X-Otaseal-Error", "0"),
        ("X-Otaseal-Certs", "0" * 64),
        ("X-Otaseal-Board", claims().board.hex()),
    ]
    sha256 = [("x-ESP32-sketch-sha256", raw[-32:].hex().upper())]
    assert said[1:] == [
        ("User-Agent", "ESP32-http-Update"),
        ("Connection", "close"),
        *([] if counter is None else own),
        ("Cache-Control", "no-cache"),
        ("x-ESP32-STA-MAC", "24:0A:C4:00:00:FF"),
        ("x-ESP32-AP-MAC", "24:0A:C4:00:00:00"),
        ("x-ESP32-free-space", str(0x140000)),
        ("x-ESP32-sketch-size", str(len(raw))),
        ("x-ESP32-sketch-md5", hashlib.md5(raw, usedforsecurity=False).hexdigest()),
        *(sha256 if counter is None else []),
        ("x-ESP32-chip-size", str(4 << 20)),
        ("x-ESP32-sdk-version", "v5.5.1"),
        ("x-ESP32-mode", "sketch"),
        ("x-ESP32-version", "1.1"),
    ]


def test_a_stock_device_with_one_slot_resets_and_one_with_the_library_refuses(
    rsa_key: rsa.RSAPrivateKey, authority: TemporaryAuthority
) -> None:
    rows = (Partition("otadata", DATA, 0, 0xE000, 0x2000), Partition("app0", APPLICATION, 0x10, 0x10000, 0x300000))
    data = sealed(image(rsa_key, 2), rsa_key)
    answer = response(200, (("Content-Length", str(len(data))),), data)
    for counter, result in ((None, Result.CRASHED), (3, Result.REFUSED)):
        outcome, _ = answered(board(image(rsa_key, counter=counter), partitions=serialise(rows)), authority, answer)
        assert (outcome.result, outcome.failed and outcome.failed.fact) == (result, "F87")


def test_a_release_is_tried_three_times(rsa_key: rsa.RSAPrivateKey, authority: TemporaryAuthority) -> None:
    spoilt = image(rsa_key, 2)[:-1] + b"\x5a"
    data = sealed(spoilt, rsa_key)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    answer = response(200, (("Content-Length", str(len(data))), ("x-MD5", md5)), data)
    device = board(image(rsa_key))
    for step in ("activation", "activation", "activation", "manifest"):
        outcome, _ = answered(device, authority, answer)
        assert outcome.failed is not None
        assert outcome.failed.name == step
        assert isinstance(outcome.device, Esp32Device)
        device = outcome.device
        assert device.running == image(rsa_key)


def with_archive(device: Esp32Device, archive: bytes) -> Esp32Device:
    """Return the device with the certificates in its LittleFS, as `uploadfs` leaves it."""
    divided = device.layout
    made = LittleFS(block_size=4096, block_count=divided.fs_size // 4096, name_max=64, prog_size=128, read_size=128)
    with made.open("/certs.ar", "wb") as file:
        file.write(archive)
    flash = device.flash[: divided.fs_start] + bytes(made.context.buffer) + device.flash[divided.fs_end :]
    return replace(device, flash=flash, clock=NOW)


def test_releases_of_the_real_server_go_round_the_slots(start_server: StartServer, world: World) -> None:
    """Certificates from the filesystem, firmware from the server, into one slot and then into the other."""
    server = start_server()
    archive = certstore.pack([Source("root", ssl.PEM_cert_to_DER_cert(world.ca.read_text()))], NOW).archive
    device = with_archive(board(image(world.key, 1, "esp32c3"), CHIPS["esp32c3"]), archive)
    url = f"https://localhost:{server.port}/blink/firmware.bin.signed"
    for seed, slot in ((2, "app1"), (3, "app0")):
        new = image(world.key, seed, "esp32c3")
        publish(server, f"1.{seed}", sealed(new, world.key, seed=seed))
        outcome = device.poll(url, host="127.0.0.1")
        assert outcome.result is Result.UPDATED, outcome.failed
        assert isinstance(outcome.device, Esp32Device)
        device = outcome.device
        assert (device.running, device.running_slot.label) == (new, slot)
        assert device.poll(url, host="127.0.0.1").result is Result.UP_TO_DATE
    assert read_file(device.flash, device.layout, "/certs.ar") == archive


def test_certificates_come_over_the_air(start_server: StartServer, world: World) -> None:
    """Signed, published and fetched as on the other chips, and asked for as an ESP32."""
    server = start_server()
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    device = with_archive(board(image(world.key)), certstore.pack([Source("root", root)], NOW).archive)
    url = f"https://localhost:{server.port}/blink/certs.ar.signed"
    nothing = device.renew_certificates(url, host="127.0.0.1")
    assert nothing.result is Result.UP_TO_DATE, "none was published"
    assert b"User-Agent: ESP32-http-Update\r\n" in nothing.request
    successor = ssl.PEM_cert_to_DER_cert((world.pki.directory / "server-ca-next" / "certificate.pem").read_text())
    both = certstore.pack([Source("root", root), Source("next", successor)], NOW).archive
    signed = signed_archive.sign(
        both, Claim("blink", counter=3, build_time=int(NOW.timestamp())), Signer(world.key), NOW
    )
    archives.deploy_archive(operator(server), signed, "blink", "stable")
    outcome = device.renew_certificates(url, host="127.0.0.1")
    assert outcome.result is Result.UPDATED, outcome.failed
    assert read_file(outcome.device.flash, outcome.device.layout, "/certs.ar") == both
    assert outcome.device.renew_certificates(url, host="127.0.0.1").result is Result.UP_TO_DATE
