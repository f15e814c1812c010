"""The hooks on the ESP32, under both builders that people have, with the real PlatformIO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import ar
from otaseal.chips import images
from otaseal.image import fat, manifest, signed_image
from otaseal.keys.public import public_pem
from support import filesystem
from support.hooks import (
    ALL_HOOKS,
    ESP32_LIBRARY,
    ESP32_SKETCH,
    PICO_UPDATING,
    SELF_UPDATING,
    ca_certificate,
    deploys_to,
    opt_in,
    write_key,
)
from support.pio import BLINK, ESP32_PLATFORM, PICO_PLATFORM, FakeOtaDevice, Project, core_dir
from support.servers import Running, get, talk

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
BOARD = "esp32dev"
PRODUCT = ("custom_otaseal_product = lamp", "custom_otaseal_version = 1.2.0")
BUILDERS = {"official": (), "pioarduino": ("board_build.builder = pioarduino",)}
FS_START, FS_SIZE = 0x290000, 0x160000
both = pytest.mark.parametrize("builder", BUILDERS)


@pytest.mark.parametrize(("builder", "board"), [("official", BOARD), ("pioarduino", "esp32-c3-devkitm-1")])
def test_a_build_is_signed_and_carries_the_key(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, builder: str, board: str
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = esp32_project(*opt_in(*ALL_HOOKS), key, *PRODUCT, *BUILDERS[builder], name="with spaces", board=board)
    run = made.run("-v")
    firmware = made.build("firmware.bin", board).read_bytes()
    assert images.parse(firmware).faults() == ()
    assert "with the OtaSeal library this firmware takes only updates signed with SHA256:" in run.stdout
    assert "otaseal: in this firmware the OtaSeal library alone writes updates, and verifies them" in run.stdout
    assert public_pem(rsa_key.public_key()) in firmware
    signed = made.build("firmware.bin.signed", board)
    payload = signed_image.verify(signed.read_bytes(), rsa_key.public_key())
    said = manifest.find(payload)
    assert said is not None
    assert said.is_for("lamp", board)
    assert payload == firmware + manifest.serialise(said)
    assert not made.build("otaseal/Updater_Signing.h", board).exists()
    before = signed.stat().st_mtime_ns

    again = made.run()
    assert "Compiling" not in again.stdout
    assert "otaseal:" not in again.output
    assert signed.stat().st_mtime_ns == before


def test_a_new_key_and_a_next_one_are_compiled_in(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    write_key(tmp_path / "next.key", other_rsa_key)
    lines = (*opt_in("verify_updates", "sign_firmware"), write_key(tmp_path / "signing.key", rsa_key), *PRODUCT)
    made = esp32_project(*lines)
    made.run()
    following = f"custom_otaseal_next_public_key = {tmp_path / 'next.pub'}"
    made.configure(["board_build.filesystem = littlefs", *lines, following], board=BOARD)
    run = made.run()
    assert "takes only updates signed with SHA256:" in run.stdout
    assert ", and those signed with SHA256:" in run.stdout
    firmware = made.build("firmware.bin", BOARD).read_bytes()
    assert all(public_pem(key.public_key()) in firmware for key in (rsa_key, other_rsa_key))


@both
def test_certificates_are_in_littlefs_byte_for_byte(
    esp32_project: MakeProject, tmp_path: Path, flash: Path, builder: str
) -> None:
    made = esp32_project(*opt_in("pack_certs", "ship"), *BUILDERS[builder], data={"page.html": b"hello"})
    made.write("certs/ca.pem", ca_certificate())
    run = made.run("-t", "uploadfs", "--upload-port", str(flash))
    assert f"bytes, for a filesystem of {FS_SIZE}" in run.stdout
    packed = (made.path / "data" / "certs.ar").read_bytes()
    assert len(ar.device_view(packed).indexed) == 1
    image = made.build("littlefs.bin", BOARD).read_bytes()
    assert filesystem.read_file(image, "certs.ar", 4096) == packed
    assert flash.read_bytes()[FS_START : FS_START + FS_SIZE] == image


def test_certificates_are_in_a_partition_of_the_projects_own(esp32_project: MakeProject) -> None:
    made = esp32_project(*opt_in("pack_certs"), "board_build.partitions = mine.csv")
    made.write(
        "mine.csv",
        "# Name, Type, SubType, Offset, Size\n"
        "nvs, data, nvs, , 20K\notadata, data, ota, , 8K\napp0, app, ota_0, , 1M\napp1, app, ota_1, , 1M\n"
        "web, data, spiffs, , 512K\n",
    )
    made.write("certs/ca.pem", ca_certificate())
    assert "bytes, for a filesystem of 524288" in made.run("-t", "buildfs").stdout
    assert len(made.build("littlefs.bin", BOARD).read_bytes()) == 524288


def test_certificates_are_in_spiffs(esp32_project: MakeProject) -> None:
    made = esp32_project()
    lines = [*opt_in("pack_certs"), "board_build.filesystem = spiffs"]
    made.configure(lines, board=BOARD)
    made.write("certs/ca.pem", ca_certificate())
    made.write("data/filler.bin", bytes(range(256)) * 300)
    made.run("-t", "buildfs")
    image = made.build("spiffs.bin", BOARD)
    assert (made.path / "data" / "certs.ar").read_bytes()[:60] in image.read_bytes()
    late = 'Import("env")\nenv.AddPostAction("$BUILD_DIR/spiffs.bin", "truncate -s 0 $TARGET")\n'
    made.write("late.py", late)
    made.configure([*lines[:-1], "  post:late.py", lines[-1]], board=BOARD)
    assert "otaseal: error: no device could use 'spiffs.bin'" in made.run("-t", "buildfs", check=False).stderr
    assert not image.exists()


@both
def test_the_default_filesystem_is_the_builders(esp32_project: MakeProject, builder: str) -> None:
    made = esp32_project()
    made.configure([*opt_in("pack_certs"), *BUILDERS[builder]], board=BOARD)
    made.write("certs/ca.pem", ca_certificate())
    made.run("-t", "buildfs")
    assert made.build("spiffs.bin" if builder == "official" else "littlefs.bin", BOARD).exists()


def test_what_no_certificates_go_into_is_said(esp32_project: MakeProject) -> None:
    made = esp32_project()
    made.configure([*opt_in("pack_certs"), "board_build.filesystem = jffs2"], board=BOARD)
    made.write("certs/ca.pem", ca_certificate())
    run = made.run("-t", "buildfs", check=False)
    assert "otaseal: error: there is no filesystem to put certificates into: 1441792 bytes of 'jffs2'" in run.stderr
    assert "otaseal: hint: set board_build.filesystem = littlefs\n" in run.stderr


@both
def test_certificates_are_in_fat(esp32_project: MakeProject, builder: str) -> None:
    made = esp32_project()
    hooks, lines = opt_in("pack_certs"), ["board_build.filesystem = fatfs", *BUILDERS[builder]]
    made.configure([*hooks, *lines], board=BOARD)
    made.write("certs/ca.pem", ca_certificate())
    made.write("data/filler.bin", bytes(range(256)) * 300)
    made.run("-t", "buildfs")
    image = made.build("fatfs.bin", BOARD)
    packed = (made.path / "data" / "certs.ar").read_bytes()
    assert fat.read_file(image.read_bytes(), "certs.ar") == packed
    late = 'Import("env")\nenv.AddPostAction("$BUILD_DIR/fatfs.bin", "truncate -s 0 $TARGET")\n'
    made.write("late.py", late)
    made.configure([*hooks, "  post:late.py", *lines], board=BOARD)
    assert "otaseal: error: no device could use 'fatfs.bin'" in made.run("-t", "buildfs", check=False).stderr
    assert not image.exists()


@both
def test_uploadall_writes_every_part_in_one_pass(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, flash: Path, builder: str
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = esp32_project(*opt_in(*ALL_HOOKS), key, *PRODUCT, *BUILDERS[builder], name="with spaces")
    made.write("certs/ca.pem", ca_certificate())
    run = made.run("-t", "uploadall", "--upload-port", str(flash))
    assert run.stdout.count("Hard resetting") == 1
    content = flash.read_bytes()
    places = {
        "bootloader": 0x1000,
        "partitions": 0x8000,
        "boot_app0": 0xE000,
        "firmware": 0x10000,
        "littlefs": FS_START,
    }
    for name, place in places.items():
        part = made.build(f"{name}.bin", BOARD).read_bytes()
        assert content[place : place + len(part)] == part, name
    assert made.build("firmware.bin.signed", BOARD).exists()
    assert "certificates have changed" not in made.run("-t", "upload", "--upload-port", str(flash)).stdout


def test_an_erased_flash_has_no_certificates(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, flash: Path
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = esp32_project(*opt_in(*ALL_HOOKS), key, *PRODUCT, *BUILDERS["pioarduino"])
    made.write("certs/ca.pem", ca_certificate())
    port = ("--upload-port", str(flash))
    made.run("-t", "uploadall", *port)
    assert "certificates have changed since they were last shipped" in made.run("-t", "erase_upload", *port).stdout
    assert flash.read_bytes()[FS_START : FS_START + FS_SIZE] == b"\xff" * FS_SIZE
    refused = made.run("-t", "uploadfs", "-t", "erase_upload", *port, check=False)
    assert "'-t uploadfs' and '-t erase_upload' in one run: it makes the filesystem and no firmware" in refused.stderr


def test_over_the_air_goes_no_filesystem(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    with FakeOtaDevice() as device:
        made = esp32_project(
            *opt_in(*ALL_HOOKS),
            key,
            *PRODUCT,
            "upload_protocol = espota",
            "upload_port = 127.0.0.1",
            f"upload_flags = --port={device.port}",
        )
        made.write("certs/ca.pem", ca_certificate())
        refused = made.run("-t", "uploadfs", check=False)
        assert "a filesystem upload over the air is verified by nothing on this core" in refused.stderr
        assert "with upload_protocol = esptool" in refused.stderr
        assert not device.uploads


@both
def test_an_update_is_rehearsed_and_published(
    esp32_project: MakeProject, tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey, builder: str
) -> None:
    made = esp32_project(
        *opt_in(*ALL_HOOKS),
        *BUILDERS[builder],
        write_key(tmp_path / "signing.key", rsa_key),
        "custom_otaseal_version = 1.0.0",
        *deploys_to(server, tmp_path),
    )
    made.write("certs/ca.pem", server.world.ca.read_text())
    assert "otaseal: the rehearsal went well" in made.run("-t", "rehearse").stdout
    assert "channel 'stable': nothing -> 1.0.0" in made.run("-t", "deploy").stdout
    request = get("/firmware.bin.signed", "User-Agent: ESP32-http-Update", f"x-ESP32-free-space: {0x140000}")
    content = talk(server.world.context(), server.port, request).body
    assert content == made.build("firmware.bin.signed", BOARD).read_bytes()


def test_environments_of_three_chips_in_one_project(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    sketch = f"#if defined(ESP8266)\n{SELF_UPDATING}#elif defined(ESP32)\n{ESP32_SKETCH}#else\n{PICO_UPDATING}#endif\n"
    made = project(
        "board_build.filesystem = littlefs",
        "[env]",
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        *PRODUCT,
        "[env:rpipicow]",
        f"platform = symlink://{PICO_PLATFORM}",
        "board = rpipicow",
        "framework = arduino",
        "board_build.filesystem_size = 0.5m",
        f"[env:{BOARD}]",
        f"platform = symlink://{ESP32_PLATFORM}",
        f"board = {BOARD}",
        "framework = arduino",
        "board_build.filesystem = littlefs",
        sources={"main.cpp": sketch, **ESP32_LIBRARY},
    )
    made.write("certs/ca.pem", ca_certificate())
    made.run()
    for board in ("nodemcuv2", "rpipicow", BOARD):
        payload = signed_image.verify(made.build("firmware.bin.signed", board).read_bytes(), rsa_key.public_key())
        said = manifest.find(payload)
        assert said is not None
        assert said.is_for("lamp", board)
    assert "Signing" not in made.run().stdout
    made.run("-t", "buildfs")
    packed = (made.path / "data" / "certs.ar").read_bytes()
    assert filesystem.read_file(made.build("littlefs.bin", BOARD).read_bytes(), "certs.ar", 4096) == packed
    assert filesystem.read_file(made.build("littlefs.bin", "rpipicow").read_bytes(), "certs.ar", 4096) == packed


def test_a_package_is_installed_where_the_build_runs(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """A platform such as pioarduino changes to an interpreter of its own; where uv made it, it has no pip."""
    lines = [*opt_in("verify_updates"), "  post:without.py", *BUILDERS["pioarduino"], *PRODUCT]
    made = esp32_project(*lines, write_key(tmp_path / "signing.key", rsa_key))
    made.core = core_dir(tmp_path)
    made.write("without.py", 'import sys\nsys.modules["cryptography"] = None\n')
    python = made.core / "penv" / "bin" / "python"
    run = made.run(check=False)
    assert "otaseal: error: the Python that runs PlatformIO lacks the package 'cryptography'" in run.stderr
    assert f'otaseal: hint: install it there: "{python}" -m pip install cryptography' in run.stderr
    uv = python.with_name("uv")
    uv.write_bytes(b"")
    hint = f'otaseal: hint: install it there: "{uv}" pip install --python "{python}" cryptography'
    assert hint in made.run(check=False).stderr


def test_what_an_esp32_cannot_do_is_said_before_anything_is_built(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key, hooks = write_key(tmp_path / "signing.key", rsa_key), opt_in("verify_updates", "sign_firmware")
    made = esp32_project(*hooks, key, *PRODUCT, "custom_otaseal_compress = gzip")
    run = made.run(check=False)
    assert "otaseal: error: custom_otaseal_compress = gzip, and nothing on an ESP32 unpacks an update" in run.stderr
    assert "Compiling" not in run.stdout
    made.configure([*hooks, key], board=BOARD)
    run = made.run(check=False)
    assert "otaseal: error: custom_otaseal_product is not set, and on the ESP32 the OtaSeal library" in run.stderr
    assert "Compiling" not in run.stdout


def test_the_library_does_not_mount_the_official_platforms_default(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = esp32_project()
    key = write_key(tmp_path / "signing.key", rsa_key)
    made.configure([*opt_in("verify_updates", "sign_firmware"), key, *PRODUCT], board=BOARD)
    run = made.run(check=False)
    assert "the OtaSeal library, which mounts LittleFS, and board_build.filesystem is 'spiffs'" in run.stderr
    assert not made.build("firmware.bin.signed", BOARD).exists()
    given = "namespace fs { class FS; }\nnamespace otaseal { namespace files { void use(fs::FS &) {} } }\n"
    made.write("src/given.cpp", given)
    call = "namespace fs { class FS {}; }\nnamespace otaseal { namespace files { void use(fs::FS &); } }\nfs::FS own;\n"
    sketch = ESP32_SKETCH.replace("void setup() {}", f"{call}void setup() {{ otaseal::files::use(own); }}")
    made.write("src/main.cpp", sketch)
    made.run()
    assert made.build("firmware.bin.signed", BOARD).exists()


def test_an_update_that_has_no_slot_is_said(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [*opt_in("sign_firmware"), write_key(tmp_path / "signing.key", rsa_key)]
    made = esp32_project(*lines, sources={"main.cpp": BLINK})
    assert "no room" not in made.run().stderr
    made.configure(["board_build.filesystem = littlefs", *lines, "board_build.partitions = huge_app.csv"], board=BOARD)
    made.write("src/main.cpp", BLINK.replace("500", "250"))
    assert "their partition table has 1 of the two slots that updates need" in made.run().stderr
    made.configure(["board_build.filesystem = littlefs", *lines, "board_build.partitions = small.csv"], board=BOARD)
    made.write("small.csv", "app0, app, ota_0, 0x10000, 64K\napp1, app, ota_1, , 40K\nspiffs, data, spiffs, , 512K\n")
    made.write("src/main.cpp", BLINK.replace("500", "125"))
    assert "have no room for an update of " in (run := made.run()).stderr
    assert "their slot 'app1' has 40960" in run.stderr
