"""Enrolment over a serial line: the key and the request that the chip makes, and what it takes for an answer."""

from __future__ import annotations

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
from otaseal.enrolment.lines import certificate_line
from otaseal.enrolment.port import Port
from otaseal.errors import SystemFaultError
from support import cas
from support.bench import at_bench, sign, stranger
from support.cas import spki_of
from support.firmware import Device
from support.peers import tool
from support.servers import World

pytestmark = pytest.mark.proof

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
    with at_bench(enrolling) as line:
        assert line.meet()[:2] == first[:2], "the proof key stays"
    assert not enrolling.has("client.key")


OTHER = cas.key("P-256", 3).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
"""As DER or PEM, keys are not all the same to all cores (F99); requests are."""
REFUSED: dict[str, Callable[[bytes], bytes]] = {
    "for another key": lambda _: stranger(OTHER),
    "for an RSA key": lambda _: stranger(
        cas.key("RSA-1024").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ),
    "cut off": lambda request: stranger(spki_of(request))[:-1],
    "with a byte behind": lambda request: stranger(spki_of(request)) + b"\0",
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
            line.say(f"otaseal certificate {text}")
            assert line.hear() == "otaseal error 51"


def test_lines_of_others_are_passed_over(enrolling: Device, world: World) -> None:
    with at_bench(enrolling) as line:
        noise = [b"", b"otaseal", b"otaseal ", b"otaseal hello!", b"OTASEAL hello", b"\xff" * 3000, b"\0otaseal hello"]
        line.say(*noise, b"otaseal device x y z", b"otaseal ok", b"otaseal error 3")
        line.say(b"otaseal hello\r")
        assert line.hear().startswith("otaseal device ")
        request = line.meet()[2]
        line.say("", "something else", certificate_line(sign(world, request)) + "\r")
        assert line.hear() == "otaseal ok"


def test_an_interrupted_enrolment_changes_nothing(enrolling: Device, world: World) -> None:
    with at_bench(enrolling) as line:
        request = line.meet()[2]
        assert line.give(sign(world, request)) == "otaseal ok"
    before = enrolling.get("client.key"), enrolling.get("client.crt")
    with at_bench(enrolling, chance=5) as line:
        request = line.meet()[2]
        line.say(certificate_line(sign(world, request))[:-5])
        assert line.hear() == "otaseal error 51"
    assert (enrolling.get("client.key"), enrolling.get("client.crt")) == before


def test_a_certificate_that_comes_again_is_acknowledged_again(enrolling: Device, world: World) -> None:
    """Its first answer was lost: the key is in place by then, and may have a next one beside it."""
    with at_bench(enrolling) as line:
        certificate = sign(world, line.meet()[2])
        assert [line.give(certificate) for _ in range(2)] == ["otaseal ok"] * 2
        assert line.give(certificate[:-1]) == line.give(b"") == "otaseal error 51", "not with a part of it"
        line.meet()
        assert line.give(certificate) == "otaseal ok"
    before = enrolling.get("client.key"), enrolling.get("client.crt")
    with at_bench(enrolling, chance=5) as line:
        assert line.give(certificate) == "otaseal ok", "and after a restart"
        line.meet()
        assert line.give(stranger(OTHER)) == "otaseal error 51"
    assert (enrolling.get("client.key"), enrolling.get("client.crt")) == before


def test_without_a_key_that_waits_nothing_is_written(enrolling: Device, world: World) -> None:
    """A power cut would leave a certificate alone, which is what a pair that was moved by half looks like."""
    with at_bench(enrolling) as line:
        certificate = sign(world, line.meet()[2])
        assert line.give(certificate) == "otaseal ok"
    with at_bench(enrolling, room=0) as line:
        assert line.give(stranger(OTHER)) == "otaseal error 51", "44 is what writing comes to"
        assert line.give(certificate) == "otaseal ok"


class LossyPort(Port):
    """A port whose line loses a part of the first certificates: `lost` are slices of what arrives of each."""

    def __init__(self, name: str, lost: list[slice]) -> None:
        super().__init__(name, 115200)
        self._lost = iter(lost)

    def write_line(self, line: str) -> None:
        arrives = next(self._lost, slice(None)) if line.startswith("otaseal certificate") else slice(None)
        if arrives.stop is None:
            return super().write_line(line[arrives])
        self._port.write(line[arrives].encode())  # the end is lost, too
        return None


ALL_LOST = slice(0, 0)
LOST = {
    "nothing": [],
    "all of it": [ALL_LOST],
    "all of it, but for its end": [slice(-255, None)],
    "its beginning": [slice(1, None)],
    "its end": [slice(0, -1)],
    "what follows the word": [slice(0, 20)],
    "a part of the word": [slice(0, 12)],
    "two times": [slice(0, 300), slice(600, None)],
    "three times": [ALL_LOST, slice(0, 1), slice(0, 500)],
}


def enroll_over_a_terminal(device: Device, world: World, lost: list[slice], **settings: object) -> bench.Enrolled:
    """All that is there in earnest: pyserial, the lines of the host, and the library."""
    its, ours = pty.openpty()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(device.run, its, polls=0, port=1, **settings)
        try:
            with LossyPort(os.ttyname(ours), lost) as port:
                return bench.enroll(port, Signing(world.pki, 30), None)
        finally:
            os.close(ours)
            running.result()
            os.close(its)


@pytest.mark.parametrize("what", LOST)
def test_with_our_own_half_over_a_terminal(
    what: str, device: Device, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "TAKE_SECONDS", 1.5)
    done = enroll_over_a_terminal(device, world, LOST[what])
    assert done.certificate is not None
    assert done.certificate.der == device.get("client.crt")


@pytest.mark.parametrize("lost", [[], [ALL_LOST]])
def test_a_sketch_that_sleeps_is_enrolled(
    lost: list[slice], enrolling: Device, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core keeps less than a certificate for it: it has to listen when one comes (F101)."""
    monkeypatch.setattr(bench, "TAKE_SECONDS", 3.0)
    done = enroll_over_a_terminal(enrolling, world, lost, sleeps=1)
    assert done.certificate is not None
    assert done.certificate.der == enrolling.get("client.crt")


def test_a_line_that_loses_all_certificates(enrolling: Device, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TAKE_SECONDS", 0.3)
    with pytest.raises(SystemFaultError, match=f"'{MAC}' does not say that it has its certificate") as failed:
        enroll_over_a_terminal(enrolling, world, [ALL_LOST] * bench.TRIES, chance=9)
    assert failed.value.message.endswith(" is revoked")
    assert not enrolling.has("client.crt")
    last = [entry for entry in world.pki.list() if entry.name == MAC][-1]
    assert last.revoked is not None


def test_a_device_that_cannot_says_why(enrolling: Device) -> None:
    with at_bench(enrolling, mountable=0) as line:
        line.say("otaseal hello", "otaseal certificate AAAA")
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
