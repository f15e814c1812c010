"""However scripts are listed in extra_scripts: each works, or says which line is wrong; none is silently left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import signed_image
from support.filesystem import read_file
from support.hooks import ALL_HOOKS, EXTRA_SCRIPTS, SCOPES, SELF_UPDATING, ca_certificate, opt_in, write_key
from support.pio import FakeOtaDevice, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
LITTLEFS = "board_build.filesystem = littlefs"
SKETCH = {"main.cpp": SELF_UPDATING}
NAME = 'Import("env")\nenv.Replace(PROGNAME="blink-v2.2")\n'


def test_a_program_name_that_is_set_too_late_is_an_error(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """The fault: SUCCESS, nothing signed, and espota sends the raw file."""
    line = write_key(tmp_path / "signing.key", rsa_key)
    with FakeOtaDevice() as device:
        network = ["upload_port = 127.0.0.1", f"upload_flags = --port={device.port}"]
        made = project("extra_scripts =", "  name.py", *opt_in("sign_firmware")[1:], line, *network)
        made.write("name.py", NAME)
        for arguments in ((), ("-t", "upload"), ("-t", "nobuild", "-t", "upload")):
            run = made.run(*arguments, check=False)
            assert "this run is about 'firmware.bin', and by what PROGNAME is now it would be 'blink-v2.2.bin'" in (
                run.stderr
            )
            assert "list that script with pre: in extra_scripts" in run.stderr
        assert not device.uploads
        assert "upload" in made.run("--list-targets").stdout
        made.run("-t", "idedata")
        made.run("-t", "clean")


def test_a_program_name_that_is_set_after_the_hooks_changes_nothing_for_them(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in(*ALL_HOOKS), "  name.py", line, LITTLEFS, sources=SKETCH)
    made.write("name.py", NAME)
    made.write("certs/ca.pem", ca_certificate())
    made.run("-t", "rehearse")
    signed, firmware = made.build("firmware.bin.signed"), made.build("firmware.bin")
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == firmware.read_bytes()

    made.configure([*opt_in("verify_updates", "sign_firmware"), "  name.py", *opt_in("ship")[1:], line])
    run = made.run(check=False)
    assert "by what PROGNAME is now it would be 'blink-v2.2.bin'" in run.stderr


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_a_wrong_prefix_is_named(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, hook: str) -> None:
    right = opt_in(hook)[1].strip()
    wrong = right.removeprefix("pre:") if SCOPES[hook] == "pre" else right.replace("post:", "pre:")
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project("extra_scripts =", f"  {wrong}", line, LITTLEFS, data={"certs.ar": b""})
    for arguments in ((), ("-t", "buildfs")):
        run = made.run(*arguments, check=False)
        assert f"extra_scripts has the line '{wrong}'" in run.stderr
        assert f"otaseal: hint: write it as {right}\n" in run.stderr
    assert "upload" in made.run("--list-targets").stdout
    made.run("-t", "idedata")
    made.run("-t", "clean")


def test_scripts_without_a_prefix_in_reverse_and_twice(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """No prefix means post:; environments that inherit often list a script a second time."""
    bare = [f"  {EXTRA_SCRIPTS}/{hook}.py" for hook in ("ship", "pack_certs", "sign_firmware")]
    pre = opt_in("verify_updates")[1]
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project("extra_scripts =", *bare, pre, *bare, pre, line, LITTLEFS, f"upload_port = {flash}", sources=SKETCH)
    made.write("certs/ca.pem", ca_certificate())
    made.run("-t", "uploadall")
    firmware = made.build("firmware.bin").read_bytes()
    assert flash.read_bytes().startswith(firmware)
    assert signed_image.verify(made.build("firmware.bin.signed").read_bytes(), rsa_key.public_key()) == firmware
    packed = (made.path / "data" / "certs.ar").read_bytes()
    assert read_file(flash.read_bytes()[0x300000 : 0x300000 + 1024000], "/certs.ar") == packed
    assert "Signing" not in made.run().stdout
