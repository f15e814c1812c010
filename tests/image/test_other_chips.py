"""Firmware of the RP2040, the RP2350 and the ESP32: signed in the same format, and refused by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, manifest
from otaseal.image.firmware import read
from otaseal.image.inspection import inspect
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from otaseal.keys.public import public_pem
from support import openssl, other_images
from support.by_bytes import compress, sign_firmware, verify_firmware
from support.images import Signer
from support.pico_images import CHIPS, build_image

CLAIM = Claim("blink", "rpipicow", "1.2.3", 7)
IDENTITY = manifest.serialise(manifest.make(CLAIM), manifest.IDENTITY_MAGIC)
ESP32 = other_images.esp32_image()
IMAGES = {**{chip: build_image(chip) for chip in CHIPS}, "esp32": ESP32}


@pytest.mark.parametrize("chip", IMAGES)
def test_it_is_signed_as_every_image_is(chip: str, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    raw, signer = IMAGES[chip], Signer(rsa_key)
    signed = sign_firmware(raw, signer, embeds_key=False, claim=CLAIM)
    assert signed.startswith(raw + manifest.MAGIC)
    assert verify_firmware(signed, rsa_key.public_key()) == signed[: len(raw) + manifest.SIZE]
    assert int.from_bytes(signed[-4:], "little") == 256
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path)
    firmware = read(signed)
    assert firmware.signed
    assert firmware.image.chip == chip
    assert firmware.sketch == raw
    with pytest.raises(InputError, match="signed already"):
        sign_firmware(signed, signer, embeds_key=False)


@pytest.mark.parametrize("beside", [1, 2, 3])
def test_an_rp2040_image_may_end_within_a_word(beside: int, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    raw = build_image(data_size=2000 + beside)
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False, claim=CLAIM)
    assert read(signed).sketch == raw
    assert verify_firmware(signed, rsa_key.public_key()) == signed[: len(raw) + manifest.SIZE]
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path)


@pytest.mark.parametrize("chip", IMAGES)
def test_the_signed_word_alone_makes_no_signed_image(chip: str) -> None:
    raw = IMAGES[chip][:-4] + (256).to_bytes(4, "little") if chip == "rp2040" else IMAGES[chip]
    assert not read(raw).signed


@pytest.mark.parametrize("chip", IMAGES)
def test_inspect_says_what_it_is(chip: str, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign_firmware(IMAGES[chip], Signer(rsa_key), embeds_key=False, claim=CLAIM)
    seen = inspect(signed, {"ours": rsa_key.public_key()})
    assert (seen.kind, seen.signed_by, seen.problem) == ("signed raw", "ours", None)
    assert seen.as_dict()["image"]["chip"] == chip
    assert seen.manifest == manifest.make(CLAIM, getattr(read(signed).image, "flash_mode", None))
    assert any(chip in line.lower() for line in seen.lines())
    cores = {core: (outcome.accepted, outcome.boots) for core, outcome in seen.outcomes.items()}
    asked = ("stock", "OtaSeal") if chip == "esp32" else ("5.4.4", "6.0.0")
    assert cores == dict.fromkeys(asked, (True, True))
    assert not seen.flash_modes


@pytest.mark.parametrize("chip", IMAGES)
def test_a_damaged_image_is_not_judged_as_if_it_were_for_an_esp8266(chip: str) -> None:
    seen = inspect(IMAGES[chip][:-3000], {})
    assert (seen.title, seen.image, seen.outcomes, seen.flash_modes) == ("raw, damaged", None, {}, {})
    assert "cut short" in str(seen.problem)


def test_inspect_refuses_a_gzip_that_no_device_unpacks() -> None:
    assert str(inspect(gzip_payload.compress(ESP32), {}).problem).startswith("the ESP32 takes no gzip")


def test_inspect_says_what_the_library_looks_at_beside_the_signature(rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign_firmware(ESP32, Signer(rsa_key), embeds_key=False, claim=CLAIM)
    known = inspect(signed, {"ours": rsa_key.public_key()}).outcomes["OtaSeal"]
    assert known.reason == "the signature holds; product, board and counter of the manifest have to fit the device, too"
    assert inspect(signed, {}).outcomes["OtaSeal"].reason.startswith("if it has the key that made the signature")


def test_inspect_says_where_nothing_verifies_the_next_update() -> None:
    lines = inspect(ESP32, {}).lines()
    assert lines[-2] == "library       none: nothing in this firmware verifies the next update"
    assert lines[-1] == "stock         accepted: nothing is verified: any image is accepted"
    with_library = inspect(other_images.esp32_image(constants=IDENTITY), {}).lines()
    assert [line for line in with_library if line.startswith("library")] == [
        f"library       OtaSeal, for {manifest.make(CLAIM).described()}"
    ]
    assert not [line for line in inspect(IMAGES["rp2040"], {}).lines() if line.startswith("library")]


@pytest.mark.parametrize("chip", IMAGES)
def test_whatever_is_behind_an_image_is_refused(chip: str, rsa_key: rsa.RSAPrivateKey) -> None:
    for behind, name in ((bytes(4096), "filled up"), (b"data" * 9, "36 bytes too many")):
        with pytest.raises(InputError, match=name):
            sign_firmware(IMAGES[chip] + behind, Signer(rsa_key), embeds_key=False)
        assert name in str(inspect(IMAGES[chip] + behind, {}).problem)


def test_a_damaged_image_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    for chip, place, name in (("rp2040", 9, "boot stage's CRC"), ("esp32", 0x300, "checksum is wrong")):
        damaged = bytearray(IMAGES[chip])
        damaged[place] ^= 1
        with pytest.raises(InputError, match=name):
            sign_firmware(bytes(damaged), Signer(rsa_key), embeds_key=False)
        assert name in str(inspect(bytes(damaged), {}).problem)


def test_firmware_without_a_filesystem_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(InputError, match="no filesystem"):
        sign_firmware(build_image(filesystem=(0x100000, 0)), Signer(rsa_key), embeds_key=False)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_gzip_is_signed_where_the_library_asks_for_a_core_that_starts_from_it(
    chip: str, rsa_key: rsa.RSAPrivateKey
) -> None:
    with pytest.raises(InputError, match=r"before 5\.5\.0 does not start from a signed gzip"):
        compress(IMAGES[chip], "gzip")
    raw = build_image(chip, code=IDENTITY + bytes(9000))
    packed = sign_firmware(compress(raw, "gzip"), Signer(rsa_key), embeds_key=False, claim=CLAIM)
    firmware = read(packed)
    assert gzip.decompress(firmware.payload) == raw
    assert firmware.manifest == manifest.make(CLAIM)
    assert verify_firmware(packed, rsa_key.public_key())


def test_an_esp32_takes_no_gzip(rsa_key: rsa.RSAPrivateKey) -> None:
    for attempt in (lambda: compress(ESP32, "gzip"), lambda: sign_gzip(rsa_key)):
        with pytest.raises(InputError, match="the ESP32 takes no gzip"):
            attempt()


def sign_gzip(key: rsa.RSAPrivateKey) -> bytes:
    return sign_firmware(gzip_payload.compress(ESP32), Signer(key), embeds_key=False)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_key_has_to_be_in_firmware_that_is_to_verify(chip: str, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(VerificationError, match="does not contain the public key"):
        sign_firmware(IMAGES[chip], Signer(rsa_key), embeds_key=True)
    with_key = build_image(chip, code=embedded_key(rsa_key.public_key()))
    assert sign_firmware(with_key, Signer(rsa_key), embeds_key=True)
