"""Certificates over the air, live: signed and published by the commands, fetched as the OtaSeal library does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.keys import public
from otaseal.pki.store import Slot
from support.command import Command, Result, otaseal
from support.servers import Reply, Running, StartServer, World, as_device, get, talk

__all__ = ["otaseal"]

CERTS = "/blink/stable/certs.ar.signed"


def authority(world: World, slot: Slot) -> Path:
    return world.pki.directory / slot.value / "certificate.pem"


@dataclass(frozen=True)
class Author:
    """Who packs, signs and publishes certificates by the commands, in `folder`."""

    otaseal: Command
    folder: Path
    key: Path

    def packed(self, *certificates: Path) -> Path:
        archive = self.folder / "certs.ar"
        self.otaseal("certs", "pack", *certificates, "-o", archive).succeeded()
        return archive

    @property
    def signed(self) -> Path:
        return self.folder / "certs.ar.signed"

    def sign(self, archive: Path, product: str = "blink") -> Result:
        return self.otaseal("certs", "sign", archive, "--product", product, "--key", self.key, "-o", self.signed)

    def deploy(self, server: Running, *options: str) -> Result:
        token = self.folder / "token"
        token.write_text(server.token)
        token.chmod(0o600)
        where = ("--server", server.url, "--product", "blink", "--ca", server.world.ca, "--token-file", token)
        return self.otaseal("certs", "deploy", self.signed, *where, *options)


@pytest.fixture
def author(otaseal: Command, world: World, tmp_path: Path) -> Author:
    path = tmp_path / "signing.key"
    plain = NoEncryption()
    path.write_bytes(world.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, plain))
    path.chmod(0o600)
    return Author(otaseal, tmp_path, path)


def fetch(server: Running, *lines: str, path: str = CERTS) -> Reply:
    return talk(server.world.context(), server.port, get(path, *lines))


def test_devices_get_what_was_signed_and_only_when_they_have_another(server: Running, author: Author) -> None:
    assert fetch(server).status == 404
    archive = author.packed(authority(server.world, Slot.SERVER), authority(server.world, Slot.SERVER_NEXT))
    author.sign(archive).succeeded()
    done = author.deploy(server).succeeded()
    assert "gives out 2 CA certificates" in done.out
    assert f"read back from https://localhost:{server.port}{CERTS}" in done.out
    reply = fetch(server)
    assert reply.status == 200
    assert reply.body == author.signed.read_bytes()
    assert reply.body.startswith(archive.read_bytes())
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-md5"] == hashlib.md5(reply.body).hexdigest()
    own = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert fetch(server, f"X-Otaseal-Certs: {own}").status == 304
    assert fetch(server, f"X-Otaseal-Certs: {own[::-1]}").status == 200
    for family in ("ESP8266", "Pico", "ESP32"):
        asks = (f"x-{family}-STA-MAC: 24:0A:C4:00:11:22", f"X-Otaseal-Certs: {own[::-1]}")
        assert fetch(server, *asks).body == reply.body
    assert fetch(server, path="/certs.ar.signed").body == reply.body
    assert fetch(server, path="/blink/beta/certs.ar.signed").status == 404
    assert fetch(server, "X-Otaseal-Certs: no hash").status == 400
    assert author.deploy(server, "--json").json["archive"] == own, "sent twice is the same as once"


def test_what_would_lock_devices_out_is_refused_and_nothing_changes(server: Running, author: Author) -> None:
    good = author.packed(authority(server.world, Slot.SERVER))
    author.sign(good).succeeded()
    author.deploy(server).succeeded()
    before = fetch(server).body
    author.sign(author.packed(authority(server.world, Slot.SERVER_NEXT))).succeeded()
    done = author.deploy(server)
    assert done.code != 0
    assert "a device with these certificates would not accept this server as" in done.err
    assert "keep the server's present authority" in done.err
    assert fetch(server).body == before


def test_foreign_tampered_and_unsigned_ones_are_refused(server: Running, author: Author) -> None:
    archive = author.packed(authority(server.world, Slot.SERVER))
    signed = author.signed
    author.sign(archive, "lamp").succeeded()
    assert "for another product than 'blink'" in author.deploy(server).err
    author.sign(archive).succeeded()
    good = signed.read_bytes()
    for bad, message in (
        (good[:100] + bytes([good[100] ^ 1]) + good[101:], "none of the product's 1 public keys"),
        (archive.read_bytes(), "no signature trailer"),
        (good[:-1], "no signature trailer"),
        (server.world.firmware(1).signed, "no signed archive"),
    ):
        signed.write_bytes(bad)
        assert message in author.deploy(server).err
    credentials = f"Authorization: Bearer {server.token}"
    head = get("/v1/products/blink/channels/stable/certs", credentials, "Content-Length: 5", method="PUT")
    assert talk(server.world.context(), server.operators, head + b"hello").status == 422, "the server checks by itself"
    assert fetch(server).status == 404


def test_an_archive_survives_a_restart_and_a_backup(start_server: StartServer, world: World, author: Author) -> None:
    server = start_server()
    archive = author.packed(authority(world, Slot.SERVER))
    author.sign(archive).succeeded()
    author.deploy(server).succeeded()
    before = fetch(server).body
    assert server.stop() == 0
    backup, again = author.folder / "backup.tar", author.folder / "again"
    author.otaseal("store", "backup", server.store, backup).succeeded()
    author.otaseal("store", "restore", backup, again).succeeded()
    author.otaseal("store", "check", again).succeeded()
    assert fetch(start_server(store="again")).body == before


def test_a_damaged_archive_is_an_alarm_and_never_other_bytes(
    start_server: StartServer, world: World, author: Author
) -> None:
    server = start_server()
    archive = author.packed(authority(world, Slot.SERVER))
    author.sign(archive).succeeded()
    author.deploy(server).succeeded()
    assert server.stop() == 0
    digest = hashlib.sha256(author.signed.read_bytes()).hexdigest()
    (server.store / "blobs" / "sha256" / digest[:2] / digest).write_bytes(b"other bytes")
    again = start_server()
    assert fetch(again).status == 503
    again.logs("alarm")


def test_devices_keep_getting_firmware_beside_certificates(server: Running, author: Author) -> None:
    old = server.world.firmware(1)
    lines = [f"X-Otaseal-{name}: {value}" for name, value in (("Counter", 3), ("Error", -5), ("Certs", "0" * 64))]
    request = as_device("/blink/firmware.bin.signed", old).removesuffix(b"\r\n")
    head = request + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    assert talk(server.world.context(), server.port, head).status == 404
    bad = head.replace(b"Error: -5", b"Error: much")
    assert talk(server.world.context(), server.port, bad).status == 400


def test_sign_leaves_no_stale_result_and_overwrites_nothing_else(author: Author, world: World) -> None:
    archive = author.packed(authority(world, Slot.SERVER))
    assert public.fingerprint(world.key.public_key()) in author.sign(archive).succeeded().out
    broken, precious = author.folder / "broken.ar", author.folder / "notes.txt"
    broken.write_bytes(archive.read_bytes()[:-3])
    assert author.sign(broken).code != 0
    assert not author.signed.exists()
    precious.write_text("precious")

    def signed_into(output: Path) -> Result:
        return author.otaseal("certs", "sign", archive, "--product", "blink", "--key", author.key, "-o", output)

    assert "is not a signed archive" in signed_into(precious).err
    assert precious.read_text() == "precious"
    assert "overwrite its own input" in signed_into(archive).err
    assert archive.exists()
    assert "no product is given" in author.otaseal("certs", "sign", archive, "--key", author.key).err
