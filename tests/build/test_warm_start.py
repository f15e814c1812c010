"""A run of PlatformIO that starts warm, as the other tests' do, is what a run from nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support import warm_start
from support.pio import Project, core_dir

pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(not warm_start.AVAILABLE, reason="every run starts from nothing here"),
]

PROBE = """\
import os
import sys

import hidden

Import("env")
print("PROBE", hidden.__file__, os.getcwd(), sys.argv[1:], sys.path, sys.flags, sys.executable, sys.stdout.encoding)
print("PROBE", sorted(os.environ.items()), sorted(os.listdir("/proc/self/fd")))
print("PROBE", [name for name in ("otaseal", "cryptography", "zopfli") if name in sys.modules])
print("PROBE on the error output", file=sys.stderr)
if os.environ.get("FAIL") == "exit":
    env.Exit(3)
if os.environ.get("FAIL") == "error":
    raise RuntimeError("on purpose")
"""


@pytest.mark.parametrize("fail", ["", "exit", "error"])
def test_a_warm_start_is_a_start(project: Callable[..., Project], tmp_path: Path, fail: str) -> None:
    made = project("extra_scripts = pre:probe.py")
    made.write("probe.py", PROBE)
    made.write("../beside/hidden.py", "")
    environment = {"FAIL": fail, "PYTHONPATH": str(tmp_path / "beside")}
    said = []
    for core in (made.core, core_dir(tmp_path)):
        made.core = core
        run = made.run("-t", "idedata", env=environment, check=not fail)
        lines = [line for line in run.stdout.splitlines() if line.startswith("PROBE")]
        lines += [line for line in run.stderr.splitlines() if "Took" not in line]
        said.append((run.returncode, [line.replace(str(core), "CORE") for line in lines]))
    assert len(said[0][1]) >= 4
    assert said[0] == said[1]
