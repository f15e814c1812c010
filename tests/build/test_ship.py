"""The hook ship on the real PlatformIO: firmware and filesystem in one pass, certificates that follow an upload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.filesystem import read_file
from support.hooks import ALL_HOOKS, SELF_UPDATING, ca_certificate, opt_in, write_key
from support.pio import FakeOtaDevice, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
LITTLEFS = "board_build.filesystem = littlefs"
FS_START = 0x300000
LARGE_SETUP = """\
const char ballast[600000] = {1};
volatile char sink;
void setup() { sink = ballast[millis()]; }
"""


def test_uploadall_writes_both_in_one_pass(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [*opt_in(*ALL_HOOKS), write_key(tmp_path / "signing.key", rsa_key), LITTLEFS, f"upload_port = {flash}"]
    made = project(*lines, name="with spaces", sources={"main.cpp": SELF_UPDATING})
    made.write("certs/ca.pem", ca_certificate())
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
    made.write("certs/ca.pem", ca_certificate())
    port = ("--upload-port", str(flash))
    named = "the CA certificates have changed since they were last shipped; ship them: pio run -e nodemcuv2 -t uploadfs"

    assert named in made.run("-t", "upload", *port).stdout
    assert flash.read_bytes()[FS_START:].strip(b"\xff") == b""
    made.run("-t", "uploadfs", *port)
    assert named not in made.run("-t", "upload", *port).stdout
    made.run("-t", "clean")
    assert named not in made.run("-t", "upload", *port).stdout
    made.run("-t", "erase", *port)
    assert named in made.run("-t", "upload", *port).stdout
    assert flash.read_bytes()[FS_START:].strip(b"\xff") == b""

    made.configure([*lines, "custom_otaseal_uploadfs = on-change"])
    (made.path / "platformio.ini").rename(made.path / "other.ini")
    made.write("certs/ca.pem", ca_certificate())
    run = made.run("-c", "other.ini", "-t", "upload", *port)
    assert "the CA certificates have changed: shipping them" in run.stdout
    assert flash.read_bytes()[FS_START:].startswith(made.build("littlefs.bin").read_bytes())
    assert "certificates have changed" not in made.run("-c", "other.ini", "-t", "upload", *port).stdout

    made.write("certs/ca.pem", ca_certificate())
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


def test_directories_with_spaces(project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """The fault: esptool took the second word of a path for an address."""
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in(*ALL_HOOKS), key, LITTLEFS, f"upload_port = {flash}", sources={"main.cpp": SELF_UPDATING})
    made.write("certs/ca.pem", ca_certificate())
    ini = (made.path / "platformio.ini").read_text()
    work = tmp_path / "work & space"
    for lines in ("build_dir = my build", f"workspace_dir = {work}", "data_dir = my data\nbuild_dir = b c"):
        made.write("platformio.ini", f"[platformio]\n{lines}\n{ini}")
        flash.unlink(missing_ok=True)
        made.run("-t", "uploadall")
        assert read_file(flash.read_bytes()[FS_START : FS_START + 1024000], "/certs.ar")
    made.write("platformio.ini", f"[platformio]\nbuild_dir = my build\n{ini}board_build.gzip_fw = yes\n")
    for target in ("uploadall", "upload"):
        flash.unlink()
        made.run("-t", target)
        assert flash.read_bytes().startswith((made.path / "my build/nodemcuv2/firmware.bin.orig").read_bytes())


def test_what_does_not_fit_is_said_with_its_sizes(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Of a 1 MB flash, 962,560 bytes lie below the filesystem of 65,536 (eagle.flash.1m64.ld)."""
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("sign_firmware", "pack_certs"), key, LITTLEFS, board="d1_mini_lite")
    image = made.build("littlefs.bin", "d1_mini_lite")
    made.write("certs/ca.pem", b"".join(ca_certificate() for _ in range(3)))
    assert "holds 3 CA certificates, written; " in made.run("-t", "buildfs").stdout
    assert image.stat().st_size == 65536
    made.write("data/page.html", bytes(60000))
    full = made.run("-t", "buildfs", check=False)
    assert (
        "the files in 'data' need at least 73728 bytes, and the filesystem has 65536 (16 blocks of 4096)" in full.stderr
    )
    assert not image.exists()
    made.write("src/main.cpp", SELF_UPDATING.replace("void setup() {}", LARGE_SETUP))
    run = made.run()
    assert "have no room for an update of " in run.stderr
    assert "the two share 962560 bytes below a filesystem of 65536, and lack " in run.stderr
    small = made.run(env={"OTASEAL_COMPRESS": "gzip"})
    assert "no room" not in small.stderr
