"""Enrolment over a serial line: the key and the request that the chip makes, and what it takes for an answer."""

from __future__ import annotations

import base64
import os
import pty
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from otaseal.enrolment import bench
from otaseal.enrolment.bench import Signing
from otaseal.enrolment.port import Port
from support import cas
from support.bench import at_bench, sign, stranger
from support.firmware import Device
from support.peers import tool
from support.servers import World

MAC = "5C:CF:7F:F0:0A:CB"
UNSIGNED = slice(3, 131)
"""Of a request: all but its signature, which is another one each time."""


@pytest.fixture(params=["device", "esp32", "pico"])
def enrolling(request: pytest.FixtureRequest) -> Device:
    """Return an ESP8266, an ESP32 and a Pico W."""
    made: Device = request.getfixturevalue(request.param)
    made.settings["mac"] = MAC
    return made


def openssl(folder: Path, *arguments: str, data: bytes) -> str:
    """Return what openssl says of DER."""
    (folder / "in.der").write_bytes(data)
    command = [tool("openssl", "openssl"), *arguments, "-inform", "DER", "-in", folder / "in.der", "-noout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_request_and_the_key_are_good(enrolling: Device, world: World, tmp_path: Path) -> None:
    with at_bench(enrolling) as line:
        name, proof_key, request = line.meet()
        assert name == MAC.replace(":", "").lower()
        assert bytes.fromhex(proof_key) != bytes(32)
        assert line.give(sign(world, request)) == "otaseal ok"
    said = openssl(tmp_path, "req", "-verify", "-text", "-nameopt", "RFC2253", data=request)
    assert "verify OK" in said
    for part in (f"Subject: CN={MAC}\n", "ASN1 OID: prime256v1", "ecdsa-with-SHA256"):
        assert part in said
    csr = x509.load_der_x509_csr(request)
    assert csr.is_signature_valid
    assert csr.public_bytes(Encoding.DER) == request
    key = load_der_private_key(enrolling.get("client.key"), None)  # as all cores take it (F99)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == csr.public_key()
    assert "EC Key valid" in openssl(tmp_path, "ec", "-check", data=enrolling.get("client.key"))
    assert not enrolling.has("client.key.new")
    assert not enrolling.has("client.crt.new")


def test_two_devices_and_two_enrolments_have_keys_of_their_own(enrolling: Device, world: World) -> None:
    keys = set()
    for chance in (1, 2, 2):
        with at_bench(enrolling, chance=chance) as line:
            request = line.meet()[2]
            assert line.meet()[2][UNSIGNED] == request[UNSIGNED], "the one that it has asked with"
            assert line.give(sign(world, request)) == "otaseal ok"
        keys.add(enrolling.get("client.key"))
    assert len(keys) == 2, "the third device has the noise of the second"


def test_without_an_authority_only_the_proof_key_is_told(enrolling: Device) -> None:
    with at_bench(enrolling) as line:
        first = line.meet()
        line.say("otaseal done")
        assert line.hear() == "otaseal ok"
    with at_bench(enrolling) as line:
        assert line.meet()[:2] == first[:2], "the proof key stays"
    assert not enrolling.has("client.key")


def point(request: bytes) -> bytes:
    """Return the public key (DER) of a request."""
    key = x509.load_der_x509_csr(request).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


OTHER = cas.key("P-256", 3).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
"""As DER or PEM, keys are not all the same to all cores (F99); requests are."""
REFUSED: dict[str, Callable[[bytes], bytes]] = {
    "for another key": lambda _: stranger(OTHER),
    "for an RSA key": lambda _: stranger(
        cas.key("RSA-1024").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ),
    "cut off": lambda request: stranger(point(request))[:-1],
    "with a byte behind": lambda request: stranger(point(request)) + b"\0",
    "the request itself": lambda request: request,
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_certificate_that_does_not_fit_is_refused(what: str, enrolling: Device, world: World) -> None:
    with at_bench(enrolling) as line:
        request = line.meet()[2]
        assert line.give(REFUSED[what](request)) == "otaseal error 51"
        line.say("otaseal hello")
        line.hear()
        assert line.give(sign(world, request)) == "otaseal ok", "and then one that does"
    assert enrolling.has("client.crt")


def test_no_base64_is_no_certificate(enrolling: Device) -> None:
    with at_bench(enrolling) as line:
        line.meet()
        for text in ("MII*", "M", "=", " ", "A" * 1150):
            line.say(f"otaseal certificate {text}", "otaseal done")
            assert line.hear() == "otaseal error 51"


def test_lines_of_others_are_passed_over(enrolling: Device, world: World) -> None:
    with at_bench(enrolling) as line:
        noise = [b"", b"otaseal", b"otaseal ", b"otaseal hello!", b"OTASEAL hello", b"\xff" * 3000, b"\0otaseal hello"]
        line.say(*noise, b"otaseal device x y z", b"otaseal ok", b"otaseal error 3")
        line.say(b"otaseal hello\r")
        assert line.hear().startswith("otaseal device ")
        request = line.meet()[2]
        given = f"otaseal certificate {base64.b64encode(sign(world, request)).decode()}\r"
        line.say(given, "", "something else", "otaseal done\r")
        assert line.hear() == "otaseal ok"


def test_an_interrupted_enrolment_changes_nothing(enrolling: Device, world: World) -> None:
    with at_bench(enrolling) as line:
        request = line.meet()[2]
        assert line.give(sign(world, request)) == "otaseal ok"
    before = enrolling.get("client.key"), enrolling.get("client.crt")
    with at_bench(enrolling, chance=5) as line:
        request = line.meet()[2]
        line.say(f"otaseal certificate {base64.b64encode(sign(world, request)).decode()}")
    assert (enrolling.get("client.key"), enrolling.get("client.crt")) == before
    with at_bench(enrolling, chance=6) as line:
        line.say("otaseal done")
        assert line.hear() == "otaseal ok"
    assert (enrolling.get("client.key"), enrolling.get("client.crt")) == before, "nobody has sent a certificate since"


def test_with_our_own_half_over_a_terminal(enrolling: Device, world: World) -> None:
    """All that is there in earnest: pyserial, the lines of the host, and the library."""
    its, ours = pty.openpty()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(enrolling.run, its, polls=0, port=1)
        with Port(os.ttyname(ours), 115200) as port:
            done = bench.enroll(port, Signing(world.pki, 30), None)
            os.close(ours)
        running.result()
    os.close(its)
    assert done.certificate is not None
    assert (done.device, done.certificate.der) == (MAC, enrolling.get("client.crt"))


def test_a_device_that_cannot_says_why(enrolling: Device) -> None:
    with at_bench(enrolling, mountable=0) as line:
        line.say("otaseal hello", "otaseal done")
        assert [line.hear(), line.hear()] == ["otaseal error 2"] * 2


def test_a_full_filesystem_is_told(enrolling: Device, world: World) -> None:
    used = len(enrolling.get("certs.ar"))
    with at_bench(enrolling, room=used + 100) as line:
        line.say("otaseal hello")
        assert line.hear() == "otaseal error 44"
    with at_bench(enrolling, room=used + 400) as line:
        assert line.give(sign(world, line.meet()[2])) == "otaseal error 44"
    assert not enrolling.has("client.key")
    assert not enrolling.has("client.crt.new")
