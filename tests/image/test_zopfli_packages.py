"""Two packages of PyPI install the module `zopfli`: each works alone, and both together; what is broken is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from otaseal.image import gzip_payload
from support import peers

TOOLS = Path(__file__).resolve().parents[2] / "tools"
RAW = bytes(n * n % 251 for n in range(30000))
COMPRESS = f"""\
import sys
sys.path.insert(0, {str(TOOLS)!r})
from otaseal import errors
from otaseal.image import gzip_payload
try:
    sys.stdout.buffer.write(gzip_payload.compress(sys.stdin.buffer.read(), "zopfli"))
except errors.OtasealError as error:
    sys.exit(errors.describe(error))
"""


def other_python() -> Path:
    """Return the interpreter of the peers, which has zopflipy where the tests have zopfli."""
    return Path(peers.tool("sslyze", "sslyze and zopflipy of PyPI, in one environment")).with_name("python")


def compress_with(python: Path, packages: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    return subprocess.run([python, "-S", "-c", COMPRESS], input=RAW, capture_output=True, check=False, env=environment)


@pytest.fixture
def sources() -> dict[str, Path]:
    """Return where the two packages' modules lie."""
    code = "import zopfli; print(zopfli.__path__[0])"
    done = subprocess.run([other_python(), "-c", code], capture_output=True, text=True, check=False, cwd="/")
    peers.require("zopflipy", done.returncode == 0, "zopflipy of PyPI")
    spec = find_spec("zopfli")
    assert spec is not None
    assert spec.origin is not None
    return {"zopfli": Path(spec.origin).parent, "zopflipy": Path(done.stdout.strip())}


@pytest.mark.parametrize("installed", [("zopfli",), ("zopflipy",), ("zopfli", "zopflipy"), ("zopflipy", "zopfli")])
def test_what_is_installed_compresses(tmp_path: Path, sources: dict[str, Path], installed: tuple[str, ...]) -> None:
    for name in installed:
        shutil.copytree(sources[name], tmp_path / "zopfli", dirs_exist_ok=True)
    done = compress_with(other_python(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert zlib.decompress(done.stdout, zlib.MAX_WBITS | 16) == RAW
    assert done.stdout == gzip_payload.compress(RAW, "zopfli"), "a release would change with the machine"


@pytest.mark.parametrize("removed", ["zopfli", "zopflipy"])
def test_what_one_package_left_of_the_other_is_said(tmp_path: Path, sources: dict[str, Path], removed: str) -> None:
    for name in ("zopfli", "zopflipy"):
        shutil.copytree(sources[name], tmp_path / "zopfli", dirs_exist_ok=True)
    for path in sources[removed].iterdir():
        if path.is_file():
            (tmp_path / "zopfli" / path.name).unlink()
    if removed == "zopflipy":
        (tmp_path / "zopfli" / "gzip.py").unlink()  # and what a careless clean-up takes along
    done = compress_with(other_python(), tmp_path)
    assert done.returncode == 1
    assert b"left of the other" in done.stderr
    assert b"pip uninstall zopfli zopflipy" in done.stderr
    assert b"Traceback" not in done.stderr
