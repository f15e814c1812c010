"""The library's port to arduino-pico: an update is a file there, and so is the order to the boot stub (F12, F13)."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.answering import firmware_reply
from support.firmware import COUNTER, OWN, Device, Signing, StartAnswers, pack, shared_programs
from support.servers import World, publish, start

pytestmark = pytest.mark.proof

IMAGE, ORDER = "firmware.bin", "otacommand.bin"
FORBIDDEN, SIGNATURE, NO_MANIFEST, BOARD, LOWER, ATTEMPTS = 22, 30, 31, 35, 36, 37


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> Path:
    base = tmp_path_factory.getbasetemp()
    parent = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    return shared_programs(parent, rsa_key.public_key(), "pico")["device"]


@pytest.fixture
def device(program: Path, world: World, tmp_path: Path) -> Iterator[Device]:
    made = Device(program, tmp_path / "pico", {"ntp": int(time.time())})
    made.belongs(OWN, world.key.public_key())
    made.put("certs.ar", pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())))
    yield made
    assert made.has("certs.ar"), "no update may cost the certificates"


def test_a_release_becomes_a_file_and_an_order(device: Device, signing: Signing, answers: StartAnswers) -> None:
    payload = signing.payload()
    done = device.run(port=answers(firmware_reply(signing.sign(payload))).port)
    assert done.results == [("installed", 0, 0)]
    assert done.seen["restarted"] == "1"
    assert device.get(IMAGE) == payload, "the boot stub copies the whole file: no trailer may be left in it"
    assert device.has(ORDER)


@pytest.mark.parametrize(
    ("claim", "error"), [({"counter": COUNTER - 1}, LOWER), ({"board": "another"}, BOARD), (None, NO_MANIFEST)]
)
def test_the_gate_refuses_what_it_refuses_elsewhere(
    device: Device, signing: Signing, answers: StartAnswers, claim: dict[str, object] | None, error: int
) -> None:
    payload = signing.payload()[:-64] if claim is None else signing.payload(**claim)
    done = device.run(port=answers(firmware_reply(signing.sign_anything(payload))).port)
    assert done.errors == [error]
    assert not device.has(ORDER)


def test_an_order_that_was_left_over_is_gone_before_a_download(
    device: Device, signing: Signing, answers: StartAnswers, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    device.put(IMAGE, b"an older release, whole")
    device.put(ORDER, b"Pico OTA")
    offered = firmware_reply(Signing(other_rsa_key).sign(signing.payload()))
    assert device.run(port=answers(offered).port).errors == [SIGNATURE]
    assert not device.has(ORDER), "after a reset now, the boot stub would copy what is there of the refused release"


def test_an_order_outlives_a_poll_without_news(device: Device, answers: StartAnswers) -> None:
    device.put(IMAGE, b"a release that waits for the restart")
    device.put(ORDER, b"Pico OTA")
    device.run(port=answers(b"HTTP/1.0 304 Not Modified\r\n\r\n").port)
    assert device.has(ORDER)
    assert device.get(IMAGE) == b"a release that waits for the restart"


def test_either_of_two_keys_of_one_size(
    device: Device, world: World, signing: Signing, answers: StartAnswers, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    device.belongs(OWN, world.key.public_key(), other_rsa_key.public_key())
    offered = firmware_reply(Signing(other_rsa_key).sign(signing.payload()))
    assert device.run(port=answers(offered).port).results == [("installed", 0, 0)]


def test_a_release_is_tried_three_times(device: Device, signing: Signing, answers: StartAnswers) -> None:
    offered = firmware_reply(signing.sign(signing.payload(counter=COUNTER - 1)))
    port = answers(offered).port
    assert [device.run(port=port).errors for _ in range(4)] == [[LOWER], [LOWER], [LOWER], [ATTEMPTS]]


def test_time_servers_are_asked_once_there_is_a_network(device: Device) -> None:
    done = device.run(port=1, online=0)  # lwIP aborts the program if it is called without
    assert done.ready
    assert not done.results


def test_the_server_publishes_nothing_for_it_yet(
    device: Device, world: World, signing: Signing, tmp_path: Path
) -> None:
    running = start(world, tmp_path / "store")
    publish(running, "1.1", signing.sign(signing.payload()))
    done = device.run(port=running.port)
    running.end()
    assert done.errors == [FORBIDDEN]
    assert not device.has(ORDER)
