"""`otaseal rehearse` in a project for the Pico, at a real server and with the filesystem that the build made."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image.signing_header import embedded_key
from support.built import ENVIRONMENT, BuiltProject
from support.chips import sign
from support.command import Command, Result, otaseal
from support.pico_boards import SMALL, flash_with
from support.pico_images import build_image
from support.servers import Running, operator, publish

__all__ = ["otaseal"]

BUILD = f".pio/build/{ENVIRONMENT}"


class PicoProject(BuiltProject):
    """As a build for a Pico leaves it: its image, the signed one, and a filesystem image with the certificates."""

    def leave(self, seed: int) -> bytes:
        code = bytes([seed]) * 9000 + embedded_key(self.key.public_key())
        raw = build_image("rp2350", code=code, filesystem=SMALL)
        self.write(f"{BUILD}/firmware.bin", raw)
        self.write(f"{BUILD}/firmware.bin.signed", sign(raw, self.key))
        filled = flash_with(raw, {"/certs.ar": (self.folder / "data/certs.ar").read_bytes()})
        self.write(f"{BUILD}/littlefs.bin", filled[SMALL[0] : sum(SMALL)])
        return raw


@pytest.fixture
def project(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, server: Running) -> PicoProject:
    (tmp_path / "blink").mkdir()
    made = PicoProject(tmp_path / "blink", rsa_key, server)
    channel = re.sub("[^a-z0-9]", "-", tmp_path.name)[:60]
    made.lines |= {"custom_otaseal_channel": channel, "custom_otaseal_version": "1.0.0"}
    made.configure()
    made.leave(1)
    return made


@pytest.fixture
def rehearse(project: PicoProject, otaseal: Command) -> Command:
    def run(*arguments: str | Path) -> Result:
        return otaseal("rehearse", "--project", project.folder, *arguments)

    return run


def test_at_the_live_server_and_then_on_this_machine(rehearse: Command, server: Running) -> None:
    result = rehearse("--json").succeeded()
    assert (result.json["device"], result.json["partly"]) == ("RP2350", False)
    titles = [act["title"] for act in result.json["acts"]]
    assert titles[2].startswith("a device meets the live server: https://localhost")
    assert titles[-3:] == [
        "the power fails during the update",
        "the flash holds what was built",
        "poll 2: it is told that it is up to date",
    ]
    assert operator(server).get("/v1/products/blink/devices")["devices"] == [], "a rehearsal left a trace"


def test_what_is_given_out_is_taken_from_the_live_server(
    rehearse: Command, project: PicoProject, server: Running
) -> None:
    """The board runs the release before, and takes the new one, which is published already."""
    channel = project.lines["custom_otaseal_channel"]
    old = project.leave(1)
    signed = sign(project.leave(2), project.key)
    publish(server, "1.0.0", signed, channel=channel)
    (project.folder / "old.bin").write_bytes(old)
    result = rehearse("--from", project.folder / "old.bin", "--json").succeeded()
    live = result.json["acts"][2]["steps"]
    assert live[-1]["name"] == "result"
    assert result.json["acts"][-1]["steps"][-1]["checked"] == "304: nothing newer"


def test_the_table_of_attacks_says_what_a_stock_core_takes(rehearse: Command) -> None:
    result = rehearse("--offline", "--hostile").succeeded()
    assert "image of another chip         accepted (stock) at boot: " in result.out
    assert "14 of 17 refused as they have to be, 3 taken by a stock device" in result.out


def test_a_file_for_another_key_is_refused_by_the_board(rehearse: Command, project: PicoProject) -> None:
    from support.rsa_keys import make_rsa

    raw = (project.folder / BUILD / "firmware.bin").read_bytes()
    project.write(f"{BUILD}/firmware.bin.signed", sign(raw, make_rsa(3072)))
    result = rehearse("--offline")
    assert result.code == 1
    assert "it fails at 'admission'" in result.out
    assert "FAILED  signature" in result.out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--layout", "4m2m", "--layout is given for an image of the rp2350"),
        ("--flash-mode", "dio", "--flash-mode is given for an image of the rp2350"),
        ("--core", "3.1.2", "arduino-pico '3.1.2' is not known"),
    ],
)
def test_an_option_of_the_esp8266_is_refused(rehearse: Command, option: str, value: str, message: str) -> None:
    rehearse("--offline", option, value).failed(2, message)


def test_doctor_asks_the_virtual_board(otaseal: Command, project: PicoProject) -> None:
    result = otaseal("doctor", "--project", project.folder)
    assert "signed by the project's key, taken by core 5.4.4, 6.0.0" in result.out
    raw = (project.folder / BUILD / "firmware.bin").read_bytes()
    project.write(f"{BUILD}/firmware.bin.signed", sign(gzip.compress(raw, mtime=0), project.key))
    assert "taken by core 6.0.0" in otaseal("doctor", "--project", project.folder).out


def test_deploy_rehearses_each_release_from_the_one_before(
    otaseal: Command, project: PicoProject, server: Running
) -> None:
    """The board that runs what is given out says its version, which is all that the server knows it by."""
    channel = project.lines["custom_otaseal_channel"]
    token = project.lines["custom_otaseal_token_file"]
    for seed, version in ((1, "2.0.0"), (2, "2.1.0")):
        project.leave(seed)
        signed, filesystem = (project.folder / BUILD / name for name in ("firmware.bin.signed", "littlefs.bin"))
        result = otaseal(
            *("deploy", signed, "--server", server.url, "--ca", server.world.ca, "--product", "blink"),
            *("--channel", channel, "--version", version, "--token-file", token, "--filesystem", filesystem),
        ).succeeded()
        assert "rehearsed on a virtual RP2350" in result.out
    known = operator(server).get(f"/v1/products/blink?channel={channel}")
    assert known["current"]["version"] == "2.1.0"


def test_the_same_image_under_another_version_has_a_fix_for_a_pico(
    rehearse: Command, project: PicoProject, server: Running
) -> None:
    """What a board says is its version alone, and its image has not got another one."""
    signed = (project.folder / BUILD / "firmware.bin.signed").read_bytes()
    publish(server, "3.0.0", signed, channel=project.lines["custom_otaseal_channel"])
    project.configure(custom_otaseal_version="3.1.0")
    result = rehearse("--json")
    (failed,) = [step for act in result.json["acts"] for step in act["steps"] if not step["ok"]]
    assert failed["name"] == "loop"
    assert failed["fix"].startswith("let the sketch say its version when it asks, another one in each release")
