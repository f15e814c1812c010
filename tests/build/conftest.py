"""Projects for the tests that run the real PlatformIO; one core directory for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.hooks import ESP32_SOURCES, PICO_UPDATING
from support.pio import ESP32_PLATFORM, PICO_PLATFORM, Project, core_dir, warm
from support.servers import Running, World, start


@pytest.fixture(scope="session")
def pio_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    core = core_dir(tmp_path_factory.mktemp("pio"))
    with warm(core):
        yield core


@pytest.fixture
def project(tmp_path: Path, pio_core: Path) -> Callable[..., Project]:
    """Return a function that makes a project: its arguments are ini lines, its keywords those of `Project.create`."""

    def make(*ini: str, name: str = "blink", **options: object) -> Project:
        return Project(tmp_path / name, pio_core).create(ini, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def pico_project(tmp_path: Path, pio_core: Path) -> Callable[..., Project]:
    """Return a function that makes a project for a Pico W, or another `board`, with a filesystem of half a megabyte."""

    def make(*ini: str, name: str = "blink", board: str = "rpipicow", **options: object) -> Project:
        made = Project(tmp_path / name, pio_core, platform=PICO_PLATFORM)
        lines = ["board_build.filesystem_size = 0.5m", *ini]
        options.setdefault("sources", {"main.cpp": PICO_UPDATING})
        return made.create(lines, board=board, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def esp32_project(tmp_path: Path, pio_core: Path) -> Callable[..., Project]:
    """Return a function that makes a project for an ESP32, or another `board`, with LittleFS, that updates itself."""

    def make(*ini: str, name: str = "blink", board: str = "esp32dev", **options: object) -> Project:
        made = Project(tmp_path / name, pio_core, platform=ESP32_PLATFORM)
        options.setdefault("sources", ESP32_SOURCES)
        return made.create(["board_build.filesystem = littlefs", *ini], board=board, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    """Return the path of a flash file that does not exist yet: the port of serial uploads."""
    return tmp_path / "flash.bin"


@pytest.fixture
def server(tmp_path: Path, world: World) -> Iterator[Running]:
    """Return an update server without releases; it must end well."""
    running = start(world, tmp_path / "store")
    yield running
    running.end()
