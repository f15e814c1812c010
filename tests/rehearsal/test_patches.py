"""Rehearsals of a patch from what devices run: taken beside the whole image, or given up for it where it is no good."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest, signed_image
from otaseal.image.firmware import Firmware
from otaseal.image.signing_header import embedded_key
from otaseal.rehearsal import hostile, markdown, patches, scenario, setup
from otaseal.rehearsal.candidate import Candidate
from otaseal.rehearsal.report import Report
from otaseal.rehearsal.scenario import Scenario
from otaseal.release.records import Origin
from support import images, other_images, pico_images
from support.images import Signer
from support.servers import PRODUCT, Running, publish, until

pytest.importorskip("bsdiff4")

SAYS = b"x-Pico-\0sketch-md5\0 patch1\0"  # what the library has in it
WRONG_BASE, DAMAGED = 60, 61
BUILD: dict[str, Callable[[bytes], bytes]] = {
    "esp8266": lambda data: images.build_image(code_size=0, embedded=data),
    "rp2040": lambda data: pico_images.build_image(code=data, filesystem=(0x40000, 0x40000), data_size=2001),
    "esp32": lambda data: other_images.esp32_image(constants=data),
}


def claim(version: str) -> manifest.Manifest:
    return manifest.make(manifest.Claim("blink", "board", version, 3, 1_700_000_000))


def image(chip: str, key: rsa.RSAPrivateKey, version: str, says: bytes = SAYS) -> bytes:
    identity = manifest.serialise(claim(version), manifest.IDENTITY_MAGIC)
    code = b"%b, %b" % (bytes(range(256)) * 16, version.encode()) + says + embedded_key(key.public_key()) + identity
    return BUILD[chip](code + bytes(-len(code) % 4))


@pytest.fixture(params=BUILD)
def chip(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def prepared(chip: str, key: rsa.RSAPrivateKey, tmp_path: Path, says: bytes = SAYS) -> Scenario:
    """Return the update of a device with 0.9, which takes patches if its firmware `says` so, to 1.0."""
    old = tmp_path / "old.bin"
    old.write_bytes(image(chip, key, "0.9", says))
    raw = manifest.attach(image(chip, key, "1.0"), claim("1.0"))
    origin = Origin("blink", "1.0", "2026-01-31T12:00:00Z", "board")
    candidate = Candidate((Firmware(signed_image.sign(raw, Signer(key))),), origin, (key.public_key(),))
    return setup.prepare(setup.Inputs(candidate), setup.DeviceOptions(old=old))


def patched(report: Report) -> list[str]:
    """Return the steps of the device that is given the patch, by name."""
    return [step.name for phase in report.phases if "as a patch" in phase.title for step in phase.steps]


def test_a_patch_is_played_beside_the_whole_image(chip: str, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    played = prepared(chip, rsa_key, tmp_path)
    report = scenario.play(played)
    assert report.good, report.failed
    assert played.patch is not None
    (phase,) = [phase for phase in report.phases if "as a patch" in phase.title]
    whole = len(played.candidate.forms[0].data)
    assert phase.title.endswith(f"{len(played.patch)} bytes in place of {whole}")
    assert len(played.patch) < whole / 10
    said = {step.name: step.checked for step in phase.steps}
    assert said["answer"] == f"status 200, {whole} bytes"
    assert said["patch"].startswith(f"{len(played.patch)} bytes make {whole} of")
    assert "result" in said
    first = next(phase for phase in report.phases if phase.title == scenario.DOWNLOAD)
    assert "patch" not in [step.name for step in first.steps], "the whole image is played, too"
    assert not report.lacking or "patch" not in " ".join(report.lacking)
    shown = markdown.summary(played.candidate.origin, report, ())
    assert f"| ✅ | patch, {len(played.patch)} bytes in place of {whole} | taken, and started |" in shown


BAD: dict[str, tuple[Callable[[bytes], bytes], str, int]] = {
    "a byte less": (lambda patch: patch[:-1], "patch", DAMAGED),
    "for another sketch": (lambda patch: patch[:16] + bytes(16) + patch[32:], "patch", WRONG_BASE),
    "of a later format": (lambda patch: patch[:8] + b"\2" + patch[9:], "patch", DAMAGED),
    "other bytes": (lambda patch: patches.made(b"another base", b"\xe9 no image"), "patch", WRONG_BASE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_patch_that_is_no_good_is_followed_by_the_whole_image(
    name: str, rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    change, step, error = BAD[name]
    played = prepared("esp8266", rsa_key, tmp_path)
    assert played.patch is not None
    report = scenario.play(replace(played, patch=change(played.patch)))
    assert report.good, report.failed
    names = patched(report)
    assert names.count("answer") == 2
    assert names.index(step) < names.index("write"), "the whole image comes after it"
    refused = [one for phase in report.phases for one in phase.steps if one.error]
    assert [(one.name, one.error) for one in refused] == [(step, error)]
    assert any(note.startswith("the patch: a device refuses it") for note in report.lacking)
    assert report.record == "partly"
    shown = markdown.summary(played.candidate.origin, report, ())
    assert "| ✅ | whole image | taken, and started |" in shown
    assert re.search(rf"\| ⚠️ \| patch, .* \| refused at \*{step}\*: .+; then the whole image is taken \|", shown)


def test_what_a_patch_makes_is_judged_by_its_signature(chip: str, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    """Nothing in the patch itself is believed: it may make other bytes than were signed, and say their own hash."""
    played = prepared(chip, rsa_key, tmp_path)
    signed = played.candidate.forms[0].data
    other = signed[:5000] + bytes([signed[5000] ^ 1]) + signed[5001:]
    report = scenario.play(replace(played, patch=patches.made(played.device.sketch, other)))
    assert report.good, report.failed
    refused = [step for phase in report.phases for step in phase.steps if step.error]
    assert [step.name for step in refused] == ["signature"]
    assert patched(report)[-1] == "image"


def test_the_live_server_sends_a_patch_that_the_device_takes(
    server: Running, rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    played = prepared("esp8266", rsa_key, tmp_path)
    before = manifest.attach(image("esp8266", rsa_key, "0.9"), claim("0.9"))
    publish(server, "0.9", signed_image.sign(before, Signer(rsa_key)), channel="patched")
    publish(server, "1.0", played.candidate.forms[0].data, channel="patched")
    url = f"https://localhost:{server.port}/{PRODUCT}/patched/firmware.bin.signed"
    device = replace(
        played.device, anchors=(ssl.PEM_cert_to_DER_cert(server.world.ca.read_text()),), mac=scenario.NO_MAC
    )

    def patch_sent() -> bool:
        return "patch" in [step.name for step in device.poll(url).steps]

    until(patch_sent, "the server makes no patch")
    report = scenario.play(replace(played, device=device, url=url))
    assert report.good, report.failed
    live = next(phase for phase in report.phases if "meets the live server" in phase.title)
    said = {step.name: step.checked for step in live.steps}
    assert played.patch is not None
    assert said["patch"].startswith(f"{len(played.patch)} bytes make "), "the rehearsal makes the server's own"
    assert "result" in said


@pytest.mark.parametrize(("chip", "says"), [("esp8266", b""), ("rp2040", b" patch1\0")])
def test_firmware_that_knows_no_patches_gets_none(
    chip: str, says: bytes, rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    played = prepared(chip, rsa_key, tmp_path, says)
    assert played.patch is None
    report = scenario.play(played)
    assert report.good, report.failed
    assert not patched(report)


def test_what_must_fail_as_a_patch(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    rows = {row.name: row for row in hostile.hostile(prepared("esp8266", rsa_key, tmp_path))}
    assert all(row.ok for row in rows.values())
    assert rows["damaged patch"].error == DAMAGED
    assert rows["patch of other firmware"].error == WRONG_BASE
