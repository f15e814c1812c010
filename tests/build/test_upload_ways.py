"""What an upload is given, and what is refused, on ways that are neither espota nor the platform's own esptool."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.pki import Authority, Role
from support.hooks import SELF_UPDATING, opt_in, write_key
from support.pio import PLATFORM, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
# As the scripts for uploads by HTTP do it: a function that is given the file by SCons.
BY_FUNCTION = """\
import shutil
Import("env")
def send(source, target, env):
    shutil.copy(str(source[0]), env.subst("$PROJECT_DIR/sent.bin"))
env.Replace(UPLOADCMD=send)
"""
CUSTOM = "upload_protocol = custom"
BY_COMMAND = "upload_command = cp $SOURCE $PROJECT_DIR/sent.bin"
FLASHING = (
    f'upload_command = "$PYTHONEXE" "{PLATFORM / "tools" / "esptool.py"}" --port "$UPLOAD_PORT" write_flash 0x0 $SOURCE'
)


def sent(made: Project, *arguments: str, check: bool = True) -> bytes | None:
    """Upload, and return what came through the project's own command, None for nothing."""
    path = made.path / "sent.bin"
    path.unlink(missing_ok=True)
    made.run(*arguments, "-t", "upload", check=check)
    return path.read_bytes() if path.exists() else None


def test_an_upload_command_of_the_projects_own_is_given_the_signed_firmware(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    hooks = opt_in("verify_updates", "sign_firmware")
    made = project(sources={"main.cpp": SELF_UPDATING})
    made.write("send.py", BY_FUNCTION)
    signed = made.build("firmware.bin.signed")
    for lines in (
        [*hooks, "  post:send.py", key, CUSTOM],
        [hooks[0], "  pre:send.py", *hooks[1:], key, CUSTOM],
        [*hooks, key, CUSTOM, BY_COMMAND],
        [*hooks, key, BY_COMMAND, f"upload_port = {flash}"],
    ):
        made.configure(lines)
        assert sent(made) == signed.read_bytes()
    assert "the upload command is given 'firmware.bin.signed'" in made.run("-t", "upload").stdout
    assert sent(made, "-t", "nobuild") == signed.read_bytes()
    newer = signed.read_bytes()
    signed.write_bytes(newer[:100] + b"?" + newer[101:])
    assert sent(made, "-t", "nobuild", check=False) is None
    signed.unlink()
    refused = made.run("-t", "nobuild", "-t", "upload", check=False)
    assert "there is no 'firmware.bin.signed'" in refused.stderr

    made.configure([*hooks, key, CUSTOM, FLASHING, f"upload_port = {flash}"])
    run = made.run("-t", "upload")
    assert "the upload command is given" not in run.stdout
    assert flash.read_bytes().startswith(made.build("firmware.bin").read_bytes()), "over the wire it stays raw"


def test_a_filesystem_goes_over_the_wire_only_to_a_device_that_verifies(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key, littlefs = write_key(tmp_path / "signing.key", rsa_key), "board_build.filesystem = littlefs"
    made = project(*opt_in("verify_updates", "pack_certs"), key, littlefs, CUSTOM, BY_COMMAND)
    authority = Authority.create(role=Role.SERVER, product="blink", now=datetime.now(timezone.utc))
    made.write("certs/ca.pem", authority.certificate_pem)
    refused = made.run("-t", "uploadfs", check=False)
    assert "an upload command that is not esptool's, erases the certificates" in refused.stderr
    assert "upload_protocol = esptool" in refused.stderr
    assert not (made.path / "sent.bin").exists()
    made.configure([*opt_in("pack_certs"), littlefs, CUSTOM, BY_COMMAND])
    made.run("-t", "uploadfs")
    assert (made.path / "sent.bin").read_bytes() == made.build("littlefs.bin").read_bytes()

    made.configure([*opt_in("pack_certs"), littlefs, f"upload_port = {flash}"])
    refused = made.run("-t", "uploadfsota", check=False)
    assert "'uploadfsota' is the platform's own target for uploads over the air" in refused.stderr
    assert "pio run -t uploadfs" in refused.stderr
    assert not flash.exists()
