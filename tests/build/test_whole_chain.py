"""From sources to a device that has updated itself, and back: PlatformIO, the server and the virtual device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.simulator.device import Device
from otaseal.simulator.flash import layout, sketch_md5
from otaseal.simulator.report import Result
from support.hooks import ALL_HOOKS, SELF_UPDATING, deploys_to, opt_in, write_key
from support.pio import Project
from support.servers import Running, World, operator

pytestmark = [pytest.mark.build, pytest.mark.proof]

FLASH = layout("4m1m")


def switched_on(flash: Path) -> Device:
    """Return the device whose flash is this file: what it runs, trusts and mounts is all in there."""
    content = flash.read_bytes().ljust(FLASH.flash_size, b"\xff")
    image = content[: FLASH.fs_start]
    device = Device.provision(image[:0x100000], FLASH, content[FLASH.fs_start : FLASH.fs_end])
    assert device.flash[: FLASH.fs_end] == content[: FLASH.fs_end]
    return replace(device, clock=datetime.now(timezone.utc))


def test_a_device_updates_itself_and_follows_a_rollback(
    project: Callable[..., Project], tmp_path: Path, flash: Path, server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        "board_build.filesystem = littlefs",
        "board_build.ldscript = eagle.flash.4m1m.ld",
        f"upload_port = {flash}",
        *deploys_to(server, tmp_path),
    ]
    made = project(*lines, sources={"main.cpp": SELF_UPDATING})
    made.environment["OTASEAL_VERSION"] = "1.0.0"
    made.write("certs/ca.pem", server.world.ca.read_text())
    made.run("-t", "upload")
    made.run("-t", "uploadfs")
    old = made.build("firmware.bin").read_bytes()
    device = switched_on(flash)
    assert "rehearsed on a virtual ESP8266" in made.run("-t", "deploy").stdout
    url = f"https://localhost:{server.port}/blink/firmware.bin.signed"

    provisioned = device.poll(url)
    assert (provisioned.result, provisioned.status) == (Result.UP_TO_DATE, 304)

    made.write("src/main.cpp", SELF_UPDATING.replace("8080", "8081"))
    made.environment["OTASEAL_VERSION"] = "1.1.0"  # a change in platformio.ini would wipe the built filesystem
    rehearsed = made.run("-t", "rehearse").stdout
    assert "a device would take this update" in rehearsed
    assert "not checked: what devices run now" not in rehearsed, "the server knows what they run"
    assert device.poll(url).status == 304, "a rehearsal published something"
    deployed = made.run("-t", "deploy").stdout
    assert "not rehearsed" not in deployed
    assert "channel 'stable': 1.0.0 -> 1.1.0" in deployed
    new = made.build("firmware.bin").read_bytes()
    assert new != old

    updated = provisioned.device.poll(url)
    assert updated.result is Result.UPDATED, updated.failed
    assert updated.device.running == new
    assert updated.device.flash.startswith(new)
    again = updated.device.poll(url)
    assert (again.result, again.status) == (Result.UP_TO_DATE, 304)
    assert sketch_md5(again.device.flash) == sketch_md5(updated.device.flash)

    operator(server).post("/v1/products/blink/channels/stable/rollback", {})
    back = again.device.poll(url)
    assert back.result is Result.UPDATED, back.failed
    assert back.device.running == old
    assert back.device.poll(url).status == 304


def test_a_release_that_devices_would_refuse_is_not_published(
    project: Callable[..., Project], tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    """The certificates in the project are not those of the server: devices would never reach it again."""
    (tmp_path / "stranger").mkdir()
    stranger = World.create(tmp_path / "stranger" / "world", rsa_key)
    lines = [
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        "board_build.filesystem = littlefs",
        *deploys_to(server, tmp_path),
        "custom_otaseal_version = 1.0.0",
    ]
    made = project(*lines, sources={"main.cpp": SELF_UPDATING})
    made.write("certs/ca.pem", stranger.ca.read_text())
    refused = made.run("-t", "deploy", check=False)
    assert refused.returncode != 0
    assert "the rehearsal fails at 'certificate-chain'" in refused.stderr
    assert operator(server).get("/v1/products/blink/releases")["releases"] == []
    made.environment["OTASEAL_REHEARSE"] = "no"
    assert "nothing -> 1.0.0" in made.run("-t", "deploy").stdout
    assert '"rehearsal":"skipped"' in (server.store / "audit.log").read_text()
