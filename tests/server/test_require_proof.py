"""`serve --require-proof`: firmware for devices that prove their names alone, and what their operator sees and does."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from otaseal.errors import InputError
from otaseal.pki.profile import Role
from otaseal.store.files import DEVICES_FILE
from otaseal.store.proof_keys import fingerprint
from support.command import process
from support.proving import ProvingDevice, plausible
from support.servers import (
    MAC,
    Firmware,
    Reply,
    Running,
    StartServer,
    World,
    as_device,
    devices_seen,
    get,
    metrics,
    operator,
    publish,
    talk,
    until,
)

FIRMWARE, CERTS = "/blink/firmware.bin.signed", "/blink/certs.ar.signed"


@pytest.fixture(scope="module")
def releases(world: World) -> tuple[Firmware, Firmware]:
    return world.firmware(1), world.firmware(2)


def poll(server: Running, device: ProvingDevice, firmware: Firmware, client: Path | None = None) -> Reply:
    """Return the answer about firmware, after that about certificates was heeded."""
    context = server.world.context(client)
    device.heed(talk(context, server.port, device.prove(as_device(CERTS, firmware, device.mac))).headers)
    return talk(context, server.port, device.prove(as_device(FIRMWARE, firmware, device.mac)))


def cli(server: Running, *arguments: str, folder: Path) -> str:
    credentials = ("--server", server.url, "--product", "blink", "--ca", server.world.ca)
    return process("devices", *arguments, *credentials, cwd=folder, OTASEAL_TOKEN=server.token).succeeded().out


def audited(server: Running, event: str) -> Sequence[dict[str, object]]:
    lines = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_it_is_refused_while_devices_seen_lately_cannot_and_goes_on_with_strand_devices(
    start_server: StartServer, world: World, releases: tuple[Firmware, Firmware], tmp_path: Path
) -> None:
    old, new = releases
    server = start_server()
    publish(server, "1.0", old.signed)
    proving = ProvingDevice(plausible(1))
    for _ in range(3):
        assert poll(server, proving, old).status == 304
    talk(world.context(), server.port, as_device(FIRMWARE, old))
    until(lambda: len(devices_seen(server)) == 2, "both are listed")
    assert server.stop() == 0
    command = ("serve", "--store", server.store, "--cert", world.chain, "--key", world.chain.with_name("key.pem"))
    listen = ("--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0")
    refused = process(*command, *listen, "--require-proof", cwd=tmp_path)
    error, hint = refused.err.splitlines()[-2:]  # behind the log
    assert error.startswith("otaseal: error: 1 device seen in the last 30 days did not prove its name, and")
    assert hint.endswith("add --strand-devices")
    assert " open " not in refused.err, "nobody can read anything: it did not start"
    assert refused.code == 1
    process(*command, *listen, "--strand-devices", cwd=tmp_path).failed(2, "--strand-devices is given, and no device")

    closed = start_server("--require-proof", "--strand-devices")
    closed.logs("open ", "only devices that prove their names, by a key, can read the firmware")
    (event,) = audited(closed, "proof")
    assert (event["required"], event["stranded"]) == (True, 1)
    assert publish(closed, "2.0", new.signed).confirmed == "operators", "no operator's client can read it there"
    stock = talk(world.context(), closed.port, as_device(FIRMWARE, old))
    assert (stock.status, stock.headers["x-otaseal-reason"]) == (403, "proof")
    assert b"gives firmware to devices that prove their names" in stock.body
    assert talk(world.context(), closed.port, as_device(FIRMWARE, new)).status == 304
    assert talk(world.context(), closed.port, get(FIRMWARE)).status == 403
    assert talk(world.context(), closed.port, get(CERTS)).status == 404, "certificates are for all"
    assert poll(closed, proving, old).body == new.signed
    closed.end()
    again = start_server("--require-proof")
    assert poll(again, proving, old).body == new.signed, "who came since is nobody that is left behind"
    again.end()
    opened = start_server()
    assert [line["required"] for line in audited(opened, "proof")] == [True, False]
    assert talk(world.context(), opened.port, as_device(FIRMWARE, old)).body == new.signed


def test_who_comes_later_waits_for_an_operator(
    start_server: StartServer, world: World, releases: tuple[Firmware, Firmware], tmp_path: Path
) -> None:
    old, new = releases
    server = start_server("--require-proof")
    publish(server, "2.0", new.signed)
    device, bench = ProvingDevice(MAC), ProvingDevice(plausible(2))
    assert operator(server).enrol("blink", bench.mac, bench.key)["channel"] is None
    assert poll(server, bench, old).body == new.signed
    for _ in range(3):
        waiting = poll(server, device, old)
        assert (waiting.status, waiting.headers["x-otaseal-reason"]) == (403, "proof")
    assert "x-otaseal-proof" not in waiting.headers, "the proof is good"
    shown = cli(server, "show", MAC, folder=tmp_path)
    assert "agreed at first contact" in shown
    assert "waits for otaseal devices accept" in shown
    assert device.key.hex() not in shown
    assert cli(server, "accept", MAC.lower(), folder=tmp_path).startswith(f"mac:{MAC}: its key is accepted: ")
    assert poll(server, device, old).body == new.signed
    assert [line["by"] for line in audited(server, "accept")] == ["token:tests"]

    device.lose_secret()
    assert [poll(server, device, old).status for _ in range(3)] == [403, 403, 403]
    shown = cli(server, "show", MAC, folder=tmp_path)
    assert "shown in place of the known one" in shown
    assert "from 127.0.0.1" in shown
    assert f"unproven:{MAC}" in shown
    listed = cli(server, folder=tmp_path)
    assert "by an enrolled key" in listed
    assert "says so without proof" in listed
    rows = {row["device"]: row["proof"] for row in devices_seen(server)}
    expected = {f"mac:{bench.mac}": "enrolled key", f"mac:{MAC}": "enrolled key"}
    assert rows == {**expected, f"unproven:{MAC}": "none, and the device has a key"}
    told = metrics(server)
    assert 'otaseal_proof_keys{kind="enrolled"} 2' in told
    assert 'otaseal_proof_keys{kind="waiting"} 1' in told
    assert 'otaseal_proofs_total{result="wrong"}' in told
    answer = json.loads(cli(server, "accept", MAC, "--json", folder=tmp_path))
    assert answer["address"] == "127.0.0.1"
    assert poll(server, device, old).body == new.signed
    cli(server, "forget", MAC, folder=tmp_path)
    assert {row["device"] for row in devices_seen(server)} == {f"mac:{bench.mac}"}
    server.end()
    said = server.log.read_text() + (server.store / "audit.log").read_text()
    for one in (device, bench):
        assert one.key.hex() not in said


def test_another_ones_key_is_not_accepted_in_place_of_the_agreed_one(
    start_server: StartServer, world: World, releases: tuple[Firmware, Firmware], tmp_path: Path
) -> None:
    old, new = releases
    server = start_server("--require-proof")
    publish(server, "2.0", new.signed)
    device, other = ProvingDevice(MAC), ProvingDevice(MAC)
    for one in (device, device, other, other):
        assert poll(server, one, old).status == 403
    with pytest.raises(InputError, match=f"two keys are shown for 'mac:{MAC}': '") as refused:
        operator(server).accept("blink", MAC)
    mine, theirs = (fingerprint(one.key) for one in (device, other))
    assert refused.value.message.index(mine) < refused.value.message.index(theirs)
    assert "--key" in refused.value.hint
    for key, said in (("0" * 16, "has not shown the key '0000000000000000'"), ("0" * 15, "no key's fingerprint")):
        with pytest.raises(InputError, match=said):
            operator(server).accept("blink", MAC, key)
    assert not audited(server, "accept")
    assert mine in cli(server, "accept", MAC, "--key", mine, folder=tmp_path)
    assert poll(server, device, old).body == new.signed
    assert poll(server, other, old).status == 403
    assert "its key is accepted" in cli(server, "accept", MAC, "--key", theirs, folder=tmp_path), "a lost secret"
    assert poll(server, other, old).body == new.signed


def test_certificate_or_key_where_tls_asks_for_one(
    start_server: StartServer, world: World, releases: tuple[Firmware, Firmware]
) -> None:
    old, new = releases
    client = world.client(Role.DEVICE, "pantry")
    authority = world.pki.directory / "device-ca" / "certificate.pem"
    server = start_server("--require-proof", "--device-ca", authority)
    server.logs("open ", "by a certificate or a key, can read")
    publish(server, "2.0", new.signed)
    assert talk(world.context(client), server.port, as_device(FIRMWARE, old)).body == new.signed
    device = ProvingDevice(plausible(3))
    operator(server).enrol("blink", device.mac, device.key)
    assert poll(server, device, old).body == new.signed
    assert talk(world.context(), server.port, as_device(FIRMWARE, old)).status == 403
    both = ProvingDevice(plausible(4))
    assert "x-otaseal-proof" not in poll(server, both, old, client).headers
    names = {row["device"]: row["proof"] for row in devices_seen(server)}
    assert names == {"cert:pantry": "certificate", f"mac:{device.mac}": "enrolled key", f"mac:{MAC}": "none"}


def test_who_was_silent_for_a_month_is_not_left_behind(start_server: StartServer, world: World) -> None:
    server = start_server()
    publish(server, "1.0", world.firmware(1).signed)
    talk(world.context(), server.port, as_device(FIRMWARE, world.firmware(1)))
    until(lambda: len(devices_seen(server)) == 1, "it is listed")
    server.end()
    with closing(sqlite3.connect(server.store / DEVICES_FILE)) as database:
        database.execute("UPDATE devices SET last_seen = ?", (time.time() - 31 * 86400,))
        database.commit()
    start_server("--require-proof")
