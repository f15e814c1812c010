"""Which chip an environment is for, as far as its lines say it, and the filesystem that it gets."""

from __future__ import annotations

import pytest

from otaseal.project import boards

GIT = "https://github.com/maxgerhardt/platform-raspberrypi.git"


@pytest.mark.parametrize(
    ("options", "pico"),
    [
        ({"platform": "raspberrypi", "board": "pico"}, True),
        ({"platform": "raspberrypi@1.14.0", "board": "pico"}, True),
        ({"platform": GIT, "board": "rpipicow"}, True),
        ({"platform": f"{GIT}#develop", "board": "rpipico2w"}, True),
        ({"platform": "symlink:///home/pi/platforms/mine", "board": "rpipico2w"}, True),
        ({"platform": "mine", "board": "vendor_board", "board_build.mcu": "rp2350"}, True),
        ({"platform": "mine", "board": "adafruit_feather_rp2040"}, True),
        ({"platform": "espressif8266", "board": "nodemcuv2"}, False),
        ({"platform": "symlink:///home/raspberrypi/platform-espressif8266", "board": "rpipico"}, False),
        ({"platform": "symlink:///home/raspberrypi/mine", "board": "nodemcuv2"}, False),
        ({"platform": "native"}, False),
        ({}, False),
    ],
)
def test_the_chip(options: dict[str, str], pico: bool) -> None:
    assert boards.is_pico(options.get) is pico


@pytest.mark.parametrize(
    ("size", "filesystem"),
    [
        (None, ""),
        ("0", ""),
        ("0MB", ""),
        ("0.0m", ""),
        ("1m", "littlefs"),
        ("0.5MB", "littlefs"),
        ("65536", "littlefs"),
    ],
)
def test_a_pico_has_a_filesystem_of_a_size_or_none(size: str | None, filesystem: str) -> None:
    options = {"platform": GIT, "board": "rpipicow", "board_build.filesystem": "spiffs"}
    if size is not None:
        options["board_build.filesystem_size"] = size
    assert boards.filesystem(options.get) == filesystem
    assert boards.filesystem_options(options.get) == {"board_build.filesystem_size": "1m"}
