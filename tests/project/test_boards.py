"""Which chips an environment is for, as far as its lines say it, and the filesystem that it gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otaseal.chips.families import Family
from otaseal.project import boards
from otaseal.project.boards import ESP32, ESP8266, PICO
from otaseal.project.config import read
from otaseal.project.project import Project

ROOT = Path(__file__).resolve().parents[2]

GIT = "https://github.com/maxgerhardt/platform-raspberrypi.git"
PIOARDUINO = "https://github.com/pioarduino/platform-espressif32/releases/download"


@pytest.mark.parametrize(
    ("options", "family"),
    [
        ({"platform": "raspberrypi", "board": "pico"}, PICO),
        ({"platform": "raspberrypi@1.14.0", "board": "pico"}, PICO),
        ({"platform": GIT, "board": "rpipicow"}, PICO),
        ({"platform": f"{GIT}#feature/usb", "board": "rpipico2w"}, PICO),
        ({"platform": "symlink:///home/pi/platforms/mine", "board": "rpipico2w"}, PICO),
        ({"platform": "mine", "board": "vendor_board", "board_build.mcu": "rp2350"}, PICO),
        ({"platform": "mine", "board": "adafruit_feather_rp2040"}, PICO),
        ({"platform": "espressif8266", "board": "nodemcuv2"}, ESP8266),
        ({"platform": "symlink:///home/raspberrypi/platform-espressif8266", "board": "rpipico"}, ESP8266),
        ({"platform": "symlink:///home/raspberrypi/mine", "board": "nodemcuv2"}, ESP8266),
        ({"platform": "espressif32", "board": "featheresp32"}, ESP32),
        ({"platform": "platformio/espressif32 @ ^6.5.0", "board": "ttgo-t-beam"}, ESP32),
        ({"platform": "espressif32@~6.3.2"}, ESP32),
        ({"platform": f"{PIOARDUINO}/55.03.311/platform-espressif32.zip", "board": "lolin_s3_mini"}, ESP32),
        ({"platform": "https://github.com/pioarduino/platform-espressif32/archive/refs/tags/55.zip"}, ESP32),
        ({"platform": "https://github.com/tasmota/platform-espressif32.git#feature/stage"}, ESP32),
        ({"platform": "C:\\platforms\\espressif32_mine", "board": "heltec"}, ESP32),
        ({"platform": "symlink:///home/pi/platforms/mine", "board": "esp32-s3-devkitc-1"}, ESP32),
        ({"platform": "symlink:///home/pi/platforms/mine", "board_build.mcu": "esp32c6", "board": "vendor"}, ESP32),
        ({"platform": "symlink:///home/pi/platforms/mine", "board": "esp-wrover-kit"}, ESP32),
        ({"platform": "native"}, None),
        ({"platform": "ststm32 @ 19.0.0", "board": "bluepill_f103c8"}, None),
        ({}, ESP8266),
    ],
)
def test_the_chips(options: dict[str, str], family: Family | None) -> None:
    assert boards.family(options.get) is family


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"platform": "espressif32", "framework": "espidf"}, "its framework is 'espidf'"),
        ({"platform": "espressif8266", "framework": "esp8266-rtos-sdk"}, "its framework is 'esp8266-rtos-sdk'"),
        ({"platform": "native"}, "its platform is 'native'"),
        ({"platform": "espressif32", "framework": "arduino, espidf"}, ""),
        ({"platform": "espressif32", "framework": "espidf\narduino"}, ""),
        ({"platform": "raspberrypi", "framework": "arduino"}, ""),
        ({"platform": "espressif8266"}, ""),
    ],
)
def test_where_nothing_works(options: dict[str, str], reason: str) -> None:
    assert boards.obstacle(options.get).partition(", and otaseal works ")[0] == reason


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


@pytest.mark.parametrize(
    ("platform", "default"),
    [
        ("espressif8266", "spiffs"),
        ("espressif32@6.13.0", "spiffs"),
        (f"{PIOARDUINO}/55.03.311/platform-espressif32.zip", "littlefs"),
    ],
)
def test_the_filesystem_of_an_esp_is_named_or_that_of_the_platform(platform: str, default: str) -> None:
    assert boards.filesystem({"platform": platform}.get) == default
    assert boards.filesystem({"platform": platform, "board_build.filesystem": "fatfs"}.get) == "fatfs"
    assert boards.filesystem_options({"platform": platform}.get) == {"board_build.filesystem": "littlefs"}


def uncommented(text: str) -> str:
    """Return the example file with everything in it that a user may turn on."""
    return re.sub(r"^;(?=\S)", "", text, flags=re.M)


@pytest.mark.parametrize("name", ["platformio.ini.example", "examples/secure_ota/platformio.ini"])
def test_every_environment_that_is_shown_can_be_set_up(name: str, tmp_path: Path) -> None:
    """For each family of chips there is one; all have one product, a filesystem for certificates, and known options."""
    (tmp_path / "platformio.ini").write_text(uncommented((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")
    config = read(tmp_path, {})
    projects = [Project(config, environment) for environment in config.environments]
    assert {project.family for project in projects} == {ESP8266, ESP32, PICO}
    assert len({project.board for project in projects}) == len(projects)
    assert len({project.settings.product for project in projects}) == 1
    for project in projects:
        assert project.filesystem == "littlefs", project.environment
        assert (boards.obstacle(project.get), project.one_slot) == ("", ""), project.environment
        assert project.settings.compress == "no" or project.family is ESP8266, project.environment
