"""The library on arduino-esp32, over mbedTLS: it verifies by itself what goes into the other slot.

No updater of the core asks it (F82), so it has a loop of its own (F46).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import gzip_payload, manifest
from otaseal.keys import public
from support import other_images
from support.answering import firmware_reply, reply
from support.esp32_devices import NOW, RAW, build_image, matrix
from support.firmware import (
    BOARD,
    COUNTER,
    OWN,
    Device,
    Signing,
    StartAnswers,
    bundle,
    identity,
)
from support.images import build_image as build_esp8266_image
from support.images import flipped
from support.servers import StartServer, publish

pytestmark = pytest.mark.proof

BUSY, TRUNCATED, SPACE, NOT_FIRMWARE, FLASH, SIGNATURE, LOWER, ATTEMPTS = 16, 25, 26, 27, 28, 30, 36, 37
SLOT = 0x140000
TRIES_AT = 12  # in the journal
THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
MUTATIONS = 20_000 if THOROUGH else 400
STEP = 1 if THOROUGH else 7  # through the values of a byte; a prime, so that each comes
YEAR = 365 * 24 * 3600
UP_TO_DATE = reply(b"", "304 Not Modified", None)


@pytest.fixture
def device(esp32: Device) -> Device:
    return esp32


@pytest.mark.parametrize("chip", [other_images.ESP32, other_images.ESP32_C3, other_images.ESP32_S3])
def test_a_release_of_the_real_server_is_installed(
    start_server: StartServer, chip: int, device: Device, signing: Signing
) -> None:
    raw = build_image(chip, seed=1)
    signed = signing.sign(signing.payload(raw))
    server = start_server()
    publish(server, "1.1", signed)
    done = device.run(port=server.port, chip=chip)
    assert done.results == [("installed", 0, 0)]
    assert done.seen["restarted"] == "1"
    assert done.seen["progress"] == str(len(signed))
    assert done.staged == raw, "neither manifest nor signature is in the slot"


def test_the_real_server_has_nothing_newer(start_server: StartServer, device: Device, signing: Signing) -> None:
    server = start_server()
    publish(server, "1.0", signing.sign(signing.payload(RAW, version="1.0")))
    assert set(device.run(port=server.port, polls=2).results) == {("up-to-date", 0, 0)}


def test_it_says_who_it_is(device: Device, answers: StartAnswers) -> None:
    running = answers(UP_TO_DATE)
    device.run(port=running.port)
    first, certificates = running.requests[:2]
    assert first.startswith("GET /blink/firmware.bin.signed HTTP/1.0\r\n")
    for line in (
        "User-Agent: ESP32-http-Update",
        "x-ESP32-STA-MAC: 5C:CF:7F:F0:04:CB",
        "x-ESP32-AP-MAC: 24:6F:28:00:00:02",
        f"x-ESP32-free-space: {SLOT}",
        f"x-ESP32-sketch-size: {len(RAW)}",
        f"x-ESP32-sketch-md5: {hashlib.md5(RAW, usedforsecurity=False).hexdigest()}",
        "x-ESP32-chip-size: 4194304",
        "x-ESP32-sdk-version: v4.4.7-dirty",
        "x-ESP32-mode: sketch",
        "x-ESP32-version: 1.0",
    ):
        assert f"\r\n{line}\r\n" in first
    board = hashlib.sha256(BOARD.encode()).digest()[:8].hex()
    for line in (
        f"X-Otaseal-Counter: {COUNTER}",
        "X-Otaseal-Error: 0",
        f"X-Otaseal-Board: {board}",
        f"X-Otaseal-Certs: {hashlib.sha256(device.get('certs.ar')).hexdigest()}",
    ):
        assert f"\r\n{line}\r\n" in first
        assert f"\r\n{line}\r\n" in certificates


def changed(signing: Signing, at: int, value: int) -> bytes:
    payload = bytearray(signing.payload(RAW))
    payload[len(payload) - manifest.SIZE + at] = value
    return bytes(payload)


def damaged(at: int) -> bytes:
    return RAW[:at] + bytes([RAW[at] ^ 1]) + RAW[at + 1 :]


# what it is: the payload, the error
REFUSED: dict[str, tuple[Callable[[Signing], bytes], int]] = {
    "another board": (lambda s: s.payload(RAW, board="another"), 35),
    "another product": (lambda s: s.payload(RAW, product="toaster"), 34),
    "a lower counter": (lambda s: s.payload(RAW, counter=COUNTER - 1), LOWER),
    "no manifest": (lambda s: RAW, 31),
    "another format": (lambda s: changed(s, 8, 2), 32),
    "a reserved bit": (lambda s: changed(s, 11, 1), 32),
    "certificates for firmware": (lambda s: changed(s, 9, 1), 33),
    "another chip": (lambda s: s.payload(build_image(other_images.ESP32_S3)), NOT_FIRMWARE),
    "a newer revision": (lambda s: s.payload(build_image(revision=301)), NOT_FIRMWARE),
    "an ESP8266's": (lambda s: s.payload(build_esp8266_image(code_size=20_000)), NOT_FIRMWARE),
    "a gzip": (lambda s: s.payload(gzip_payload.compress(RAW)), NOT_FIRMWARE),
    "a filesystem": (lambda s: s.payload(other_images.spiffs()), NOT_FIRMWARE),
    "a few bytes": (lambda s: s.payload(b"a"), NOT_FIRMWARE),
    "a header": (lambda s: s.payload(RAW[:24]), FLASH),
    "half of an image": (lambda s: s.payload(RAW[:20_000]), FLASH),
    "a wrong checksum": (lambda s: s.payload(damaged(5000)), FLASH),
    "a wrong hash": (lambda s: s.payload(damaged(len(RAW) - 1)), FLASH),
    "larger than the slot": (lambda s: s.payload(RAW.ljust(SLOT + 1, b"\xff")), SPACE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_signed_and_not_for_it(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    make, error = REFUSED[name]
    done = device.run(port=answers(firmware_reply(signing.sign_anything(make(signing)))).port)
    assert done.results[0][:2] == ("failed", error)
    assert done.seen["restarted"] == "0"
    assert done.staged is None


def test_the_largest_and_the_oldest_that_fit(device: Device, signing: Signing, answers: StartAnswers) -> None:
    for raw in (RAW.ljust(SLOT, b"\xff"), build_image(revision=300)):
        signed = signing.sign(signing.payload(raw))
        done = device.run(port=answers(firmware_reply(signed)).port)
        assert done.results == [("installed", 0, 0)]
        assert done.seen["progress"] == str(len(signed))
        assert done.staged == raw.rstrip(b"\xff"), "what is behind the image is as if erased"


# what it is: what is sent, the error
UNSIGNED: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "tampered image": (lambda signed: flipped(signed, 2000), SIGNATURE),
    "tampered manifest": (lambda signed: flipped(signed, len(signed) - 260 - 30), SIGNATURE),
    "tampered signature": (lambda signed: flipped(signed, len(signed) - 100), SIGNATURE),
    "no signature": (lambda signed: signed[:-260], SIGNATURE),
    "noise for a signature": (lambda signed: signed[:-260] + bytes(256) + signed[-4:], SIGNATURE),
    "another length": (lambda signed: signed[:-4] + struct.pack("<I", 255), SIGNATURE),
    "a length of nothing": (lambda signed: signed[:-4] + bytes(4), SIGNATURE),
    "a length beyond the file": (lambda signed: signed[:-4] + b"\xff" * 4, SIGNATURE),
    "nothing but a trailer": (lambda signed: b"\xe9" + bytes(255) + signed[-4:], SIGNATURE),
    "four bytes": (lambda signed: signed[-4:], SIGNATURE),
    "a page": (lambda signed: b"<html>welcome to your router</html>" * 100, NOT_FIRMWARE),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_is_not_signed(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    make, error = UNSIGNED[name]
    offered = make(signing.sign(signing.payload(RAW)))
    done = device.run(port=answers(firmware_reply(offered)).port)
    assert done.results[0][:2] == ("failed", error)
    assert done.staged is None
    assert done.seen["startable"] == "0", "what is left in the slot cannot be started"


# what it is: the answer, the error
RESPONSES: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "no length": (lambda body: reply(body, length=None), 24),
    "length 0": (lambda body: reply(b""), 24),
    "an MD5 that is none": (lambda body: reply(body, x_MD5="none"), 20),
    "too short": (lambda body: reply(body[:3000], length=len(body)), TRUNCATED),
    "larger than the slot": (lambda body: reply(body, length=4 << 20), SPACE),
    "forbidden": (lambda body: reply(b"", "403 Forbidden"), 22),
    "unauthorized": (lambda body: reply(b"", "401 Unauthorized"), 23),
    "not found": (lambda body: reply(b"", "404 Not Found"), 21),
    "a redirect": (lambda body: reply(b"", "302 Found", Location="https://elsewhere.example/"), 20),
    "no HTTP": (lambda body: b"SSH-2.0-OpenSSH_9.2\r\n", 11),
    "nothing": (lambda body: b"", 11),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_answers_that_are_no_update(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    make, error = RESPONSES[name]
    done = device.run(port=answers(make(signing.sign(signing.payload(RAW)))).port, polls=2)
    assert done.errors == [error, error]
    assert done.results[0] == done.results[1], "the core's updater is ready for the next one"
    assert done.staged is None


def test_a_slow_server_is_given_up(device: Device, signing: Signing, answers: StartAnswers) -> None:
    port = answers(firmware_reply(signing.sign(signing.payload(RAW)))).port
    done = device.run(port=port, pace=20)  # 4 KB in 80 seconds
    assert done.errors == [TRUNCATED]
    assert int(done.seen["longest"]) < 60_000


@pytest.mark.parametrize("sectors", [0, 3, len(RAW) // 4096])
def test_flash_that_fails(sectors: int, device: Device, signing: Signing, answers: StartAnswers) -> None:
    """At the first sector, in the middle, and at the last one, whose verdict the core's end() would not ask for."""
    port = answers(firmware_reply(signing.sign(signing.payload(RAW)))).port
    done = device.run(port=port, sectors=sectors)
    assert done.results == [("failed", FLASH, 1)]
    assert done.staged is None


def test_a_device_without_a_second_slot(device: Device, signing: Signing, answers: StartAnswers) -> None:
    port = answers(firmware_reply(signing.sign(signing.payload(RAW)))).port
    assert device.run(port=port, slot=0).results == [("failed", SPACE, 10)]
    assert device.run(port=port, one_slot=1).results == [("failed", SPACE, 0)], "what runs is not written over (F87)"


def test_one_update_at_a_time(device: Device, signing: Signing, answers: StartAnswers) -> None:
    port = answers(firmware_reply(signing.sign(signing.payload(build_image(seed=2))))).port
    done = device.run(port=port, second=1)
    assert [one[:2] for one in done.results] == [("failed", BUSY), ("installed", 0)]
    assert done.staged == build_image(seed=2)


def test_an_update_by_something_else_is_left_alone(device: Device, signing: Signing, answers: StartAnswers) -> None:
    """And what the clock says then has been seen by no server: it is not kept."""
    running = answers(firmware_reply(signing.sign(signing.payload(RAW))))
    assert device.run(port=running.port, busy=1, ntp=NOW + 20 * YEAR).errors[0] == BUSY
    assert not [one for one in running.requests if "firmware" in one]
    assert device.run(port=running.port).results == [("installed", 0, 0)]


def test_what_waits_for_a_restart_is_not_started_half_written(
    device: Device, signing: Signing, answers: StartAnswers
) -> None:
    running = answers(firmware_reply(signing.sign(signing.payload(RAW))))
    tampered = firmware_reply(flipped(signing.sign(signing.payload(build_image(seed=3))), 9000))
    running.later["/blink/firmware.bin.signed"] = tampered
    done = device.run(port=running.port, polls=2, restart=0)
    assert [one[:2] for one in done.results] == [("installed", 0), ("failed", SIGNATURE)]
    assert done.staged is None, "the boot loader goes on with what runs"


def test_either_of_two_keys_of_any_size(
    device: Device, signing: Signing, answers: StartAnswers, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    for bits, following_bits in ((2048, 3072), (4096, 2048), (3072, 3072)):
        own, following = rsa_keys(bits, 1), rsa_keys(following_bits, 2)
        device.belongs(OWN, own.public_key(), following.public_key())
        for key in (own, following):
            release = f"{bits} and {following_bits} by {key.key_size}"  # one of its own: no release is tried for ever
            port = answers(firmware_reply(Signing(key).sign(signing.payload(RAW, version=release)))).port
            done = device.run(port=port)
            assert done.results == [("installed", 0, 0)]
            assert done.staged == RAW
        port = answers(firmware_reply(signing.sign(signing.payload(RAW, version=f"{bits}")))).port
        assert device.run(port=port).errors == [SIGNATURE]


def test_a_release_is_tried_three_times(device: Device, signing: Signing, answers: StartAnswers) -> None:
    running = answers(firmware_reply(signing.sign(signing.payload(RAW, counter=COUNTER - 1))))
    assert [device.run(port=running.port).errors for _ in range(4)] == [[LOWER], [LOWER], [LOWER], [ATTEMPTS]]
    assert device.run(port=running.port).seen["progress"] == "0", "not even downloaded"


def test_tries_are_forgotten_as_soon_as_nothing_is_due(device: Device, signing: Signing, answers: StartAnswers) -> None:
    """Also where the poll before that got no answer at all."""
    running = answers(firmware_reply(signing.sign(signing.payload(RAW, counter=COUNTER - 1))))
    assert device.run(port=running.port).errors == [LOWER]
    assert device.get("otaseal.jnl")[TRIES_AT] == 1
    running.paths["/blink/firmware.bin.signed"] = b""
    running.later["/blink/firmware.bin.signed"] = UP_TO_DATE
    assert device.run(port=running.port, polls=2).errors[:2] == [11, 0]
    assert device.get("otaseal.jnl")[TRIES_AT] == 0


def test_the_clock_is_ours(device: Device, signing: Signing, answers: StartAnswers) -> None:
    """Neither core compiles mbedTLS's look at dates in: the library looks, by a clock that has a floor."""
    running = answers(firmware_reply(signing.sign(signing.payload(RAW))))
    early = device.run(port=running.port, ntp=0, floor=1)
    assert early.results[0][:2] == ("failed", 14), "in 1970"
    late = device.run(port=running.port, ntp=NOW + 20 * YEAR)
    assert late.results[0][:2] == ("failed", 14)
    assert not [one for one in running.requests if one], "nothing was asked of a server that was not found good"
    assert device.run(port=running.port, ntp=0, floor=NOW).results == [("installed", 0, 0)]


@pytest.mark.parametrize("chance", range(1, 6))
def test_no_mutation_is_installed(
    chance: int, esp32_programs: dict[str, Path], signing: Signing, tmp_path: Path
) -> None:
    files = {
        "key": public.public_pem(signing.key.public_key()),
        "identity": identity(OWN),
        "images": bundle([signing.sign(signing.payload(build_image(seed=seed))) for seed in range(3)]),
    }
    found = matrix(esp32_programs, tmp_path, "mutate", files, str(MUTATIONS), str(chance))
    assert found["different"] == 0
    assert found["accepted"] < MUTATIONS / 10, "some mutations change nothing"


def test_no_value_of_a_decisive_byte_opens_the_gate(
    esp32_programs: dict[str, Path], signing: Signing, tmp_path: Path
) -> None:
    files = {
        "key": public.public_pem(signing.key.public_key()),
        "identity": identity(OWN),
        "images": bundle([signing.sign(signing.payload(RAW))]),
    }
    found = matrix(esp32_programs, tmp_path, "bytes", files, str(STEP))
    assert found["tried"] >= 2 * 256 + (manifest.SIZE + 260) * 254 // STEP
    assert found["accepted"] == 0
