"""A project on the development platform, and what its build says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.pio import PLATFORM, Project

CERTS = b"!<arch>\n"
PROBE = """\
import os
Import("env")
if "OTA_PORT" in os.environ:
    env.Append(UPLOADERFLAGS=["--port", os.environ["OTA_PORT"]])
nodes = {"firmware": "$BUILD_DIR/${PROGNAME}.bin", "image": "$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin"}
for name, path in nodes.items():
    print("PROBE", name, env.File(env.subst(path)).has_builder())
"""


@pytest.fixture(scope="session")
def blink(tmp_path_factory: pytest.TempPathFactory, pio_core: Path) -> Project:
    """Return a built blink with a data directory; its sources and its platformio.ini stay as they are."""
    made = Project(tmp_path_factory.mktemp("shared") / "blink", pio_core)
    made.write("probe.py", PROBE)
    made.create(
        ["board_build.filesystem = littlefs", "extra_scripts = post:probe.py"],
        data={"certs.ar": CERTS, "deeper/note.txt": b"kept"},
    )
    made.run()
    return made


def tool(name: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PLATFORM / "tools" / name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def probed(output: str) -> dict[str, str]:
    return dict(re.findall(r"^PROBE (\w+) (\w+)$", output, flags=re.M))
