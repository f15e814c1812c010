"""The development platform for the ESP32 behaves as the real ones: what the other tests conclude stands on this."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from littlefs import LittleFS

from support.peers import tool
from support.pio import BLINK, Project

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
BOARD = "esp32dev"
PIOARDUINO = "board_build.builder = pioarduino"
builders = pytest.mark.parametrize("builder", ["", PIOARDUINO], ids=["official", "pioarduino"])


def disk_version(image: bytes) -> int:
    """Return the version that the superblock of a LittleFS says, found by what stands before it."""
    return int(struct.unpack_from("<I", image, image.index(b"littlefs") + 12)[0])


@builders
def test_every_part_lies_where_the_chip_has_it(
    esp32_project: MakeProject, flash: Path, tmp_path: Path, builder: str
) -> None:
    esptool = tool("esptool", "esptool")
    made = esp32_project(builder, sources={"main.cpp": BLINK}, data={"hello.txt": b"hello"})
    made.run("-t", "upload", "--upload-port", str(flash))
    made.run("-t", "uploadfs", "--upload-port", str(flash))
    content = flash.read_bytes()
    for name, place in {"bootloader": 0x1000, "partitions": 0x8000, "boot_app0": 0xE000, "firmware": 0x10000}.items():
        part = made.build(f"{name}.bin", BOARD).read_bytes()
        assert content[place : place + len(part)] == part, name
    image = content[0x290000 : 0x290000 + 0x160000]
    assert disk_version(image) == (0x20001 if builder else 0x20000)
    filesystem = LittleFS(block_size=4096, block_count=len(image) // 4096, mount=False)
    filesystem.context.buffer = bytearray(image)
    filesystem.mount()
    with filesystem.open("hello.txt", "rb") as file:
        assert file.read() == b"hello"
    said = subprocess.run(
        [esptool, "image-info", str(made.build("firmware.bin", BOARD))],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
    ).stdout
    assert "Chip ID: 0 (ESP32)" in said
    assert "(valid)" in said
    assert made.build("firmware.factory.bin", BOARD).exists() == bool(builder)


@builders
def test_targets_are_those_of_the_builder(esp32_project: MakeProject, builder: str) -> None:
    made = esp32_project(builder, sources={"main.cpp": BLINK})
    listed = made.pio("project", "metadata", "--json-output").stdout
    names = {target["name"] for target in json.loads(listed)[BOARD]["targets"]}
    assert {"buildfs", "upload", "uploadfs", "uploadfsota", "erase", "size"} <= names
    assert ("erase_upload" in names) == bool(builder)


@builders
def test_without_a_build_there_is_no_way_to_the_filesystem(
    esp32_project: MakeProject, flash: Path, builder: str
) -> None:
    made = esp32_project(builder, sources={"main.cpp": BLINK}, data={"hello.txt": b"hello"})
    made.run("-t", "buildfs")
    run = made.run("-t", "nobuild", "-t", "uploadfs", "--upload-port", str(flash), check=False)
    assert "Could not find the file  with partitions table." in run.stderr
