"""Builders that are PlatformIO in part: each gets two lines instead of a traceback, and never an unsigned success."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.hooks import ALL_HOOKS, EXTRA_SCRIPTS, opt_in, write_key
from support.pio import Project

pytestmark = pytest.mark.build

TAKES_EVERYTHING = """\
import sys, types

class Environment(dict):
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None

if sys.argv[2] == "shim":
    sys.modules["SCons"], sys.modules["SCons.Script"] = types.ModuleType("SCons"), types.ModuleType("SCons.Script")
path = sys.argv[1]
with open(path) as file:
    code = compile(file.read(), path, "exec")
exec(code, {"env": Environment(PIOENV="blink"), "Import": lambda *names: None})
"""
OWN_PACKAGES = """\
import os, sys
from venv import create
Import("env")
home = os.path.join(env.subst("$PROJECT_DIR"), "penv")
create(home)
env.Replace(PYTHONEXE=os.path.join(home, "bin", "python"))

def leave_the_users_packages(target, source, env):
    sys.path[:] = [path for path in sys.path if "site-packages" not in path]
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        del sys.modules[name]

env.AddPreAction("$BUILD_DIR/firmware.bin", leave_the_users_packages)
"""


@pytest.mark.parametrize("hook", ALL_HOOKS)
@pytest.mark.parametrize("scons", ["shim", "none"])
def test_a_builder_that_takes_every_call_and_does_nothing(tmp_path: Path, hook: str, scons: str) -> None:
    """Such as fbuild: it records post-actions, ignores nodes, and calls the build a success."""
    command = [sys.executable, "-I", "-S", "-c", TAKES_EVERYTHING, str(EXTRA_SCRIPTS / f"{hook}.py"), scons]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("otaseal: error: ")
    assert "it cannot sign" in lines[0]
    assert lines[1].startswith("otaseal: hint: build with PlatformIO: pio run")
    assert len(lines) == 2


def test_a_platform_with_packages_of_its_own_names_its_own_interpreter(
    project: Callable[..., Project], tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """As pioarduino: scripts run on the packages of an environment that it makes, and $PYTHONEXE is that one's."""
    attached, key = opt_in("sign_firmware"), write_key(tmp_path / "signing.key", rsa_key)
    made = project()
    made.write("penv.py", OWN_PACKAGES)
    made.configure([attached[0], "  penv.py", *attached[1:], key])
    run = made.run(check=False)
    assert "otaseal: error: the Python that runs PlatformIO lacks the package 'cryptography'" in run.stderr
    assert f'"{made.path / "penv" / "bin" / "python"}" -m pip install cryptography' in run.stderr
    assert "Traceback" not in run.output
    assert not made.build("firmware.bin.signed").exists()
