"""The development platform behaves as the real one: what the other tests conclude from it stands on this."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from littlefs import LittleFS

from support.pio import BLINK, PLATFORM, FakeOtaDevice, PioError, Project

pytestmark = pytest.mark.build

MIB = 1 << 20
FS_START, FS_SIZE, FS_BLOCK = 3 * MIB, 1024000, 8192  # eagle.flash.4m1m.ld
CERTS = b"!<arch>\n"
NETWORK = "127.0.0.1"

PROBE = """\
import os
Import("env")
if "OTA_PORT" in os.environ:
    env.Append(UPLOADERFLAGS=["--port", os.environ["OTA_PORT"]])
nodes = {"firmware": "$BUILD_DIR/${PROGNAME}.bin", "image": "$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin"}
for name, path in nodes.items():
    print("PROBE", name, env.File(env.subst(path)).has_builder())
"""
BEFORE_LIBRARIES = """\
Import("env")
env.Prepend(CPPPATH=["$PROJECT_DIR/signing"])
"""
AFTER_LIBRARIES = """\
Import("env")
env.Prepend(CPPPATH=["$PROJECT_DIR/late"])
for library in env.GetLibBuilders():
    paths = library.env.Flatten(library.env["CPPPATH"])
    for name in ("signing", "late"):
        print("PROBE", name, "$PROJECT_DIR/" + name in paths)
"""
EXTRA_IMAGES = """\
Import("env")
for name in ("ship", "ship_by_upload"):
    env.AddCustomTarget(name, env.DataToBin("$BUILD_DIR/" + name, "$PROJECT_DATA_DIR"), None, name, name)
"""
SIGNING_HEADER = """\
#define ARDUINO_SIGNING 1
static const char signing_pubkey[] PROGMEM = "%s";
"""
TEST_RUNNER = """\
from platformio.test.runners.base import TestRunnerBase


class CustomTestRunner(TestRunnerBase):
    pass
"""


@pytest.fixture(scope="module")
def blink(tmp_path_factory: pytest.TempPathFactory, pio_core: Path) -> Project:
    """Return a built blink with a data directory; its sources and its platformio.ini stay as they are."""
    made = Project(tmp_path_factory.mktemp("shared") / "blink", pio_core)
    made.write("probe.py", PROBE)
    made.create(
        ["board_build.filesystem = littlefs", "extra_scripts = post:probe.py"],
        data={"certs.ar": CERTS, "deeper/note.txt": b"kept"},
    )
    made.run()
    return made


def tool(name: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PLATFORM / "tools" / name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def probed(output: str) -> dict[str, str]:
    return dict(re.findall(r"^PROBE (\w+) (\w+)$", output, flags=re.M))


# The image, read independently of the tool that made it


def walk(image: bytes, start: int) -> tuple[int, list[tuple[int, bytes]]]:
    """Return where the image at `start` ends, its checksum verified, and its segments."""
    magic, count = image[start], image[start + 1]
    assert magic == 0xE9
    position, checksum, segments = start + 8, 0xEF, []
    for _ in range(count):
        address, length = struct.unpack_from("<II", image, position)
        data = image[position + 8 : position + 8 + length]
        assert len(data) == length
        for byte in data:
            checksum ^= byte
        segments.append((address, data))
        position += 8 + length
    end = start + ((position - start + 16) & ~15)
    assert image[end - 1] == checksum
    assert not any(image[position : end - 1])
    return end, segments


def crc(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            high = value >> 31 ^ (byte >> bit & 1)
            value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if high else 0)
    return value


def check(image: bytes, words: int) -> list[tuple[int, bytes]]:
    """Return the application's segments; checksum, length and CRC hold, the last two at `words`.

    They are filled in after checksum and CRC were made with zeros in their place, and the checksum is not made again.
    """
    blank = image[:words] + bytes(8) + image[words + 8 :]
    assert struct.unpack_from("<II", image, words) == (len(image), crc(blank))
    end, segments = walk(blank, 0x1000)
    assert end == len(image)
    assert len(image) % 16 == 0
    return segments


def test_the_image_is_in_the_chips_format(blink: Project) -> None:
    image = blink.build("firmware.bin").read_bytes()
    boot_end, _ = walk(image, 0)
    assert boot_end <= 0x1000
    assert set(image[boot_end:0x1000]) == {0xAA}
    segments = check(image, 0x1010)
    assert image[2:4] == image[0x1002:0x1004] == bytes([2, 0x40])  # dio, 4M at 40 MHz
    assert segments[0][0] == 0x40201010
    assert struct.unpack_from("<I", image, 0x1018)[0] == 0x210897EF


@pytest.mark.parametrize(
    ("release", "words", "commit_place", "commit"),
    [
        ("2.7.4", 0xFF8, 0x1010, 0x2843A5AC),
        ("3.0.2", 0x1010, 0x1018, 0xCF6FF4C4),
        ("3.1.2", 0x1010, 0x1018, 0x210897EF),
    ],
)
def test_each_core_release_has_its_own_places(
    blink: Project, tmp_path: Path, release: str, words: int, commit_place: int, commit: int
) -> None:
    out = tmp_path / "firmware.bin"
    flash = ["--flash_mode", "qio", "--flash_freq", "80", "--flash_size", "16M"]
    done = tool("elf2bin.py", "--app", blink.build("firmware.elf"), *flash, "--core", release, "--out", out)
    assert done.returncode == 0, done.stderr
    image = out.read_bytes()
    assert image[2:4] == image[0x1002:0x1004] == bytes([0, 0x9F])
    assert struct.unpack_from("<I", image, commit_place)[0] == commit
    check(image, words)


def test_what_is_no_program_makes_no_image(tmp_path: Path) -> None:
    source, out = tmp_path / "firmware.elf", tmp_path / "firmware.bin"
    source.write_bytes(b"\x7fELF")
    done = tool(
        "elf2bin.py", "--app", source, "--flash_mode", "dio", "--flash_freq", "40", "--flash_size", "4M", "--out", out
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not out.exists()


# Builds


def test_a_second_build_does_nothing_and_a_fresh_one_makes_the_same_bytes(blink: Project) -> None:
    before = blink.build("firmware.bin").read_bytes()
    second = blink.run()
    assert "Compiling" not in second.output
    assert "Creating BIN" not in second.output
    assert probed(second.output) == {"firmware": "True", "image": "False"}
    blink.build("firmware.elf").unlink()
    blink.build("firmware.bin").unlink()
    blink.run()
    assert blink.build("firmware.bin").read_bytes() == before


def test_gzip_program_name_and_custom_upload(project: Callable[..., Project]) -> None:
    made = project(
        "board_build.gzip_fw = yes",
        "extra_scripts = pre:name.py",
        "upload_protocol = custom",
        "upload_command = \"$PYTHONEXE\" -c \"import shutil; shutil.copy('$SOURCE', 'sent.bin')\"",
        name="a project, with spaces",
    )
    made.write("name.py", 'Import("env")\nenv.Replace(PROGNAME="blink-v2")\n')
    made.run("-t", "upload")
    packed = made.build("blink-v2.bin").read_bytes()
    original = made.build("blink-v2.bin.orig").read_bytes()
    assert packed[:4] == b"\x1f\x8b\x08\x08"  # a name follows the ten bytes of header
    assert packed[10:].startswith(b"blink-v2.bin\0")
    assert gzip.decompress(packed) == original
    check(original, 0x1010)
    assert (made.path / "sent.bin").read_bytes() == packed
    assert not made.build("firmware.bin").exists()


def test_another_board_with_a_build_cache(project: Callable[..., Project], flash: Path) -> None:
    board = "d1_mini_lite"
    made = project(
        "board_build.filesystem = littlefs",
        "board_build.flash_mode = qio",
        "board_build.core_release = 2.7.4",
        "[platformio]",
        "build_cache_dir = .cache",
        board=board,
        data={"certs.ar": CERTS},
    )
    made.run()
    image = made.build("firmware.bin", board).read_bytes()
    assert image[2:4] == bytes([0, 0x20])  # qio by option, 1M by the board's script
    check(image, 0xFF8)
    made.run("-t", "uploadfs", "--upload-port", str(flash))
    written = made.build("littlefs.bin", board).read_bytes()
    assert len(written) == 0x10000
    assert flash.read_bytes()[0xEB000:0xFB000] == written
    assert "Removing" in made.run("-t", "clean").output
    assert not made.build(board=board).exists()
    again = made.run()
    assert "Retrieved `" in again.output
    assert "Compiling" not in again.output
    assert made.build("firmware.bin", board).read_bytes() == image


def test_a_header_before_the_cores_own(project: Callable[..., Project]) -> None:
    """Libraries see what a `pre:` script put in the path; a new key recompiles exactly the two sources that read it."""
    made = project(
        "extra_scripts =\n  pre:before.py\n  post:after.py",
        sources={"main.cpp": BLINK.replace("#include <Arduino.h>", "#include <ESP8266WiFi.h>")},
    )
    made.write("before.py", BEFORE_LIBRARIES)
    made.write("after.py", AFTER_LIBRARIES)
    made.write("signing/Updater_Signing.h", SIGNING_HEADER % "the first key")
    first = made.run()
    assert probed(first.output) == {"signing": "True", "late": "False"}
    assert b"the first key\0" in made.build("firmware.bin").read_bytes()
    made.write("signing/Updater_Signing.h", SIGNING_HEADER % "the second key")
    changed = made.run()
    assert set(re.findall(r"Compiling \S*/(\w+\.\w+)\.o", changed.output)) == {"Updater.cpp", "BearSSLHelpers.cpp"}
    assert b"the second key\0" in made.build("firmware.bin").read_bytes()


def test_a_sketch_that_does_not_compile_makes_no_image(project: Callable[..., Project]) -> None:
    made = project(sources={"main.cpp": "#error not today\n"})
    with pytest.raises(PioError, match="not today"):
        made.run()
    assert not made.build("firmware.bin").exists()


def test_unit_tests_build(project: Callable[..., Project]) -> None:
    made = project("test_framework = custom")
    made.write("test/test_custom_runner.py", TEST_RUNNER)
    made.write("test/test_blink/main.cpp", BLINK)
    done = made.pio("test", "--without-uploading", "--without-testing", "-vvv")
    assert "test/test_blink/main.cpp.o" in done.output
    assert "src/main.cpp.o" not in done.output
    check(made.build("firmware.bin").read_bytes(), 0x1010)


def test_a_real_project_is_adopted_as_it_is(project: Callable[..., Project], tmp_path: Path, pio_core: Path) -> None:
    real = project(name="real").write("platformio.ini", "[env:x]\nplatform = espressif8266\nboard = nodemcuv2\n").parent
    adopted = Project(tmp_path / "adopted", pio_core).adopt(real, {"[env:x]": "[env:y]"})
    assert (
        adopted.path / "platformio.ini"
    ).read_text() == f"[env:y]\nplatform = symlink://{PLATFORM}\nboard = nodemcuv2\n"
    assert (adopted.path / "src/main.cpp").read_text() == BLINK
    with pytest.raises(ValueError, match="does not say"):
        Project(tmp_path / "again", pio_core).adopt(adopted.path)


# Filesystem images


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


# Uploads


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


# What an IDE asks for


def test_targets_and_variables_have_the_real_names(blink: Project) -> None:
    blink.run("-t", "idedata")
    defines = json.loads(blink.build("idedata.json").read_text())["defines"]
    assert {"ARDUINO=10805", "ESP8266", "ARDUINO_ARCH_ESP8266", "FLASHMODE_DIO"} <= set(defines)
    listed = blink.run("--list-targets").stdout
    for name in ("buildfs", "size", "upload", "uploadfs", "uploadfsota", "erase"):
        assert re.search(rf"^nodemcuv2\s+Platform\s+{name}\s", listed, flags=re.M), name
    dump = blink.run("-t", "envdump").stdout
    for name in ("UPLOADER", "UPLOADERFLAGS", "UPLOADCMD", "MKFSTOOL", "ESP8266_FS_IMAGE_NAME", "ERASECMD"):
        assert f"'{name}': " in dump, name
    assert "'PROGNAME': 'firmware'" in dump


def test_compile_commands_and_size(blink: Project) -> None:
    blink.run("-t", "compiledb")
    commands = json.loads((blink.path / "compile_commands.json").read_text())
    assert any(command["file"].endswith("src/main.cpp") for command in commands)
    assert re.search(r"^\s*text\s+data\s+bss", blink.run("-t", "size").stdout, flags=re.M)
