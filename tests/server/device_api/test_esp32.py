"""Devices with arduino-esp32 at a live server, played by curl: it goes by sketch MD5 and slot (F90, F92)."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from otaseal.release.stranding import Consent
from support import other_images, peers
from support.images import Signer
from support.rsa_keys import make_rsa
from support.servers import PRODUCT, Reply, Running, devices_seen, parse_reply, publish, run, until

FILE = "firmware.bin.signed"
MAC = "24:0A:C4:00:11:22"


@cache
def image(version: str, chip: int = other_images.ESP32, counter: int = 0, keys: bytes = b"") -> bytes:
    own = manifest.serialise(manifest.make(Claim(PRODUCT, version=version, counter=counter)), manifest.IDENTITY_MAGIC)
    return other_images.esp32_image(chip, constants=own + version.encode() + keys)


def signed(server: Running, version: str, *options: Any, by: RSAPrivateKey | None = None) -> bytes:
    """Return what `image` makes of these options, signed."""
    counter = options[1] if len(options) > 1 else 0
    attached = manifest.serialise(manifest.make(Claim(PRODUCT, version=version, counter=counter)))
    return signed_image.sign(image(version, *options) + attached, Signer(by or server.world.key))


def ask(
    server: Running, runs: bytes | None, *more: str, path: str = FILE, mac: str = MAC, free: int = 0x140000
) -> Reply:
    """Ask as HTTPUpdate of arduino-esp32 3.3 does on a device that runs `runs`."""
    headers = ["User-Agent: ESP32-http-Update", "Cache-Control: no-cache", f"x-ESP32-BASE-MAC: {mac}"]
    headers += [f"x-ESP32-STA-MAC: {mac}", f"x-ESP32-AP-MAC: {mac}", f"x-ESP32-free-space: {free}"]
    if runs is not None:
        headers.append(f"x-ESP32-sketch-md5: {hashlib.md5(runs, usedforsecurity=False).hexdigest()}")
        headers.append(f"x-ESP32-sketch-size: {len(runs)}")
    headers += ["x-ESP32-chip-size: 4194304", "x-ESP32-sdk-version: v5.5.1", "x-ESP32-mode: sketch", *more]
    options: list[str | Path] = ["-sS", "-i", "--http1.0", "--cacert", server.world.ca]
    for header in headers:
        options += ["-H", header]
    done = run([peers.tool("curl", "curl"), *options, f"https://localhost:{server.port}/{path}"])
    assert done.returncode == 0, done.stderr
    return parse_reply(done.stdout)


def why(reply: Reply) -> tuple[int, str | None]:
    return reply.status, reply.headers.get("x-otaseal-reason")


def state(server: Running) -> str:
    return str({device["device"]: device["state"] for device in devices_seen(server)}.get(f"mac:{MAC}", "unknown"))


def test_an_update_is_delivered_confirmed_and_not_sent_again(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    assert ask(server, image("1.0")).status == 304
    publish(server, "1.1", signed(server, "1.1"))
    reply = ask(server, image("1.0"))
    assert (reply.status, reply.body) == (200, signed(server, "1.1"))
    assert reply.headers["x-md5"] == hashlib.md5(reply.body, usedforsecurity=False).hexdigest()
    until(lambda: state(server) == "updating", "the delivery was lost")
    # The slot has the manifest and the signature behind the image, and the core's MD5 does not go so far.
    assert ask(server, image("1.1")).status == 304
    until(lambda: state(server) == "updated", "the confirmation was lost")
    (device,) = devices_seen(server)
    assert device["running"] == "1.1"


def test_a_device_that_comes_back_with_its_old_firmware_is_not_given_it_for_ever(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    publish(server, "1.1", signed(server, "1.1"))
    for deliveries in range(1, 4):
        assert ask(server, image("1.0")).status == 200
        until(lambda count=deliveries: devices_seen(server)[0]["deliveries"] == count, "a delivery was lost")
    assert why(ask(server, image("1.0"))) == (304, "loop")


def test_what_a_device_would_refuse_is_not_sent(server: Running) -> None:
    file = signed(server, "1.1")
    publish(server, "1.0", signed(server, "1.0"))
    publish(server, "1.1", file)
    publish(server, "1.2", signed(server, "1.2", other_images.ESP32_S3), channel="s3")
    assert why(ask(server, image("1.0"), free=len(file) - 1)) == (403, "space")
    assert why(ask(server, image("1.0"), free=0)) == (403, "space")
    assert ask(server, image("1.0"), free=len(file)).status == 200
    refused = ask(server, image("1.0"), path=f"{PRODUCT}/s3/{FILE}")
    assert why(refused) == (403, "platform")
    assert refused.body == b"the release is for the chip esp32s3, the device runs firmware for the esp32\n"
    assert ask(server, image("1.2", other_images.ESP32_S3), path=f"{PRODUCT}/s3/{FILE}").status == 304
    assert why(ask(server, None, "x-ESP32-version: 1.1")) == (304, "current")
    for other in ("x-ESP8266-STA-MAC", "x-Pico-STA-MAC"):
        assert ask(server, None, f"{other}: {MAC}").status == 400


def test_a_rollout_goes_by_what_devices_confirm(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    publish(server, "1.1", signed(server, "1.1"), percent=50)
    macs = [f"24:0A:C4:00:11:{number:02X}" for number in range(20)]
    given = [mac for mac in macs if ask(server, image("1.0"), mac=mac).status == 200]
    assert 0 < len(given) < len(macs)
    for mac in given:
        assert ask(server, image("1.1"), mac=mac).status == 304


def test_what_would_lock_devices_out_or_never_go_back_is_refused(server: Running) -> None:
    keys = embedded_key(server.world.key.public_key())
    publish(server, "1.0", signed(server, "1.0", other_images.ESP32, 0, keys))
    assert ask(server, image("1.0", other_images.ESP32, 0, keys)).status == 304
    until(lambda: bool(devices_seen(server)), "the device was lost")
    raised = signed(server, "1.1", other_images.ESP32, 1, keys)
    with pytest.raises(InputError, match="the security counter rises from 0 to 1"):
        publish(server, "1.1", raised)
    publish(server, "1.1", raised, consent=Consent(raise_counter=True))
    with pytest.raises(InputError, match="security counter 0 is below 1"):
        publish(server, "1.2", signed(server, "1.2", other_images.ESP32, 0, keys))
    with pytest.raises(VerificationError, match="none of the product's 1 public keys"):
        publish(server, "1.2", signed(server, "1.2", other_images.ESP32, 1, keys, by=make_rsa(3072)))


def test_firmware_that_would_not_verify_the_next_update_is_not_published(server: Running) -> None:
    raw = other_images.esp32_image()
    with pytest.raises(InputError, match="has no OtaSeal library, and its core verifies no update"):
        publish(server, "1.0", signed_image.sign(raw, Signer(server.world.key)))
    gzip = gzip_payload.compress(image("1.0"))
    packed = manifest.attach(gzip, manifest.make(Claim(PRODUCT, version="1.0")), gzip_payload.parse(gzip))
    with pytest.raises(InputError, match="takes no gzip"):
        publish(server, "1.0", signed_image.sign(packed, Signer(server.world.key)))
    assert ask(server, raw).status == 404
