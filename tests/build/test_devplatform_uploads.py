"""The development platform writes and sends what the real one does: filesystems, serial and over the air."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from littlefs import LittleFS

from support.pio import FakeOtaDevice, Project
from support.platform_probe import CERTS, blink, probed, tool

__all__ = ["blink"]

pytestmark = [pytest.mark.build, pytest.mark.proof]


MIB = 1 << 20
FS_START, FS_SIZE, FS_BLOCK = 3 * MIB, 1024000, 8192  # eagle.flash.4m1m.ld
NETWORK = "127.0.0.1"
EXTRA_IMAGES = """\
Import("env")
for name in ("ship", "ship_by_upload"):
    env.AddCustomTarget(name, env.DataToBin("$BUILD_DIR/" + name, "$PROJECT_DATA_DIR"), None, name, name)
"""


def superblock(image: bytes) -> tuple[int, int, int]:
    """Return disk version, block size and block count out of the first block's own bytes."""
    assert image[8:16] == b"littlefs"
    version, block, count = struct.unpack_from("<3I", image, 20)
    return version, block, count


def test_the_filesystem_image_is_one_that_the_core_mounts(blink: Project) -> None:
    firmware = blink.build("firmware.bin")
    before = firmware.stat().st_mtime_ns
    done = blink.run("-t", "buildfs")
    assert probed(done.output) == {"firmware": "False", "image": "True"}
    assert firmware.stat().st_mtime_ns == before
    assert re.search(r"^/certs\.ar$", done.stdout, flags=re.M)
    image = blink.build("littlefs.bin").read_bytes()
    assert len(image) == FS_SIZE
    assert superblock(image) == (0x00020000, FS_BLOCK, FS_SIZE // FS_BLOCK)
    filesystem = LittleFS(block_size=FS_BLOCK, block_count=FS_SIZE // FS_BLOCK, mount=False)
    filesystem.context.buffer[:] = image
    filesystem.mount()
    with filesystem.open("/certs.ar", "rb") as file:
        assert file.read() == CERTS
    assert filesystem.listdir("/deeper") == ["note.txt"]
    blink.run("-t", "buildfs")
    assert blink.build("littlefs.bin").read_bytes() == image


def test_filesystem_images_that_cannot_be(project: Callable[..., Project], tmp_path: Path) -> None:
    made = project("board_build.filesystem = littlefs", "extra_scripts = post:extra.py")
    made.write("extra.py", EXTRA_IMAGES)
    missing = made.run("-t", "buildfs", check=False)
    assert "can't read source directory" in missing.output
    made.write("data/certs.ar", CERTS)
    assert "mklittlefs" in made.run("-t", "ship", check=False).stderr  # the tool comes only for uploads and buildfs
    made.run("-t", "ship_by_upload")
    assert superblock(made.build("ship_by_upload.bin").read_bytes())[2] == FS_SIZE // FS_BLOCK
    made.configure()
    made.run("-t", "buildfs")
    assert len(made.build("spiffs.bin").read_bytes()) == FS_SIZE
    made.write("data/big", bytes(70000))
    out = tmp_path / "out.bin"
    full = tool("mklittlefs.py", "-c", made.path / "data", "-p", "256", "-b", "4096", "-s", "65536", out)
    assert full.returncode != 0
    assert "the image is full" in full.stderr
    assert not out.exists()


def test_serial_uploads_write_into_the_flash_file(blink: Project, flash: Path) -> None:
    image = blink.build("firmware.bin")
    beside = blink.build("firmware.bin.signed")
    beside.write_bytes(b"for the air only")
    blink.run("-t", "upload", "--upload-port", str(flash))
    firmware = image.read_bytes()
    assert flash.read_bytes() == firmware.ljust(4 * MIB, b"\xff")
    beside.unlink()
    blink.run("-t", "uploadfs", "--upload-port", str(flash))
    filesystem = blink.build("littlefs.bin").read_bytes()
    assert flash.read_bytes() == firmware.ljust(FS_START, b"\xff") + filesystem.ljust(MIB, b"\xff")
    blink.run("-t", "erase", "--upload-port", str(flash))
    assert flash.read_bytes() == b"\xff" * 4 * MIB
    for target in ("upload", "uploadfs"):
        blink.run("-t", "nobuild", "-t", target, "--upload-port", str(flash))
    assert flash.read_bytes() == firmware.ljust(FS_START, b"\xff") + filesystem.ljust(MIB, b"\xff")


def test_both_uploads_in_one_run_write_the_filesystem_twice(blink: Project, flash: Path) -> None:
    """A habit of the real platform, and the reason for a target that writes both."""
    done = blink.run("-t", "upload", "-t", "uploadfs", "--upload-port", str(flash))
    assert re.findall(r"^Wrote \d+ bytes at (\w+)", done.stdout, flags=re.M) == [f"{FS_START:#010x}"] * 2
    assert flash.read_bytes()[:FS_START] == b"\xff" * FS_START


@pytest.mark.parametrize(
    ("content", "address", "reason"),
    [
        (b"\x1f\x8b\x08\x00", "0x0", "gzip"),
        (b"\x00\x01", "0x0", "is not an ESP8266 image"),
        (b"\xe9" + bytes(8192), "0x3ff000", "do not fit"),
        (b"\xe9", "0x10", "sector"),
    ],
)
def test_the_flash_file_refuses(tmp_path: Path, flash: Path, content: bytes, address: str, reason: str) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(content)
    done = tool("esptool.py", "--port", flash, "write_flash", address, image)
    assert done.returncode != 0
    assert reason in done.stderr
    assert not flash.exists()


def test_uploads_over_the_air_send_the_signed_file_if_there_is_one(blink: Project) -> None:
    firmware = blink.build("firmware.bin")
    signed = blink.build("firmware.bin.signed")
    with FakeOtaDevice() as device:
        port = {"OTA_PORT": str(device.port)}  # an option in an environment variable would wipe the build directory
        done = blink.run("-t", "upload", "--upload-port", NETWORK, env=port)
        assert "goes over the air" in done.stderr
        assert "CURRENT: upload_protocol = esptool" in done.stdout
        signed.write_bytes(firmware.read_bytes() + b"signature")
        blink.run("-t", "upload", "--upload-port", NETWORK, env=port)
        blink.run("-t", "uploadfs", "--upload-port", NETWORK, env=port)
    sent = [(upload.command, upload.content) for upload in device.uploads]
    filesystem = blink.build("littlefs.bin").read_bytes()
    assert sent == [(0, firmware.read_bytes()), (0, signed.read_bytes()), (100, filesystem)]
    signed.unlink()


@pytest.mark.parametrize(
    ("password", "given", "verdict", "message"),
    [
        ("secret", "secret", "OK", None),
        ("secret", "guess", "OK", "Bad Answer: Authentication Failed"),
        ("", "", "ERROR[12]: Signature", "ERROR[12]"),
        ("", "", "", "No Result!"),
    ],
)
def test_the_devices_verdict_is_the_tools(
    tmp_path: Path, password: str, given: str, verdict: str, message: str | None
) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(bytes(range(256)) * 20)
    with FakeOtaDevice(password, verdict) as device:
        done = tool("espota.py", "-i", NETWORK, "-p", str(device.port), "-a", given, "-f", image)
    assert (done.returncode == 0) == (message is None)
    assert message is None or message in done.stderr
    assert [upload.content for upload in device.uploads] == [image.read_bytes()] * (given == password)


def test_nobody_there_is_an_error_soon(tmp_path: Path) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(b"\xe9")
    with FakeOtaDevice() as device:
        port = str(device.port)
    done = tool("espota.py", "-i", NETWORK, "-p", port, "-f", image)
    assert done.returncode != 0
    assert "No Answer" in done.stderr
