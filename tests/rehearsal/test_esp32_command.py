"""`otaseal rehearse` in a project for the ESP32, at a real server, with the table and the filesystem of the build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal.simulator.esp32.table import default, parse
from support.built import ENVIRONMENT, BuiltProject
from support.command import Command, Result, otaseal
from support.esp32_boards import image, sealed
from support.servers import Running, operator, publish

__all__ = ["otaseal"]

BUILD = f".pio/build/{ENVIRONMENT}"
TABLE = default(8 << 20)


class Esp32Project(BuiltProject):
    """As a build for an ESP32 leaves it: image, signed image, partition table and filesystem with the certificates."""

    def image(self, seed: int) -> bytes:
        return image(self.key, seed, board=ENVIRONMENT)

    def seal(self, raw: bytes) -> bytes:
        return sealed(raw, self.key, board=ENVIRONMENT)

    def leave(self, seed: int) -> bytes:
        raw = self.image(seed)
        self.write(f"{BUILD}/firmware.bin", raw)
        self.write(f"{BUILD}/firmware.bin.signed", self.seal(raw))
        self.write(f"{BUILD}/partitions.bin", TABLE)
        divided = parse(TABLE).layout
        made = LittleFS(block_size=4096, block_count=divided.fs_size // 4096, name_max=64, prog_size=128, read_size=128)
        with made.open("/certs.ar", "wb") as file:
            file.write((self.folder / "data/certs.ar").read_bytes())
        self.write(f"{BUILD}/littlefs.bin", bytes(made.context.buffer))
        return raw


@pytest.fixture
def project(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, server: Running) -> Esp32Project:
    (tmp_path / "blink").mkdir()
    made = Esp32Project(tmp_path / "blink", rsa_key, server)
    channel = re.sub("[^a-z0-9]", "-", tmp_path.name)[:60]
    made.lines |= {"custom_otaseal_channel": channel, "custom_otaseal_version": "1.2"}
    made.configure()
    made.leave(2)
    return made


@pytest.fixture
def rehearse(project: Esp32Project, otaseal: Command) -> Command:
    def run(*arguments: str | Path) -> Result:
        return otaseal("rehearse", "--project", project.folder, *arguments)

    return run


def test_at_the_live_server_and_then_on_this_machine(rehearse: Command, server: Running) -> None:
    result = rehearse("--json").succeeded()
    assert (result.json["device"], result.json["partly"]) == ("ESP32", False)
    titles = [act["title"] for act in result.json["acts"]]
    assert titles[2].startswith("a device meets the live server: https://localhost")
    assert titles[-4:] == [
        "the power fails during the update",
        "the new firmware does not reach its server, and gives way",
        "the flash holds what was built",
        "poll 2: it is told that it is up to date",
    ]
    assert "assumed; name" not in result.out
    assert operator(server).get("/v1/products/blink/devices")["devices"] == [], "a rehearsal left a trace"


def test_what_is_given_out_is_taken_from_the_live_server(
    rehearse: Command, project: Esp32Project, server: Running
) -> None:
    """The board runs the release before, and takes the new one, which is published already."""
    publish(server, "1.2", project.seal(project.image(2)), channel=project.lines["custom_otaseal_channel"])
    (project.folder / "old.bin").write_bytes(project.image(1))
    result = rehearse("--from", project.folder / "old.bin", "--json").succeeded()
    live = {step["name"]: step["checked"] for step in result.json["acts"][2]["steps"]}
    assert live["boot"].startswith("'app1'")


def test_another_table_is_named(rehearse: Command, project: Esp32Project) -> None:
    (project.folder / "small.bin").write_bytes(default(4 << 20))
    named = rehearse("--layout", project.folder / "small.bin", "--json", "--offline")
    assert "has" in named.err, "the filesystem of the build is larger than that table's"
    assert rehearse("--layout", "4m2m", "--offline").err.count("is given for an image of the ESP32") == 1
