"""The hooks in a build on a Python without what only POSIX has, as on Windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import signed_image
from support.hooks import ALL_HOOKS, SELF_UPDATING, ca_certificate, opt_in, write_key
from support.pio import Project

pytestmark = [pytest.mark.build, pytest.mark.proof]

TESTS = Path(__file__).resolve().parent.parent
HIDE = (
    f"import sys; sys.path.insert(0, {str(TESTS)!r}); from support import without_posix; sys.path.pop(0)\n"
    "without_posix.hide_modules()\n"  # SCons and PlatformIO want the functions of the system they know
)


def test_the_hooks_sign_and_pack_without_posix(
    project: Callable[..., Project], tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key_line = write_key(tmp_path / "signing.key", rsa_key)
    hooks, *scripts = opt_in(*ALL_HOOKS)
    made = project(
        hooks, "  pre:hide.py", *scripts, key_line, "board_build.filesystem = littlefs",
        sources={"main.cpp": SELF_UPDATING},
    )  # fmt: skip
    made.write("hide.py", HIDE + "import fcntl\n")
    assert "No module named 'fcntl'" in made.run(check=False).output
    made.write("hide.py", HIDE)
    made.write("certs/ca.pem", ca_certificate().decode())
    made.run()
    signed = made.build("firmware.bin.signed").read_bytes()
    assert signed_image.verify(signed, rsa_key.public_key()) == made.build("firmware.bin").read_bytes()
    made.run("-t", "buildfs")
    assert (made.path / "data" / "certs.ar").is_file()
    made.run("-t", "uploadall", "--upload-port", str(tmp_path / "flash"))
    assert "Signing" not in made.run().stdout
