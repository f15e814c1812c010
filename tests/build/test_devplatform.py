"""The development platform behaves as the real one: what the other tests conclude from it stands on this."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from support.pio import BLINK, PLATFORM, PioError, Project
from support.platform_probe import CERTS, blink, probed, tool

__all__ = ["blink"]

pytestmark = [pytest.mark.build, pytest.mark.proof]


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
SIGNING_HEADER = """\
#define ARDUINO_SIGNING 1
static const char signing_pubkey[] PROGMEM = "%s";
"""


TEST_RUNNER = """\
from platformio.test.runners.base import TestRunnerBase


class CustomTestRunner(TestRunnerBase):
    pass
"""


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
