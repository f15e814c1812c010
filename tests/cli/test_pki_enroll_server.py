"""`otaseal pki enroll --server`: what devices asked for over the air, signed on the machine with the authorities."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.client.client import Client
from otaseal.enrolment import waiting
from otaseal.errors import InputError, SystemFaultError
from otaseal.pki import Role
from otaseal.pki.enrolment import check_request
from otaseal.pki.store import Store
from support.command import TOOLS, Command, otaseal
from support.enrolled_chips import NOW, Chip, claimed, signed
from support.servers import PRODUCT, SECONDS, Running, World, operator, start, until
from support.terminal import Terminal

__all__ = ["otaseal"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> World:
    return World.create(tmp_path_factory.mktemp("world"), rsa_key)


def running(world: World, name: str, *options: str | Path) -> Iterator[Running]:
    server = start(world, world.folder / name, *options)
    files.write_new(world.folder / f"{name}.token", f"{server.token}\n".encode(), files.PRIVATE_MODE)
    yield server
    server.end()


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Running]:
    """A server that every device may ask."""
    yield from running(world, "open")


@pytest.fixture(scope="module")
def guarded(world: World) -> Iterator[Running]:
    """A server for devices that have a certificate."""
    yield from running(world, "guarded", "--device-ca", world.pki.directory / "device-ca" / "certificate.pem")


@pytest.fixture
def chip(request: pytest.FixtureRequest) -> Chip:
    """A device with a name of its own."""
    digits = hashlib.sha256(request.node.name.encode()).hexdigest()[:6].upper()
    return Chip(f"5C:CF:7F:{digits[:2]}:{digits[2:4]}:{digits[4:]}")


def options(server: Running, *others: str | Path) -> list[str | Path]:
    """Return the command against the server, as a person calls it on the machine with the authorities."""
    folder = server.world.folder
    named: list[str | Path] = ["--server", server.url, "--product", PRODUCT, "--ca", server.world.ca]
    token = server.store.with_suffix(".token")
    return ["pki", "enroll", *named, "--token-file", token, "--store", folder / "pki", *others]


def test_a_person_sees_what_waits_and_has_it_signed(server: Running, otaseal: Command, chip: Chip) -> None:
    assert chip.ask(server, claimed(server)[1]).status == 202
    otaseal(*options(server)).failed(2, "1 request to sign, and nobody to ask")
    otaseal(*options(server, "--json")).failed(2, "nobody to ask")
    assert f"left     {chip.name}  with a claim code" in otaseal(*options(server, "--renewals")).succeeded().out
    command = [sys.executable, "-m", "otaseal", *map(str, options(server))]
    for answer, code in (("no", 2), ("yes", 0)):
        assert chip.ask(server).status == 202
        with Terminal(command, {"PYTHONPATH": str(TOOLS)}) as terminal:
            terminal.expect("type 'yes' to sign 1 request: ")
            terminal.type(answer)
            shown = terminal.rest()
            assert terminal.returncode == code, shown
        assert f"waits    {chip.name}  with a claim code" in shown
    got = chip.ask(server)
    assert got.status == 200
    certificate = x509.load_der_x509_certificate(got.body)
    assert certificate.public_key() == chip.key.public_key()
    (entry,) = [entry for entry in server.world.pki.list() if entry.name == chip.name]
    assert entry.serial == f"{certificate.serial_number:x}"
    assert otaseal(*options(server)).succeeded().out == "nothing waits\n"


def test_a_claim_code_takes_over_no_device_that_has_a_certificate(
    server: Running, otaseal: Command, chip: Chip
) -> None:
    """The server knows nothing of what was signed at the bench."""
    signed(server.world, chip.request())
    other = Chip(chip.name)
    assert other.ask(server, claimed(server)[1]).status == 202
    refused = otaseal(*options(server, "--yes"))
    assert refused.code == 1
    line = f"refused  {chip.name}  it asks with a claim code, and has the valid certificate "
    assert line in refused.out
    assert f"otaseal pki revoke {chip.name}" in refused.out
    assert other.ask(server).status == 202
    server.world.pki.revoke(Role.DEVICE, chip.name, now=NOW)
    assert otaseal(*options(server, "--yes")).succeeded().out.count("signed   ") == 1
    assert other.ask(server).status == 200


def test_what_a_later_server_says_of_a_request_is_passed_over(server: Running, chip: Chip) -> None:
    assert chip.ask(server, claimed(server)[1]).status == 202

    class Later(Client):
        def get(self, path: str) -> Any:
            answer = super().get(path)
            return {**answer, "enrolments": [{**row, "chip": "esp8266"} for row in answer["enrolments"]]}

    client = Later(server.url, server.token, server.world.ca)
    (found,) = [one for one in waiting.fetch(client, PRODUCT, server.world.pki, NOW) if one.device == chip.name]
    assert found.request is not None
    assert found.request.public_key == chip.key.public_key()
    waiting.answer(client, PRODUCT, server.world.pki, found.request, now=NOW, days=90)


def test_a_timer_signs_renewals_and_nothing_that_is_revoked(
    guarded: Running, otaseal: Command, chip: Chip, tmp_path: Path
) -> None:
    """The index here counts, whatever the server was told."""
    new = Chip(chip.name)
    held = chip.keep(signed(guarded.world, chip.request()), tmp_path / "held")
    assert new.ask(guarded, client=held).status == 202
    copied = Store(tmp_path / "pki", PRODUCT)
    subprocess.run(["cp", "-r", guarded.world.pki.directory, copied.directory], check=True)
    copied.revoke(Role.DEVICE, chip.name, now=NOW)
    elsewhere = [*options(guarded, "--renewals")]
    elsewhere[elsewhere.index(guarded.world.folder / "pki")] = copied.directory
    assert f"left     {chip.name}  a renewal" in otaseal(*elsewhere).succeeded().out
    assert new.ask(guarded, client=held).status == 202
    done = otaseal(*options(guarded, "--renewals", "--json")).succeeded().json
    assert ([row["name"] for row in done["signed"]], done["refused"], done["waiting"]) == ([chip.name], [], 0)
    assert new.ask(guarded, client=held).status == 200
    serials = {entry.serial for entry in guarded.world.pki.list() if entry.name == chip.name}
    assert {entry.serial for entry in guarded.world.pki.revoke(Role.DEVICE, chip.name, now=NOW)} == serials
    assert len(serials) == 2


def test_again_and_again_until_it_is_stopped(server: Running, chip: Chip, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "otaseal", *map(str, options(server, "--every", "1s", "--yes"))]
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            code = claimed(server)[1]
            until(lambda: chip.ask(server, code).status == 200, "the certificate never came")
            other = Chip(chip.name[:-2] + "FF")
            code = claimed(server, other.name)[1]
            until(lambda: other.ask(server, code).status == 200, "only once")
            until(lambda: log.read_text().count("signed   ") == 2, "it does not say what it signs")
        finally:
            process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
    said = log.read_text()
    assert "Traceback" not in said
    assert "nothing waits" not in said, "a log that grows for nothing"


def test_what_the_server_refuses_is_revoked_here(
    guarded: Running, otaseal: Command, chip: Chip, tmp_path: Path
) -> None:
    """The authorities of another folder, which the server's --device-ca is not one of."""
    held = chip.keep(signed(guarded.world, chip.request()), tmp_path / "held")
    new = Chip(chip.name)
    assert new.ask(guarded, client=held).status == 202
    stranger = Store.create(tmp_path / "stranger", PRODUCT, NOW)
    command = options(guarded, "--yes")
    command[command.index(guarded.world.folder / "pki")] = stranger.directory
    refused = otaseal(*command)
    assert refused.code == 1
    assert "is not from the server's --device-ca; certificate" in refused.err
    (entry,) = stranger.list()
    assert entry.revoked is not None
    as_json = otaseal(*command, "--json")
    assert (as_json.code, [row["name"] for row in as_json.json["refused"]]) == (1, [chip.name])
    assert new.ask(guarded, client=held).status == 202, "it still waits"


def test_an_answer_that_was_lost_is_sent_again(server: Running, chip: Chip) -> None:
    request = check_request(chip.request())
    assert chip.ask(server, claimed(server)[1]).status == 202
    nowhere = Client("https://localhost:1", server.token, server.world.ca)
    with pytest.raises(SystemFaultError):
        waiting.answer(nowhere, PRODUCT, server.world.pki, request, now=NOW, days=90)
    (entry,) = [entry for entry in server.world.pki.list() if entry.name == chip.name]
    assert entry.revoked is None, "the server may have it"
    certificate = waiting.answer(operator(server), PRODUCT, server.world.pki, request, now=NOW, days=90)
    assert certificate.serial == entry.serial
    assert chip.ask(server).body == certificate.der
    other = check_request(Chip(chip.name).request())
    with pytest.raises(InputError, match="the server refuses") as failed:
        waiting.answer(operator(server), PRODUCT, server.world.pki, other, now=NOW, days=90)
    assert failed.value.message.endswith("is revoked")
    assert [one.revoked is None for one in server.world.pki.list() if one.name == chip.name] == [True, False]
