"""Peers that otaseal did not write: found, or skipped loudly; where OTASEAL_REQUIRE_PEERS is set, absence fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent / "peers"


def require(name: str, present: bool, package: str) -> None:
    """Skip the test, or fail it where peers are required, unless the peer `name` is `present`."""
    if present:
        return
    message = f"PEER MISSING: {name} (package {package})"
    if os.environ.get("OTASEAL_REQUIRE_PEERS"):
        pytest.fail(message)
    pytest.skip(message)


def tool(name: str, package: str) -> str:
    """Return the path of a command-line peer."""
    path = shutil.which(name)
    require(name, path is not None, package)
    assert path is not None
    return path


@cache
def _compile(source: str, libraries: tuple[str, ...]) -> str | None:
    output = Path(tempfile.mkdtemp(prefix="otaseal-peer-")) / Path(source).stem
    command = [
        "cc",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(output),
        str(HERE / source),
        *[f"-l{x}" for x in libraries],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and any(f"-l{x}" in done.stderr for x in libraries):
        return None
    if done.returncode and "No such file or directory" in done.stderr and "#include" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return str(output)


def compiled(source: str, package: str, *libraries: str) -> str:
    """Compile `tests/peers/<source>` against `libraries` and return the program's path."""
    tool("cc", "gcc")
    program = _compile(source, libraries)
    require("/".join(libraries), program is not None, package)
    assert program is not None
    return program
