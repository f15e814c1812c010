"""The device's proof key at a real server: registered from the bench before anything is signed, or nothing is done."""

from __future__ import annotations

import json

import pytest

from otaseal.client.client import Client
from otaseal.enrolment import bench
from otaseal.enrolment.bench import Registry, Signing
from otaseal.enrolment.port import Port
from otaseal.errors import InputError, OtasealError
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.secrets import SECRETS_FILE, Secrets
from support.enrolling import MAC, SerialDevice
from support.servers import PRODUCT, Running, operator


def registered(server: Running, name: str) -> bytes | None:
    """Return the key that the server has for a device, enrolled by an operator."""
    with Secrets(server.store / SECRETS_FILE) as secrets:
        key = ProofKeys(secrets).get(PRODUCT, f"mac:{name}")
    return key.key if key is not None and key.enrolled is not None else None


def enroll(device: SerialDevice, signing: Signing | None, client: Client, product: str = PRODUCT) -> bench.Enrolled:
    with Port(device.port, 115200) as port:
        return bench.enroll(port, signing, Registry(client, product))


@pytest.mark.parametrize("signs", [True, False])
def test_a_key_is_registered_and_a_certificate_signed(server: Running, signs: bool) -> None:
    name = "5C:CF:7F:00:01:01" if signs else "5C:CF:7F:00:01:02"
    signing = Signing(server.world.pki, 90) if signs else None
    with SerialDevice(name) as device:
        done = enroll(device, signing, operator(server))
    assert registered(server, name) == device.proof_key
    assert (device.certificate is not None) is signs
    assert done.server == server.url
    written = (server.store / "audit.log").read_text() + server.log.read_text() + "".join(done.lines())
    assert device.proof_key.hex() not in written
    (event,) = [row for row in map(json.loads, (server.store / "audit.log").read_text().splitlines())
                if row["event"] == "enrol" and row["device"] == f"mac:{name}"]  # fmt: skip
    assert event["by"] == "token:tests"


@pytest.mark.parametrize("fault", ["token", "product", "address"])
def test_where_the_server_does_not_take_the_key_nothing_is_signed(server: Running, fault: str) -> None:
    name, good = "5C:CF:7F:00:01:03", operator(server)
    client = Client(
        "https://localhost:1" if fault == "address" else good.url,
        "no-such-token" if fault == "token" else good.token,
        server.world.ca,
    )
    before = server.world.pki.list()
    with SerialDevice(name) as device, pytest.raises(OtasealError):
        enroll(device, Signing(server.world.pki, 90), client, "lamp" if fault == "product" else PRODUCT)
    assert server.world.pki.list() == before
    assert registered(server, name) is None
    assert set(device.received) == {"otaseal hello"}


def test_a_key_stays_registered_when_the_device_refuses_its_certificate(server: Running) -> None:
    """It is the device's key all the same: the next attempt registers it again."""
    with SerialDevice(MAC, verdicts=(b"otaseal error 44",)) as device, pytest.raises(InputError) as failed:
        enroll(device, Signing(server.world.pki, 90), operator(server))
    assert registered(server, MAC) == device.proof_key
    assert failed.value.message.endswith("is revoked")
