"""The whole virtual device against the real update server, and the library's judgement on manifests."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import certstore
from otaseal.certs.pem import Source
from otaseal.chips.esp8266 import parse, sectors
from otaseal.client import archives
from otaseal.image import manifest
from otaseal.image.manifest import Claim
from otaseal.pki.profile import Role
from otaseal.release import signed_archive
from otaseal.simulator.device import Device
from otaseal.simulator.filesystem import read_file
from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.report import Outcome, Result
from otaseal.simulator.tls import ClientCertificate
from support.chips import chip, make_filesystem, public_pem, sign
from support.images import Signer, build_image
from support.servers import Firmware, Running, StartServer, World, as_device, operator, publish

PLACE = LAYOUTS["4m2m"]
NOW = datetime.now(timezone.utc)
FIRMWARE = "/firmware.bin.signed"


def archive(world: World) -> bytes:
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    return certstore.pack([Source("root", root)], NOW, certstore.Policy()).archive


def make_device(world: World, **options: object) -> Device:
    """Return a device that runs an image with the world's key in it, and has the world's root in its filesystem."""
    old = build_image(seed=50, code_size=20_000, embedded=public_pem(world.key))
    filesystem = make_filesystem(PLACE, {"/certs.ar": archive(world)})
    return replace(Device.provision(old, PLACE, filesystem), clock=NOW, **options)  # type: ignore[arg-type]


def new_firmware(world: World, seed: int = 60) -> Firmware:
    raw = build_image(seed=seed, code_size=200_000, embedded=public_pem(world.key))
    return Firmware(raw, sign(raw, world.key))


def test_certificates_come_from_the_real_server(start_server: StartServer, world: World) -> None:
    """Signed, published and fetched by parts that share nothing but the format."""
    server = start_server()
    claim = Claim("blink", build_time=int(NOW.timestamp()) - 3600)
    record = manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    running = build_image(seed=51, code_size=20_000, embedded=record + public_pem(world.key) + b"\0")
    provisioned = Device.provision(running, PLACE, make_filesystem(PLACE, {"/certs.ar": archive(world)}))
    device = replace(provisioned, clock=NOW)
    url = f"https://localhost:{server.port}/blink/certs.ar.signed"
    assert device.renew_certificates(url, host="127.0.0.1").result is Result.UP_TO_DATE, "none was published"
    successor = ssl.PEM_cert_to_DER_cert((world.pki.directory / "server-ca-next" / "certificate.pem").read_text())
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    both = certstore.pack([Source("root", root), Source("next", successor)], NOW).archive
    signed = signed_archive.sign(both, replace(claim, build_time=int(NOW.timestamp())), Signer(world.key), NOW)
    archives.deploy_archive(operator(server), signed, "blink", "stable")
    renewed = device.renew_certificates(url, host="127.0.0.1")
    assert renewed.result is Result.UPDATED, renewed.failed
    assert read_file(renewed.device.flash, PLACE, "/certs.ar") == both
    again = renewed.device.renew_certificates(url, host="127.0.0.1")
    assert (again.result, again.status) == (Result.UP_TO_DATE, 304)


def ask(server: Running, device: Device, path: str = FIRMWARE, name: str = "localhost", **options: object) -> Outcome:
    return device.poll(f"https://{name}:{server.port}{path}", host="127.0.0.1", **options)  # type: ignore[arg-type]


def names(outcome: Outcome) -> list[str]:
    return [one.name for one in outcome.steps]


def test_an_update_and_then_nothing_newer(world: World, start_server: StartServer) -> None:
    server = start_server()
    made, device = new_firmware(world), make_device(world)
    publish(server, "1.0", made.signed)
    outcome = ask(server, device)
    assert outcome.failed is None, outcome.failed
    assert (outcome.result, outcome.error, outcome.tls_error, outcome.status) == (Result.UPDATED, 0, 0, 200)
    assert outcome.device.flash[: len(made.raw)] == made.raw
    assert outcome.device.flash[PLACE.fs_end :] == device.flash[PLACE.fs_end :]
    assert names(outcome) == [
        *("filesystem", "certificates", "heap", "handshake", "certificate-chain", "fragment-length", "request"),
        *("answer", "space", "write", "signature", "copy", "boot", "result"),
    ]
    again = ask(server, outcome.device)
    assert (again.result, again.status, again.failed) == (Result.UP_TO_DATE, 304, None)
    assert again.device.flash[: PLACE.fs_start] == outcome.device.flash[: PLACE.fs_start]


def test_f28_the_request_is_that_of_the_core(world: World, start_server: StartServer) -> None:
    server = start_server()
    image = build_image(seed=50, code_size=20_000)
    device = replace(Device.provision(image, PLACE), anchors=(), clock=NOW, mac="5C:CF:7F:F0:04:CB", version="1.2")
    device = replace(device, anchors=(ssl.PEM_cert_to_DER_cert(world.ca.read_text()),))
    outcome = ask(server, device)
    assert (outcome.status, outcome.error) == (404, -102)
    expected = as_device(FIRMWARE, Firmware(image, b""), port=server.port, version="1.2")
    space = f"x-ESP8266-free-space: {PLACE.fs_start - sectors(parse(image).sketch_size)}".encode()
    assert outcome.request.replace(b"Content-Length: 0\r\n", b"") == b"\r\n".join(
        space if line.startswith(b"x-ESP8266-free-space") else line for line in expected.split(b"\r\n")
    )


def test_names_clocks_and_anchors_decide_before_a_byte_is_sent(world: World, start_server: StartServer) -> None:
    server = start_server()
    publish(server, "1.0", new_firmware(world).signed)
    good = make_device(world)
    stranger = World.create(world.folder / "stranger", world.key)
    foreign = make_filesystem(PLACE, {"/certs.ar": archive(stranger)})
    others = Device.provision(good.running, PLACE, foreign)
    for device, name, error, fact in (
        (good, "other.example", 56, "F22"),
        (replace(good, clock=None), "localhost", 54, "F25"),
        (replace(good, clock=NOW + timedelta(days=500)), "localhost", 54, "F20"),
        (replace(others, clock=NOW), "localhost", 62, "F17"),
    ):
        outcome = ask(server, device, name=name)
        assert outcome.failed is not None
        assert (outcome.result, outcome.error, outcome.tls_error) == (Result.REFUSED, -1, error)
        assert (outcome.failed.name, outcome.failed.fact) == ("certificate-chain", fact)
        assert outcome.request == b""


def test_f27_short_records_or_a_large_heap(world: World, start_server: StartServer) -> None:
    server = start_server()
    publish(server, "1.0", new_firmware(world).signed)
    poor = make_device(world, free_heap=15_000)
    outcome = ask(server, poor)
    assert (outcome.error, outcome.tls_error, names(outcome)[-1]) == (-1, -1000, "heap")
    assert ask(server, replace(poor, probe=512)).ok
    assert ask(server, replace(poor, receive_buffer=1024, send_buffer=512)).ok


def test_a_session_is_resumed_by_its_id(world: World, start_server: StartServer) -> None:
    server = start_server()
    made = new_firmware(world)
    publish(server, "1.0", made.signed)
    first = ask(server, make_device(world, resumes=True)).device
    second = ask(server, first)
    assert second.device.session is not None
    third = ask(server, second.device)
    assert any("resumed" in one.checked for one in third.steps)
    assert "certificate-chain" not in names(third)
    assert third.status == 304


def test_mutual_tls(world: World, start_server: StartServer) -> None:
    server = start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    publish(server, "1.0", new_firmware(world).signed)
    issued = world.client(Role.DEVICE, "virtual")
    device = make_device(world)
    nobody = ask(server, device)
    assert nobody.failed is not None
    assert (nobody.failed.name, nobody.error, nobody.status) == ("client-certificate", -1, 0)
    own = ClientCertificate((issued / "chain.pem").read_bytes(), (issued / "key.pem").read_bytes())
    assert ask(server, replace(device, client=own)).ok


def test_what_a_stock_device_refuses_of_a_release(world: World, start_server: StartServer) -> None:
    server = start_server()
    made = new_firmware(world)
    publish(server, "1.0", made.signed)
    other = make_device(world, keys=(public_pem(World.create(world.folder / "k", make_key()).key),))
    outcome = ask(server, other)
    assert outcome.failed is not None
    assert (outcome.error, outcome.failed.name, outcome.failed.fact) == (12, "signature", "F1")
    assert outcome.device.running == other.running


def make_key() -> rsa.RSAPrivateKey:
    from support.rsa_keys import make_rsa

    return make_rsa(2048, 1)


def test_f15_no_certificates_and_nobody_is_trusted(world: World, start_server: StartServer) -> None:
    server = start_server()
    device = make_device(world)
    empty = chip(device.running)
    newer = make_filesystem(PLACE, {"/certs.ar": archive(world)}, disk_version=0x20001)
    for flash, fact in ((empty, "F15"), (empty[: PLACE.fs_start] + newer + empty[PLACE.fs_end :], "F15b")):
        outcome = ask(server, replace(device, flash=flash))
        assert outcome.failed is not None
        assert (outcome.failed.name, outcome.failed.fact, outcome.tls_error) == ("filesystem", fact, 62)
