"""Devices for these tests: the library is compiled once, and its servers are those of a world of its own."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.answering import Answers, firmware_reply
from support.esp32_devices import NOW, RAW, own_archive
from support.firmware import OWN, PRODUCT, Device, Signing, StartAnswers, pack, server_context, shared_programs
from support.servers import Running, World, start


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> dict[str, Path]:
    base = tmp_path_factory.getbasetemp()
    return shared_programs(base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base, rsa_key.public_key())


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[Running]:
    """Return a real server without releases, for one test."""
    running = start(world, tmp_path / "store")
    yield running
    running.end()


@pytest.fixture
def signing(rsa_key: rsa.RSAPrivateKey) -> Signing:
    return Signing(rsa_key)


@pytest.fixture
def device(programs: dict[str, Path], world: World, tmp_path: Path) -> Device:
    """Return a device that trusts the world's authority and gets the time from the network."""
    made = Device(programs["device"], tmp_path / "device", {"ntp": int(time.time())})
    made.belongs(OWN, world.key.public_key())
    made.put("certs.ar", pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())))
    return made


@pytest.fixture
def answers(world: World) -> Iterator[StartAnswers]:
    started: list[Answers] = []

    def start(
        firmware: bytes | None = None, *, tls: bool = True, context: ssl.SSLContext | None = None, **paths: bytes
    ) -> Answers:
        known = {f"/{PRODUCT}/{name.replace('_', '.')}": body for name, body in paths.items()}
        if firmware is not None:
            known[f"/{PRODUCT}/firmware.bin.signed"] = firmware
        started.append(Answers((context or server_context(world)) if tls else None, known).__enter__())
        return started[-1]

    yield start
    for one in started:
        one.__exit__()


@pytest.fixture
def offered(signing: Signing) -> bytes:
    """Return the honest response with a newer release."""
    return firmware_reply(signing.sign(signing.payload()))


@pytest.fixture(scope="session")
def esp32_programs(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> dict[str, Path]:
    base = tmp_path_factory.getbasetemp()
    parent = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    return shared_programs(parent, rsa_key.public_key(), "esp32")


@pytest.fixture
def esp32(esp32_programs: dict[str, Path], world: World, tmp_path: Path) -> Iterator[Device]:
    """Return an ESP32 that trusts the world's authority; whatever comes, it keeps its certificates."""
    made = Device(esp32_programs["device"], tmp_path / "esp32", {"ntp": NOW})
    made.runs(RAW)
    made.belongs(OWN, world.key.public_key())
    made.put("certs.ar", own_archive(world))
    yield made
    assert made.has("certs.ar"), "no update may cost the certificates"


@pytest.fixture(scope="session")
def pico_programs(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> dict[str, Path]:
    base = tmp_path_factory.getbasetemp()
    parent = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    return shared_programs(parent, rsa_key.public_key(), "pico")


@pytest.fixture
def pico(pico_programs: dict[str, Path], world: World, tmp_path: Path) -> Iterator[Device]:
    """Return a Pico W that trusts the world's authority; whatever comes, it keeps its certificates."""
    made = Device(pico_programs["device"], tmp_path / "pico", {"ntp": int(time.time())})
    made.belongs(OWN, world.key.public_key())
    made.put("certs.ar", pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())))
    yield made
    assert made.has("certs.ar"), "no update may cost the certificates"
