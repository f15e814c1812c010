"""Device libraries of before, compiled from their own sources: they work against the server of today.

`library-<commit>.tar.xz` has what `git archive <commit>` gives of `firmware/OtaSeal/src`, its `library.json` and
`tests/firmware/host`: a library as devices in the field have it, and what stands around it on the host. It is never
made again. What a build generates and what stands in for the core are today's: a project may pin an older library.
"""

from __future__ import annotations

import fcntl
import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips import esp8266
from otaseal.client import archives
from otaseal.image.manifest import Claim
from otaseal.pki.store import Slot
from otaseal.release import signed_archive
from support import firmware, kept, peers
from support.firmware import COUNTER, OWN, PRODUCT, Device, Signing, pack
from support.images import Signer, build_image
from support.servers import Running, World, devices_seen, operator, publish, start

pytestmark = pytest.mark.proof

SINCE = Path(__file__).with_name("since.cpp")
"""What the stand-in of the core declares by now, and what was kept does not define."""
NOT_FOUND, SIGNATURE = 21, 30
"""Errors of the library: nothing of that name, and a signature that is not by its key."""


def compiled(name: str, folder: Path, key: rsa.RSAPublicKey) -> Path:
    """Return the program of an ESP8266 with the library in the archive `name`."""
    compiler = peers.tool("g++", "g++")
    peers.require("bearssl", Path("/usr/include/bearssl.h").exists(), "libbearssl-dev")
    kept.unpack(name, folder)
    firmware.write_header(folder, key)
    library, host = folder / "firmware" / "OtaSeal" / "src", folder / "tests" / "firmware" / "host"
    around = [path for path in sorted(host.glob("*.cpp")) if path.stem != "matrix"]
    core = [firmware.CORE / "cores" / "esp8266", firmware.CORE / "variants" / "nodemcu", *firmware.LIBRARIES]
    include = [f"-I{path}" for path in (folder, host / "include", library, host, *core)]
    # Without warnings: what later compilers warn of is nothing that could be mended here.
    flags = ["-std=c++17", "-fno-rtti", "-w", *firmware.DEFINES, "-DARDUINO_ARCH_ESP8266", *include]

    def compile_one(source: Path) -> Path:
        made = folder / f"{source.stem}.o"
        firmware.run_compiler([compiler, *flags, "-c", source, "-o", made])
        return made

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, [*sorted(library.rglob("*.cpp")), *around, SINCE, *firmware.CORE_SOURCES]))
    firmware.run_compiler([compiler, "-o", folder / "device", *objects, *firmware.TLS["esp8266"]])
    return folder / "device"


@pytest.fixture(scope="module", params=kept.names("library"))
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey
) -> Path:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / request.param
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:  # processes that need it at once compile it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "device"
        return made if made.exists() else compiled(request.param, folder, rsa_key.public_key())


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[Running]:
    running = start(world, tmp_path / "store")
    yield running
    running.end()


@pytest.fixture
def signing(world: World) -> Signing:
    return Signing(world.key)


@pytest.fixture
def device(program: Path, world: World, server: Running, signing: Signing, tmp_path: Path) -> Device:
    """Return a device that trusts the world's authority and runs the release 1.0 of the server."""
    image = world.firmware(8)
    publish(server, "1.0", signing.sign(signing.payload(image.raw, version="1.0")))
    made = Device(program, tmp_path / "device", {"ntp": int(time.time()), "port": server.port})
    made.settings |= {"sketch_md5": image.md5, "sketch_size": esp8266.parse(image.raw).sketch_size}
    made.belongs(OWN, world.key.public_key())
    made.put("certs.ar", pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())))
    return made


def test_it_updates_and_is_up_to_date(server: Running, device: Device, signing: Signing) -> None:
    assert device.run(polls=2).results == [("up-to-date", 0, 0)] * 2
    raw = build_image(seed=7, code_size=60_000)
    payload = signing.payload(raw)
    publish(server, "1.1", signing.sign(payload))
    done = device.run()
    assert (done.results, done.staged) == ([("installed", 0, 0)], payload)
    parsed = esp8266.parse(raw)
    assert parsed.flash_mode is not None
    updated = device.run(sketch_md5=parsed.sketch_md5(parsed.flash_mode), sketch_size=parsed.sketch_size)
    assert updated.results == [("up-to-date", 0, 0)]
    (seen,) = devices_seen(server)
    assert (seen["running"], seen["state"]) == ("1.1", "updated")


def test_it_refuses_what_is_not_signed_for_it(
    server: Running, device: Device, signing: Signing, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    publish(server, "1.1", signing.sign(signing.payload()))
    device.belongs(OWN, other_rsa_key.public_key())
    refused = device.run()
    assert refused.staged is None
    assert refused.results[0][:2] == ("failed", SIGNATURE)
    (seen,) = devices_seen(server)
    assert seen["running"] == "1.0"


def test_it_says_that_there_is_nothing_for_it(device: Device) -> None:
    refused = device.run(channel="nowhere")
    assert refused.results[0][:2] == ("failed", NOT_FOUND)
    assert refused.staged is None


def test_it_takes_certificates(server: Running, device: Device, world: World) -> None:
    roots = [world.pki.directory / slot.value / "certificate.pem" for slot in (Slot.SERVER, Slot.SERVER_NEXT)]
    archive = pack(*(ssl.PEM_cert_to_DER_cert(path.read_text()) for path in roots))
    now = datetime.now(timezone.utc)
    claim = Claim(PRODUCT, counter=COUNTER, build_time=int(now.timestamp()))
    archives.deploy_archive(
        operator(server), signed_archive.sign(archive, claim, Signer(world.key), now), PRODUCT, "stable"
    )
    done = device.run(polls=3)
    assert [name for name, _, _ in done.results].count("renewed") == 1
    assert device.get("certs.ar") == archive
