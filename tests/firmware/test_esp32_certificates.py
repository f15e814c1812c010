"""Whom the library on arduino-esp32 believes to be its server, and how it gets new certificates."""

from __future__ import annotations

import os
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client import archives
from otaseal.image import manifest
from otaseal.keys import public
from otaseal.pki.profile import Role
from support import cas
from support.answering import reply
from support.esp32_devices import NOW, build_image, matrix, own_archive
from support.firmware import OWN, PRODUCT, Device, Signing, StartAnswers, identity, pack, server_context
from support.images import flipped
from support.servers import StartServer, World, operator, publish

pytestmark = pytest.mark.proof

SIGNATURE = 30
CUTS = 4_000 if os.environ.get("OTASEAL_THOROUGH") else 300
UP_TO_DATE = reply(b"", "304 Not Modified", None)


@pytest.fixture
def device(esp32: Device) -> Device:
    return esp32


def test_servers_that_are_not_the_one(device: Device, world: World, answers: StartAnswers) -> None:
    running = answers(UP_TO_DATE)
    assert device.run(port=running.port, server="another.example").results[0][:2] == ("failed", 13)
    device.put("certs.ar", pack(cas.root()))
    assert device.run(port=running.port).results[0][:2] == ("failed", 15)
    assert not [one for one in running.requests if one]
    assert device.run(port=1).results[0][:2] == ("failed", 11)
    device.put("certs.ar", own_archive(world))


def test_a_server_without_tls(device: Device, answers: StartAnswers) -> None:
    assert device.run(port=answers(UP_TO_DATE, tls=False).port).results[0][:2] == ("failed", 12)


def test_a_server_of_tls_1_1(device: Device, world: World, answers: StartAnswers) -> None:
    context = server_context(world)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    done = device.run(port=answers(UP_TO_DATE, context=context).port)
    assert done.results[0][:2] == ("failed", 12), "core 2.0.17 has TLS 1.2"


@pytest.mark.parametrize(("content", "error"), [(None, 3), (b"", 3), (b"!<arch>\n", 4), (b"certificates", 4)])
def test_without_certificates_there_are_no_updates(device: Device, content: bytes | None, error: int) -> None:
    if content is None:
        (device.folder / "fs" / "certs.ar").unlink()
    else:
        device.put("certs.ar", content)
    assert device.run(port=1).begin_error == error
    device.put("certs.ar", b"")


def test_damaged_certificates(device: Device, world: World) -> None:
    der = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    for broken in (der[:-1], der + b"\0", der + der, b"\x30\x82" + der[2:40], cas.root() * 40):
        device.put("certs.ar", pack(broken))
        assert device.run(port=1).begin_error == 4
    device.put("certs.ar", own_archive(world, *([cas.root()] * 100)))
    assert device.run(port=1).begin_error == 4, "more than the heap of an ESP32 has room for"


def test_a_device_with_a_certificate(start_server: StartServer, world: World, device: Device, signing: Signing) -> None:
    authority = world.pki.directory / "device-ca" / "certificate.pem"
    server = start_server("--device-ca", authority)
    publish(server, "1.1", signing.sign(signing.payload(build_image(seed=4))))
    assert device.run(port=server.port).results[0][0] == "failed"
    issued = world.client(Role.DEVICE, "landing")
    device.put("client.crt", (issued / "chain.pem").read_bytes())
    device.put("client.key", b"no key")
    without = device.run(port=server.port)
    assert without.ready, "without a certificate it can still ask"
    assert without.begin_error == 5
    device.put("client.key", (issued / "key.pem").read_bytes())
    assert device.run(port=server.port).results == [("installed", 0, 0)]


def archived(archive: bytes, product: bytes | None = None, built: int = NOW, kind: int = 1) -> bytes:
    """Return an archive of certificates with its manifest."""
    made = bytearray(manifest.serialise(manifest.make(OWN)))
    made[9] = kind
    made[16:20] = struct.pack("<I", built)
    made[28:36] = bytes(8)
    if product is not None:
        made[20:28] = product
    return archive + bytes(made)


@pytest.mark.parametrize("replaces", [1, 0])
def test_certificates_of_the_real_server(
    start_server: StartServer, replaces: int, device: Device, world: World, signing: Signing
) -> None:
    server = start_server()
    archive = own_archive(world, cas.root())
    archives.deploy_archive(operator(server), signing.sign_anything(archived(archive)), PRODUCT, "stable")
    done = device.run(port=server.port, polls=3, replaces=replaces)
    assert [name for name, _, _ in done.results].count("renewed") == 1
    assert device.get("certs.ar") == archive
    assert not [name for name in ("certs.new", "certs.old", "certs.idn") if device.has(name)]


ARCHIVES: dict[str, tuple[Callable[[Signing, Signing, World], bytes], int]] = {
    "another key": (lambda own, other, world: other.sign_anything(archived(own_archive(world, cas.root()))), SIGNATURE),
    "tampered": (
        lambda own, other, world: flipped(own.sign_anything(archived(own_archive(world, cas.root()))), 300),
        SIGNATURE,
    ),
    "another product": (
        lambda own, other, world: own.sign_anything(archived(own_archive(world), product=bytes(8))),
        34,
    ),
    "firmware": (lambda own, other, world: own.sign_anything(archived(own_archive(world), kind=0)), 33),
    "damaged": (lambda own, other, world: own.sign_anything(archived(own_archive(world)[:-40])), 41),
    "a lockout": (lambda own, other, world: own.sign_anything(archived(pack(cas.root()))), 43),
    "too large": (lambda own, other, world: own.sign_anything(archived(bytes(40_000))), 40),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_certificates_that_are_not_taken(
    name: str,
    device: Device,
    world: World,
    answers: StartAnswers,
    signing: Signing,
    other_rsa_key: rsa.RSAPrivateKey,
) -> None:
    make, error = ARCHIVES[name]
    before = device.get("certs.ar")
    offered = make(signing, Signing(other_rsa_key), world)
    done = device.run(port=answers(UP_TO_DATE, certs_ar_signed=reply(offered)).port)
    assert [one[:2] for one in done.results] == [("up-to-date", 0), ("failed", error)]
    assert device.get("certs.ar") == before
    assert not [file for file in ("certs.new", "certs.idn") if device.has(file)]


def test_a_power_cut_leaves_certificates(
    esp32_programs: dict[str, Path], world: World, signing: Signing, tmp_path: Path
) -> None:
    new = own_archive(world, cas.root())
    files = {
        "key": public.public_pem(signing.key.public_key()),
        "identity": identity(OWN),
        "old": own_archive(world),
        "new": new,
        "signed": signing.sign_anything(archived(new)),
    }
    found = matrix(esp32_programs, tmp_path, "cut", files, str(CUTS), "1")
    assert found["old"] + found["new"] == CUTS
    assert min(found["old"], found["new"]) > 0, "cuts before and after the rename"
    assert (found["neither"], found["unusable"], found["stuck"]) == (0, 0, 0), found
