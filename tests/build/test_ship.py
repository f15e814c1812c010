"""The hook ship on the real PlatformIO: firmware and filesystem in one pass, certificates that follow an upload."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.pki import Authority, Role
from support.hooks import ALL_HOOKS, SELF_UPDATING, opt_in, write_key
from support.pio import FakeOtaDevice, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
LITTLEFS = "board_build.filesystem = littlefs"
FS_START = 0x300000


def certificate() -> bytes:
    return Authority.create(role=Role.SERVER, product="blink", now=datetime.now(timezone.utc)).certificate_pem


def test_uploadall_writes_both_in_one_pass(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [*opt_in(*ALL_HOOKS), write_key(tmp_path / "signing.key", rsa_key), LITTLEFS, f"upload_port = {flash}"]
    made = project(*lines, name="with spaces", sources={"main.cpp": SELF_UPDATING})
    made.write("certs/ca.pem", certificate())
    run = made.run("-t", "uploadall")
    content = flash.read_bytes()
    assert content.startswith(made.build("firmware.bin").read_bytes())
    assert content[FS_START:].startswith(made.build("littlefs.bin").read_bytes())
    assert run.stdout.count("Connecting") == 1
    assert made.build("firmware.bin.signed").exists()

    assert "certificates have changed" not in made.run("-t", "upload").stdout
    made.configure([*lines, "board_build.gzip_fw = yes"])
    flash.unlink()
    made.run("-t", "uploadall")
    assert flash.read_bytes().startswith(made.build("firmware.bin.orig").read_bytes())


def test_changed_certificates_are_named_or_shipped(project: MakeProject, flash: Path) -> None:
    lines = [*opt_in("pack_certs", "ship"), LITTLEFS]
    made = project(*lines)
    made.write("certs/ca.pem", certificate())
    port = ("--upload-port", str(flash))
    named = "the CA certificates have changed since they were last shipped; ship them: pio run -e nodemcuv2 -t uploadfs"

    assert named in made.run("-t", "upload", *port).stdout
    assert flash.read_bytes()[FS_START:].strip(b"\xff") == b""
    made.run("-t", "uploadfs", *port)
    assert named not in made.run("-t", "upload", *port).stdout
    made.run("-t", "clean")
    assert named not in made.run("-t", "upload", *port).stdout

    made.configure([*lines, "custom_otaseal_uploadfs = on-change"])
    (made.path / "platformio.ini").rename(made.path / "other.ini")
    made.write("certs/ca.pem", certificate())
    run = made.run("-c", "other.ini", "-t", "upload", *port)
    assert "the CA certificates have changed: shipping them" in run.stdout
    assert flash.read_bytes()[FS_START:].startswith(made.build("littlefs.bin").read_bytes())
    assert "certificates have changed" not in made.run("-c", "other.ini", "-t", "upload", *port).stdout

    made.write("certs/ca.pem", certificate())
    (made.path / "data" / "certs.ar").unlink()
    (made.path / "data" / "certs.ar").mkdir()
    failed = made.run("-c", "other.ini", "-t", "upload", *port, check=False)
    assert "the firmware is on the device, and shipping the certificates failed" in failed.stderr


def test_what_cannot_work_is_refused(project: MakeProject, flash: Path) -> None:
    made = project(*opt_in("ship"), LITTLEFS, f"upload_port = {flash}", data={"hello.txt": b"hello"})
    both = made.run("-t", "upload", "-t", "uploadfs", check=False)
    assert "pio run -t uploadall" in both.stderr
    assert "'uploadall' cannot work with 'nobuild'" in made.run("-t", "nobuild", "-t", "uploadall", check=False).stderr
    assert not flash.exists()
    assert "uploadall" in made.run("--list-targets").stdout
    made.run("-t", "uploadall")
    assert flash.exists()
    with FakeOtaDevice() as device:
        made.configure([*opt_in("ship"), LITTLEFS, "upload_port = 127.0.0.1", f"upload_flags = --port={device.port}"])
        run = made.run("-t", "uploadall", check=False)
        assert "the upload protocol is 'espota'" in run.stderr
        assert not device.uploads
