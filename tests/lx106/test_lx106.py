"""What the device does with our files and our server, on an emulated CPU of its kind: verdicts, and what they cost."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.delta.making import make
from otaseal.image import gzip_payload, signed_image
from support import lx106, patches, servers
from support.images import Signer, build_image
from support.servers import Running, World

pytestmark = pytest.mark.proof

SIZE = 60_000
CHACHA20_RSA = 0xCCA8
X25519 = 29
NOT_YET_VALID, WRONG_NAME, NOT_TRUSTED = 54, 56, 62


def der(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("bits", [2048, 4096])
def test_a_signature_is_verified(rsa_keys: Callable[..., rsa.RSAPrivateKey], bits: int) -> None:
    key = rsa_keys(bits)
    own = der(key.public_key())
    for payload in (build_image(code_size=SIZE), gzip_payload.compress(build_image())):
        signed = signed_image.sign(payload, Signer(key))
        good = lx106.verify(own, signed)
        assert good.accepted
        assert good.hash > 40 * len(payload)  # it did hash all of it
        assert good.signature > 1_000_000
        for offset in (0, 2, len(payload) - 1, len(payload), len(signed) - 5):
            tampered = signed[:offset] + bytes([signed[offset] ^ 0x10]) + signed[offset + 1 :]
            assert not lx106.verify(own, tampered).accepted
    assert lx106.verify(own, signed[:-1]) == lx106.Verification(False, 0, 0)
    assert lx106.verify(own, signed[-3:]) == lx106.Verification(False, 0, 0)
    assert not lx106.verify(der(rsa_keys(bits, 1).public_key()), signed).accepted


def test_a_patch_is_decoded() -> None:
    """By the library, with the alignment that this CPU wants, and within the memory that an update may take."""
    functions = patches.program(300)
    base, new = patches.image(functions), patches.image([*functions[:100], *patches.program(3, 2), *functions[100:]])
    patch = make(base, new)
    decoded = lx106.decode(base, patch)
    assert (decoded.error, decoded.size, decoded.sha256) == (0, len(new), hashlib.sha256(new).hexdigest())
    assert decoded.memory <= 1536
    assert decoded.cost < 80 * len(new)
    assert lx106.decode(base[::-1], patch).error == 60
    assert lx106.decode(base, patch[:-1]).error == 61


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> Iterator[Running]:
    world = World.create(tmp_path_factory.mktemp("world"), rsa_key)
    running = servers.start(world, world.folder / "store")
    try:
        servers.publish(running, "1.0.0", world.firmware(1, size=SIZE).signed)
        yield running
    finally:
        running.end()


def order(server: Running, seed: int, **other: object) -> lx106.Order:
    """What a device asks for that runs the firmware of that seed; the one published has seed 1."""
    world = server.world
    fields: dict[str, object] = {
        "name": "localhost",
        "seconds": int(time.time()),
        "anchor": ssl.PEM_cert_to_DER_cert(world.ca.read_text()),
        "key": der(world.key.public_key()),
        "request": servers.as_device("/firmware.bin.signed", world.firmware(seed, size=SIZE)),
    }
    return lx106.Order(**{**fields, **other})  # type: ignore[arg-type]


def test_an_update_and_a_resumed_poll(server: Running) -> None:
    update, *_ = lx106.fetch(server.port, order(server, 2))
    assert (update.status, update.resumed) == (200, False)
    assert update.verification is not None
    assert update.verification.accepted
    assert (update.suite, update.curve) == (CHACHA20_RSA, X25519)  # the cheap ones (F27d)

    full, resumed = lx106.fetch(server.port, order(server, 1), 2)
    assert [full.status, resumed.status] == [304, 304]
    assert [full.resumed, resumed.resumed] == [False, True]
    assert resumed.cost * 10 <= full.cost  # instructions, which repeat, not time
    again, _ = lx106.fetch(server.port, order(server, 1), 2)
    assert abs(again.cost - full.cost) < full.cost // 1000


def test_a_foreign_signing_key_is_refused(server: Running, other_rsa_key: rsa.RSAPrivateKey) -> None:
    (update,) = lx106.fetch(server.port, order(server, 3, key=der(other_rsa_key.public_key())))
    assert update.status == 200
    assert update.verification is not None
    assert not update.verification.accepted


@pytest.mark.parametrize(
    ("other", "code"),
    [({"name": "update.local"}, WRONG_NAME), ({"seconds": 0}, NOT_YET_VALID), ({"anchor": None}, NOT_TRUSTED)],
)
def test_a_handshake_that_must_fail(server: Running, other: dict[str, object], code: int, tmp_path: Path) -> None:
    if "anchor" in other:
        foreign = World.create(tmp_path, server.world.key)
        other = {"anchor": ssl.PEM_cert_to_DER_cert(foreign.ca.read_text())}
    with pytest.raises(lx106.TlsError) as refusal:
        lx106.fetch(server.port, order(server, 2, **other))
    assert refusal.value.code == code
