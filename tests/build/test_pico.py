"""The hooks on the platform for the Raspberry Pi Pico, with the real PlatformIO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import ar
from otaseal.image import manifest, signed_image
from otaseal.keys.public import public_pem
from support import filesystem
from support.hooks import ALL_HOOKS, PICO_UPDATING, SELF_UPDATING, ca_certificate, deploys_to, opt_in, write_key
from support.pio import PICO_PLATFORM, FakeOtaDevice, Project, compiled
from support.servers import Running, get, talk

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
BOARD = "rpipicow"
FS_START, FS_END = 0x17F000, 0x1FF000  # of a Pico W with half a megabyte
CUSTOM = ("upload_protocol = custom", "upload_command = cp $SOURCE $PROJECT_DIR/sent.bin")


@pytest.mark.parametrize("board", [BOARD, "rpipico2w"])
def test_a_build_is_signed_and_carries_the_key(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, board: str
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    product = ("custom_otaseal_product = lamp", "custom_otaseal_version = 1.2.0")
    made = pico_project(*opt_in(*ALL_HOOKS), key, *product, name="with spaces", board=board)
    run = made.run()
    firmware = made.build("firmware.bin", board).read_bytes()
    assert "takes only updates signed with SHA256:" in run.stdout
    assert "a filesystem that is sent to it over the air is verified by nothing" in run.stdout
    assert public_pem(rsa_key.public_key()) + b"\0" in firmware
    signed = made.build("firmware.bin.signed", board)
    payload = signed_image.verify(signed.read_bytes(), rsa_key.public_key())
    said = manifest.find(payload)
    assert said is not None
    assert said.is_for("lamp", board)
    assert payload == firmware + manifest.serialise(said)
    assert '"lamp"' in (made.build("otaseal", board) / "OtaSealBuild.h").read_text()
    uf2 = made.build("firmware.uf2", board)
    before = uf2.read_bytes(), signed.stat().st_mtime_ns

    again = made.run()
    assert not compiled(again.stdout)
    assert "otaseal:" not in again.output
    assert "firmware.bin.signed" not in again.stdout
    assert (uf2.read_bytes(), signed.stat().st_mtime_ns) == before
    signed.unlink()
    made.run()
    assert signed.exists()


def test_a_new_key_recompiles_the_two_files_that_hold_it(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    made = pico_project(
        *opt_in("verify_updates", "sign_firmware"),
        write_key(tmp_path / "signing.key", rsa_key),
        "custom_otaseal_compress = no",
    )
    made.run()
    for name in ("signing.key", "signing.pub"):
        (tmp_path / name).unlink()
    write_key(tmp_path / "signing.key", other_rsa_key)
    assert compiled(made.run().stdout) == {"Updater.cpp", "BearSSLHelpers.cpp"}
    firmware = made.build("firmware.bin", BOARD).read_bytes()
    assert public_pem(other_rsa_key.public_key()) in firmware
    assert public_pem(rsa_key.public_key()) not in firmware


@pytest.mark.parametrize("hook", ["verify_updates", "sign_firmware"])
def test_a_private_key_among_the_sources_is_refused(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, hook: str
) -> None:
    """With it the platform's own builder would sign: the last one to write the file would have it."""
    made = pico_project(*opt_in(hook), write_key(tmp_path / "signing.key", rsa_key))
    made.write("src/private.key", b"whatever it holds")
    run = made.run(check=False)
    path = made.path / "src" / "private.key"
    assert f"otaseal: error: a private key lies among the sources: '{path}'" in run.stderr
    assert "otaseal: hint: move it out of the project" in run.stderr
    assert not made.build("firmware.bin", BOARD).exists()
    path.unlink()
    made.run()


def test_a_public_key_among_the_sources_is_refused_where_ours_is_compiled_in(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = pico_project(*opt_in("verify_updates", "sign_firmware"), key)
    made.write("src/public.key", public_pem(other_rsa_key.public_key()))
    run = made.run(check=False)
    assert "the platform's own builder compiles in the public key" in run.stderr
    assert "otaseal: hint: remove it" in run.stderr
    made.configure(["board_build.filesystem_size = 0.5m", *opt_in("sign_firmware"), key], board=BOARD)
    made.run()


def test_certificates_are_in_the_image_byte_for_byte(pico_project: MakeProject, tmp_path: Path) -> None:
    made = pico_project(*opt_in("pack_certs", "ship"), data={"page.html": b"hello"})
    made.write("certs/ca.pem", ca_certificate())
    environment = {"PICO_FLASH": str(tmp_path / "flash.bin")}
    assert "bytes, for a filesystem of 524288" in made.run("-t", "uploadfs", env=environment).stdout
    packed = (made.path / "data" / "certs.ar").read_bytes()
    assert len(ar.device_view(packed).indexed) == 1
    image = made.build("littlefs.bin", BOARD).read_bytes()
    assert filesystem.read_file(image, "certs.ar", 4096) == packed
    assert filesystem.read_file((tmp_path / "flash.bin").read_bytes()[FS_START:FS_END], "certs.ar", 4096) == packed

    made.write(
        "late.py",
        'Import("env")\n'
        "def spoil(target, source, env):\n"
        '    with open(str(target[0]), "r+b") as file:\n'
        "        file.write(bytes(8192))\n"
        'env.AddPostAction("$BUILD_DIR/littlefs.bin", spoil)\n',
    )
    made.configure(["board_build.filesystem_size = 0.5m", *opt_in("pack_certs"), "  post:late.py"], board=BOARD)
    assert "otaseal: error: no device could use 'littlefs.bin'" in made.run("-t", "buildfs", check=False).stderr
    assert not made.build("littlefs.bin", BOARD).exists()


def test_uploadall_writes_both_while_the_chip_listens(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = pico_project(*opt_in(*ALL_HOOKS), write_key(tmp_path / "signing.key", rsa_key), name="with spaces")
    made.write("certs/ca.pem", ca_certificate())
    flash = tmp_path / "flash.bin"
    environment = {"PICO_FLASH": str(flash)}
    run = made.run("-t", "uploadall", env=environment)
    content = flash.read_bytes()
    assert content.startswith(made.build("firmware.bin", BOARD).read_bytes())
    assert content[FS_START:FS_END] == made.build("littlefs.bin", BOARD).read_bytes()
    assert run.stdout.count("rebooted into application mode") == 1
    assert made.build("firmware.bin.signed", BOARD).exists()
    flash.with_name("flash.bin.running").unlink()
    assert "certificates have changed" not in made.run("-t", "upload", env=environment).stdout
    flash.with_name("flash.bin.running").unlink()
    made.run("-t", "nobuild", "-t", "upload", env=environment)
    refused = made.run("-t", "upload", "-t", "uploadfs", env=environment, check=False)
    assert "pio run -t uploadall" in refused.stderr


def test_over_the_air_goes_what_is_signed_and_no_filesystem(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key, size = write_key(tmp_path / "signing.key", rsa_key), "board_build.filesystem_size = 0.5m"
    hooks = opt_in(*ALL_HOOKS)
    with FakeOtaDevice() as device:
        # What upload_flags says stands before the platform's own -p 2040.
        made = pico_project(*hooks, "  post:port.py", key, "upload_protocol = espota", "upload_port = 127.0.0.1")
        made.write("port.py", f'Import("env")\nenv.Append(UPLOADERFLAGS=["-p", "{device.port}"])\n')
        made.write("certs/ca.pem", ca_certificate())
        made.run("-t", "upload")
        signed = made.build("firmware.bin.signed", BOARD).read_bytes()
        assert [upload.content for upload in device.uploads] == [signed]
        refused = made.run("-t", "uploadfs", check=False)
        assert "a filesystem upload over the air is verified by nothing on this core" in refused.stderr
        refused = made.run("-t", "uploadall", check=False)
        assert "the upload protocol is 'espota'" in refused.stderr
        assert "use upload_protocol = picotool, or with a debug probe" in refused.stderr
        assert "serial port" not in refused.stderr
        assert len(device.uploads) == 1
    made.configure([size, *hooks, key, *CUSTOM], board=BOARD)
    made.run("-t", "upload")
    assert (made.path / "sent.bin").read_bytes() == signed
    made.configure([size, *opt_in("pack_certs"), "upload_protocol = mbed", f"upload_port = {tmp_path}"], board=BOARD)
    refused = made.run("-t", "uploadfs", check=False)
    assert "'uploadfs' copies the firmware's .uf2, and no filesystem" in refused.stderr


def test_an_update_is_rehearsed_and_published(
    pico_project: MakeProject, tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = pico_project(
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        "custom_otaseal_version = 1.0.0",
        *deploys_to(server, tmp_path),
    )
    made.write("certs/ca.pem", server.world.ca.read_text())
    assert "otaseal: the rehearsal went well" in made.run("-t", "rehearse").stdout
    assert "channel 'stable': nothing -> 1.0.0" in made.run("-t", "deploy").stdout
    content = talk(server.world.context(), server.port, get("/firmware.bin.signed")).body
    assert content == made.build("firmware.bin.signed", BOARD).read_bytes()


def test_environments_of_two_chips_in_one_project(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    sketch = f"#ifdef ESP8266\n{SELF_UPDATING}#else\n{PICO_UPDATING}#endif\n"
    made = project(
        "board_build.filesystem = littlefs",
        "[env]",
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        "custom_otaseal_product = lamp",
        "custom_otaseal_version = 1.0.0",
        f"[env:{BOARD}]",
        f"platform = symlink://{PICO_PLATFORM}",
        f"board = {BOARD}",
        "framework = arduino",
        "board_build.filesystem_size = 0.5m",
        sources={"main.cpp": sketch},
    )
    made.write("certs/ca.pem", ca_certificate())
    made.run()
    for board in ("nodemcuv2", BOARD):
        payload = signed_image.verify(made.build("firmware.bin.signed", board).read_bytes(), rsa_key.public_key())
        said = manifest.find(payload)
        assert said is not None
        assert said.is_for("lamp", board)
    assert "Signing" not in made.run().stdout
    made.run("-t", "buildfs")
    packed = (made.path / "data" / "certs.ar").read_bytes()
    assert filesystem.read_file(made.build("littlefs.bin", BOARD).read_bytes(), "certs.ar", 4096) == packed


def test_what_nothing_is_made_for_is_said(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = pico_project(*opt_in("sign_firmware"), key, "board_build.core = arduino")
    run = made.run(check=False)
    assert f"otaseal: error: board '{BOARD}' is built with the core 'arduino'" in run.stderr
    assert "otaseal: hint: set board_build.core = earlephilhower" in run.stderr
    made.configure([*opt_in("sign_firmware"), key, "board_build.core = earlephilhower"], board=BOARD)
    run = made.run(check=False)
    assert "the firmware has no filesystem" in run.stderr
    assert "otaseal: hint: set board_build.filesystem_size" in run.stderr
    assert not made.build("firmware.bin.signed", BOARD).exists()


def test_a_chip_of_no_family_is_refused(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    made = project(*opt_in("sign_firmware"), write_key(tmp_path / "key", rsa_key), "board_build.mcu = stm32f4")
    run = made.run(check=False)
    assert "otaseal: error: board 'nodemcuv2' has the chip 'stm32f4', for which otaseal makes nothing" in run.stderr
    assert "otaseal: hint: attach otaseal's scripts in environments for these only: esp8266, rp2040" in run.stderr


def test_an_update_that_has_no_room_in_the_filesystem_is_said(
    pico_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = pico_project(*opt_in("sign_firmware"), key)
    assert "no room" not in made.run().stderr
    made.write("data/page.html", bytes(490_000))
    made.write("src/main.cpp", PICO_UPDATING.replace("/firmware", "/another"))
    run = made.run()
    assert "devices that run this firmware have no room for an update of " in run.stderr
    assert "of a filesystem of 524288; choose a larger board_build.filesystem_size" in run.stderr
