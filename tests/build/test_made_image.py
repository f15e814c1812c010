"""Whatever happens between packing and shipping: the certificates are in the image that was made, or the run fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from littlefs import LittleFS

from otaseal.image import spiffs
from support.filesystem import read_file
from support.hooks import ca_certificate, opt_in
from support.pio import FakeOtaDevice, PioError, Project, Run

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
LITTLEFS = "board_build.filesystem = littlefs"
FS_START, FS_SIZE, BLOCK, PAGE = 0x300000, 1024000, 8192, 256
WEB = {"web/index.html": "<p>hello"}

REFILL = """\
import shutil
Import("env")

def refill(target, source, env):
    shutil.rmtree(env.subst("$PROJECT_DATA_DIR"), ignore_errors=True)
    shutil.copytree("web", env.subst("$PROJECT_DATA_DIR"))

env.AddPreAction(env.subst("$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin"), refill)
"""
MAKE_DATA = """\
import shutil
Import("env")
env.AddPreAction("$BUILD_DIR/littlefs.bin", lambda *_, **__: shutil.copytree("web", "data") and None)
"""
REPLACE = """\
import shutil
Import("env")
image = env.subst("$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin")
env.AddPostAction(image, lambda *_, **__: shutil.copy("other.bin", image) and None)
"""
REPLACE_LATE = """\
import shutil
Import("env")
env.AddPreAction("uploadfs", lambda *_, **__: shutil.copy("other.bin", env.subst("$BUILD_DIR/littlefs.bin")) and None)
"""


def littlefs(files: dict[str, bytes], *, version: int = 0x20000, name_max: int = 32, blocks: int = 125) -> bytes:
    filesystem = LittleFS(block_size=BLOCK, block_count=blocks, name_max=name_max, disk_version=version)
    for name, content in files.items():
        with filesystem.open(name, "wb") as file:
            file.write(content)
    return bytes(filesystem.context.buffer)


def with_script(made: Project, script: str, *lines: str, first: bool = False, hooks: tuple[str, ...] = ()) -> None:
    """Attach `script` after pack_certs and `hooks`, or before them."""
    made.write("own.py", script)
    attached = opt_in("pack_certs", *hooks)
    attached.insert(1 if first else len(attached), "  own.py")
    made.configure([*attached, *(lines or [LITTLEFS])])


def packed(made: Project) -> bytes:
    return (made.path / "data" / "certs.ar").read_bytes()


@pytest.fixture
def made(project: MakeProject) -> Project:
    made = project()
    made.write("certs/ca.pem", ca_certificate())
    for name, content in WEB.items():
        made.write(name, content)
    return made


@pytest.mark.parametrize("first", [True, False])
def test_a_script_that_refills_the_data_directory(made: Project, flash: Path, first: bool) -> None:
    """The fault: SUCCESS, and no certificates on the device; whichever of the two scripts is listed first."""
    with_script(made, REFILL, first=first, hooks=("ship",))
    image, port = made.build("littlefs.bin"), ("--upload-port", str(flash))
    for arguments in (("-t", "buildfs"), ("-t", "buildfs"), ("-t", "uploadfs", *port), ("-t", "uploadall", *port)):
        flash.unlink(missing_ok=True)
        made.run(*arguments)
        assert read_file(image.read_bytes(), "/certs.ar") == packed(made)
        assert read_file(image.read_bytes(), "/index.html") == b"<p>hello"
        if flash.exists():
            assert read_file(flash.read_bytes()[FS_START : FS_START + FS_SIZE], "/certs.ar") == packed(made)
    assert "certificates have changed" not in made.run("-t", "upload", *port).stdout


@pytest.mark.parametrize("first", [True, False])
def test_a_data_directory_that_appears_only_while_the_image_is_made(made: Project, first: bool) -> None:
    with_script(made, MAKE_DATA, first=first)
    made.run("-t", "buildfs")
    assert read_file(made.build("littlefs.bin").read_bytes(), "/certs.ar") == packed(made)


def test_another_data_directory_or_image_name_set_too_late(made: Project) -> None:
    """The directory is the one that the image is made of; an image of another name is not made at all."""
    with_script(made, 'Import("env")\nenv.Replace(PROJECT_DATA_DIR="elsewhere")\n', first=True)
    made.run("-t", "buildfs")
    assert read_file(made.build("littlefs.bin").read_bytes(), "/certs.ar") == packed(made)
    with_script(made, 'Import("env")\nenv.Replace(ESP8266_FS_IMAGE_NAME="web")\n', first=True)
    refused = made.run("-t", "buildfs", check=False)
    assert "this run is about 'littlefs.bin', and by what ESP8266_FS_IMAGE_NAME is now it would be 'web.bin'" in (
        refused.stderr
    )
    assert "list that script with pre:" in refused.stderr


def refused_before_shipping(made: Project, flash: Path, *targets: str) -> Run:
    run = made.run(*targets, "--upload-port", str(flash), check=False)
    assert "otaseal: hint: " in run.stderr
    assert "Traceback" not in run.output
    assert "Remembering" not in run.output
    assert not flash.exists()
    assert not made.build("littlefs.bin").exists()
    return run


def test_an_image_without_the_certificates_is_not_shipped_and_not_kept(made: Project, flash: Path) -> None:
    with_script(made, REPLACE, hooks=("ship",))
    archive = b"!<arch>\n"
    for content, reason in (
        (littlefs({}), "'littlefs.bin' has no 'certs.ar'"),
        (littlefs({"certs.ar": archive}), "'littlefs.bin' holds another 'certs.ar'"),
        (littlefs({"certs.ar": archive}, version=0x20001), "has disk version 2.1"),
        (littlefs({"certs.ar": archive}, name_max=255), "allows names of 255 bytes"),
        (littlefs({"certs.ar": archive}, blocks=64), "has 64 blocks of 8192 bytes, and the partition 125 of 8192"),
        (bytes(FS_SIZE), "there is no LittleFS in it that a device could mount"),
        (b"", "there is no LittleFS in it that a device could mount"),
        (bytes(FS_SIZE + 1), f"is larger than {FS_SIZE} bytes"),
    ):
        made.write("other.bin", content)
        assert reason in refused_before_shipping(made, flash, "-t", "uploadfs").stderr
    for target in ("buildfs", "uploadall"):
        refused_before_shipping(made, flash, "-t", target)


def test_an_image_swapped_in_the_last_moment_is_said_and_not_remembered(made: Project, flash: Path) -> None:
    with_script(made, REPLACE_LATE, hooks=("ship",))
    made.write("other.bin", littlefs({"certs.ar": b"!<arch>\n"}))
    run = made.run("-t", "uploadfs", "--upload-port", str(flash), check=False)
    assert "'littlefs.bin' holds another 'certs.ar'" in run.stderr
    assert "Remembering" not in run.stdout
    assert "CA certificates have changed" in made.run("-t", "upload", "--upload-port", str(flash)).stdout


def test_a_spiffs_image_is_looked_into_as_well(made: Project, flash: Path) -> None:
    made.configure([*opt_in("pack_certs", "ship"), f"upload_port = {flash}"])
    made.run("-t", "uploadfs")
    image = made.build("spiffs.bin").read_bytes()
    assert spiffs.read_file(image, "/certs.ar", PAGE, BLOCK) == packed(made)
    assert flash.read_bytes()[FS_START:].startswith(image)
    flash.unlink()
    with_script(made, REPLACE, f"upload_port = {flash}")
    made.write("other.bin", bytes(FS_SIZE))
    run = made.run("-t", "uploadfs", check=False)
    assert "there is no SPIFFS in it that a device could mount" in run.stderr
    assert not flash.exists()


def test_without_a_build_the_image_is_compared_with_the_project(made: Project, flash: Path) -> None:
    made.configure([*opt_in("pack_certs", "ship"), LITTLEFS, f"upload_port = {flash}"])
    made.run("-t", "buildfs")
    image = made.build("littlefs.bin")
    made.run("-t", "nobuild", "-t", "uploadfs")
    assert flash.read_bytes()[FS_START:].startswith(image.read_bytes())
    flash.unlink()
    made.write("certs/another.pem", ca_certificate())
    refused = made.run("-t", "nobuild", "-t", "uploadfs", check=False)
    assert "'littlefs.bin' holds another 'certs.ar'" in refused.stderr
    assert not flash.exists()
    assert image.exists()


def test_over_the_air_the_image_is_looked_into_and_remembered(made: Project) -> None:
    with FakeOtaDevice() as device:
        lines = [LITTLEFS, "upload_port = 127.0.0.1", f"upload_flags = --port={device.port}"]
        made.configure([*opt_in("pack_certs", "ship"), *lines])
        made.run("-t", "uploadfsota")
        assert read_file(device.uploads[0].content, "/certs.ar") == packed(made)
        assert (made.path / ".pio" / "otaseal" / "shipped.json").exists()
        with_script(made, REPLACE, *lines)
        made.write("other.bin", littlefs({}))
        with pytest.raises(PioError, match=r"has no 'certs\.ar'"):
            made.run("-t", "uploadfsota")
        assert len(device.uploads) == 1
