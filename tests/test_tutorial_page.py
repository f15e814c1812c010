"""docs/tutorial.md, run as it stands from an empty folder; at its end a virtual device has updated itself.

The test platform takes the place of the real one, a file that of the board's flash, and free ports on the loopback
interface that of the server's. Installing is not run, for it downloads.
"""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.simulator.device import Device
from otaseal.simulator.flash import layout
from otaseal.simulator.report import Outcome, Result
from support.manual import ENVIRONMENT, PRODUCT, Workplace, sections
from support.pio import PLATFORM, core_dir
from support.serving import SECONDS, serve

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
ADDRESS = "192.168.178.123"
LAYOUT = layout("4m1m")  # of the board
SECTIONS = sections(PAGE)
SETTING_UP = ["Set it up", "Build and sign", "Write the board, once, by cable"]
SERVING, FIRST, SECOND = "Start the update server", "Publish the release that the board runs", "Publish a second one"
TRIED = "See what is refused"
ON_DEVICES, ON_OPERATORS = "0.0.0.0:8443", "https://localhost:8444"


def test_what_is_installed_are_extras_that_there_are() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = re.search(r"^pip install '\.\[([\w,]+)\]'$", PAGE.read_text("utf-8"), re.M)
    assert named is not None
    assert set(named[1].split(",")) <= set(setup["options.extras_require"])


def test_every_section_that_has_commands_is_followed() -> None:
    assert list(SECTIONS) == ["Make a project", *SETTING_UP, SERVING, FIRST, SECOND, TRIED]


def make_project(place: Workplace) -> None:
    """Do the first section, in the folder above the project's."""
    (_, commands), (_, ini), (_, sketch) = SECTIONS["Make a project"].blocks
    place.install()
    subprocess.run(["bash", "-euc", commands], cwd=place.folder, check=True, timeout=SECONDS)
    ours = f"platform = symlink://{PLATFORM}\nupload_port = ../flash.bin"
    assert "platform = espressif8266" in ini
    (place.project / "platformio.ini").write_text(ini.replace("platform = espressif8266", ours))
    (place.project / "src" / "main.cpp").write_text(sketch)


def written(place: Workplace) -> Device:
    """Return the device whose flash was written by cable."""
    content = (place.folder / "flash.bin").read_bytes().ljust(LAYOUT.flash_size, b"\xff")
    filesystem = content[LAYOUT.fs_start : LAYOUT.fs_end]
    device = Device.provision(content[: LAYOUT.fs_start], LAYOUT, filesystem)
    return replace(device, clock=datetime.now(timezone.utc))


@contextmanager
def serving(place: Workplace) -> Iterator[int]:
    """Run the server that the page starts, and give its port for devices; what is published finds the other one."""
    command, *rest = shlex.split(SECTIONS[SERVING].runs.replace("\\\n", ""))
    assert (command, rest[0], rest[1:3]) == ("otaseal", "serve", ["--listen", ON_DEVICES])
    process, ready = serve(*rest[3:], log=place.folder / "server.log", environment=place.environment())
    with process:
        try:
            assert f"custom_otaseal_server = {ON_OPERATORS}\n" in (place.project / "platformio.ini").read_text()
            place.set_options({"custom_otaseal_server": f"https://localhost:{ready[2]}"})
            yield int(ready[1])
        finally:
            process.terminate()


def ask(device: Device, port: int) -> Outcome:
    return device.poll(f"https://{ADDRESS}:{port}/{PRODUCT}/firmware.bin.signed", host="127.0.0.1")


@pytest.mark.build
@pytest.mark.proof
def test_the_page_leads_from_an_empty_folder_to_an_updated_device(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "place", core_dir(tmp_path))
    make_project(place)
    said = [place.follow(SECTIONS[title]) for title in SETTING_UP]
    assert "made       signing key" in said[0]
    assert "otaseal: this firmware takes only updates signed with SHA256:" in said[1]
    assert "core 3.1.2    accepted" in said[1]
    device = written(place)
    with serving(place) as port:
        assert "0.1.0" in place.follow(SECTIONS[FIRST])
        outcome = ask(device, port)
        assert (outcome.result, outcome.status) == (Result.UP_TO_DATE, 304)
        second = SECTIONS[SECOND]
        place.follow(replace(second, blocks=second.blocks[:-1]))
        outcome = ask(outcome.device, port)
        built = (place.project / ".pio" / "build" / ENVIRONMENT / "firmware.bin").read_bytes()
        assert outcome.result is Result.UPDATED
        assert outcome.device.running == built
        assert b"the second release" in built
        assert ask(outcome.device, port).result is Result.UP_TO_DATE
        seen = place.follow(replace(second, blocks=second.blocks[-1:]))
        assert re.search(r"0\.2\.0.*updated", seen), seen
        said.append(place.follow(SECTIONS[TRIED]))
    assert "20 of 20 refused" in said[-1]
