"""The hook sign_firmware on the real PlatformIO: what is signed, when it is signed again, what never stays behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.image import gzip_payload, signed_image
from otaseal.keys.public import public_pem
from support import openssl
from support.hooks import ALL_HOOKS, opt_in, write_key
from support.peers import tool
from support.pio import BLINK, FakeOtaDevice, Project, install_tool

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
OTHER_BLINK = BLINK.replace("500", "250")


def test_signs_again_when_and_only_when_needed(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    key_line = write_key(tmp_path / "keys" / "signing.key", rsa_key)
    made = project(*opt_in("sign_firmware"), key_line, name="a project with spaces")
    firmware, signed = made.build("firmware.bin"), made.build("firmware.bin.signed")

    first = made.run()
    assert "Signing" in first.stdout
    assert "and verified" in first.stdout
    assert signed.read_bytes().startswith(firmware.read_bytes())
    assert openssl.accepts(signed.read_bytes(), public_pem(rsa_key.public_key()), tmp_path / "openssl")

    before = signed.stat().st_mtime_ns
    second = made.run()
    assert "otaseal" not in second.stdout.replace(str(made.platform), "").replace("otaseal's", "")
    assert "Signing" not in second.stdout
    assert signed.stat().st_mtime_ns == before

    signed.unlink()
    made.run()
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == firmware.read_bytes()

    for name in ("signing.key", "signing.pub"):
        (tmp_path / "keys" / name).unlink()
    write_key(tmp_path / "keys" / "signing.key", other_rsa_key)
    made.run()
    assert signed_image.verify(signed.read_bytes(), other_rsa_key.public_key()) == firmware.read_bytes()

    old = firmware.read_bytes()
    made.write("src/main.cpp", OTHER_BLINK)
    made.run()
    assert firmware.read_bytes() != old
    assert signed_image.verify(signed.read_bytes(), other_rsa_key.public_key()) == firmware.read_bytes()

    made.write("src/main.cpp", "this does not compile")
    made.run(check=False)
    assert signed_image.verify(signed.read_bytes(), other_rsa_key.public_key()) == firmware.read_bytes()


def test_failure_leaves_no_signed_image_and_says_what_to_do(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    path = tmp_path / "signing.key"
    made = project(*opt_in("sign_firmware"), write_key(path, rsa_key))
    signed = made.build("firmware.bin.signed")
    made.run()
    assert signed.exists()
    pem = path.read_bytes()

    def fails_with(message: str, **environment: str) -> None:
        run = made.run(check=False, env=environment)
        assert message in run.stderr
        assert "otaseal: hint: " in run.stderr
        assert "Traceback" not in run.output
        assert not signed.exists()
        assert pem.decode().splitlines()[1] not in run.output

    path.chmod(0o644)
    path.write_bytes(pem + b"\n")
    fails_with(f"signing key '{path}' is readable by others (mode 0644)")
    path.unlink()
    fails_with(f"signing key '{path}' does not exist")
    fails_with("signing key 'gopher:hole' has no known scheme", OTASEAL_SIGNING_KEY="gopher:hole")
    fails_with("environment variable 'CI_KEY' holds no signing key", OTASEAL_SIGNING_KEY="env:CI_KEY")
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fails_with("devices verify RSA only", OTASEAL_SIGNING_KEY="env:CI_KEY", CI_KEY=elliptic.decode())

    made.run(env={"OTASEAL_SIGNING_KEY": "env:CI_KEY", "CI_KEY": pem.decode().replace("\n", "\\n")})
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == made.build("firmware.bin").read_bytes()

    inside = made.write("data/signing.key", pem)
    inside.chmod(0o600)
    fails_with("which is copied onto every device", OTASEAL_SIGNING_KEY="file:data/signing.key")


def test_encrypted_key_from_variable_and_file(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key, b"correct horse")
    made = project(*opt_in("sign_firmware"), line)
    signed = made.build("firmware.bin.signed")

    wrong = made.run(check=False, env={"OTASEAL_PASSPHRASE": "battery staple"})
    assert "cannot be unlocked" in wrong.stderr
    assert "staple" not in wrong.output
    assert not signed.exists()

    (tmp_path / "passphrase").write_text("correct horse\n")
    made.run(env={"OTASEAL_PASSPHRASE_FILE": str(tmp_path / "passphrase")})
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key())
    signed.unlink()
    made.run(env={"OTASEAL_PASSPHRASE": "correct horse"})
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key())


def test_uploads_raw_over_serial_and_signed_over_the_air(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("sign_firmware"), line, f"upload_port = {flash}")
    firmware, signed = made.build("firmware.bin"), made.build("firmware.bin.signed")

    made.run("-t", "upload")
    assert signed.exists()
    raw = firmware.read_bytes()
    assert flash.read_bytes()[: len(raw) + 4] == raw + b"\xff" * 4

    with FakeOtaDevice() as device:
        made.configure(
            [*opt_in("sign_firmware"), line, "upload_port = 127.0.0.1", f"upload_flags = --port={device.port}"]
        )
        made.run("-t", "upload")
        made.write("src/main.cpp", OTHER_BLINK)
        made.run("-t", "upload")
        sent = [signed_image.verify(upload.content, rsa_key.public_key()) for upload in device.uploads]
        assert sent == [raw, firmware.read_bytes()]
        assert sent[0] != sent[1]

        made.run("-t", "nobuild", "-t", "upload")
        assert device.uploads[2].content == signed.read_bytes()
        firmware.write_bytes(raw)
        refused = made.run("-t", "nobuild", "-t", "upload", check=False)
        assert "'firmware.bin.signed' is not the signed form of 'firmware.bin'" in refused.stderr
        assert len(device.uploads) == 3


def test_program_name_environments_and_build_cache(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    other_environment = ["[env:second]", "extends = env:nodemcuv2", "board_build.flash_mode = dout"]
    made = project(*opt_in("sign_firmware"), "  pre:name.py", line, *other_environment)
    made.write("name.py", 'Import("env")\nenv.Replace(PROGNAME="blink_v1")\n')
    made.write("platformio.ini", f"[platformio]\nbuild_cache_dir = cache\n{(made.path / 'platformio.ini').read_text()}")
    made.run()
    for environment in ("nodemcuv2", "second"):
        signed = made.build("blink_v1.bin.signed", environment)
        raw = made.build("blink_v1.bin", environment).read_bytes()
        assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == raw
        signed.unlink()
    assert made.build("blink_v1.bin").read_bytes()[2] != made.build("blink_v1.bin", "second").read_bytes()[2]

    made.run("-t", "clean")
    assert not made.build("blink_v1.bin").exists()
    made.run("-e", "nodemcuv2")
    signed, raw = made.build("blink_v1.bin.signed"), made.build("blink_v1.bin")
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == raw.read_bytes()


def test_gzip_firmware_is_padded_and_serial_gets_the_original(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("sign_firmware"), line, "board_build.gzip_fw = yes", f"upload_port = {flash}")
    made.run("-t", "upload")
    payload = signed_image.verify(made.build("firmware.bin.signed").read_bytes(), rsa_key.public_key())
    original = made.build("firmware.bin.orig").read_bytes()
    assert made.build("firmware.bin").read_bytes()[:2] == b"\x1f\x8b"
    assert len(payload) % 4 == 0
    assert gzip_payload.parse(payload).content == original
    assert flash.read_bytes().startswith(original)


@pytest.mark.parametrize("target", ["size", "compiledb", "idedata", "buildfs", "envdump"])
def test_other_targets_sign_nothing(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, target: str
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("sign_firmware"), line, "board_build.filesystem = littlefs", data={"hello.txt": b"hello"})
    run = made.run("-t", target)
    assert "Signing" not in run.output
    assert not made.build("firmware.bin.signed").exists()


def test_wrong_options_stop_a_build_and_nothing_else(project: MakeProject, rsa_key: rsa.RSAPrivateKey) -> None:
    made = project(*opt_in("sign_firmware"), "custom_otaseal_signing_kye = file:x")
    run = made.run(check=False)
    assert "otaseal: error: unknown option 'custom_otaseal_signing_kye'" in run.stderr
    assert "otaseal: hint: did you mean 'custom_otaseal_signing_key'?" in run.stderr
    made.configure([*opt_in("sign_firmware")])
    assert "custom_otaseal_signing_key is not set" in made.run(check=False).stderr
    assert "upload" in made.run("--list-targets").stdout
    made.run("-t", "idedata")
    made.run("-t", "clean")


def test_without_cryptography_the_build_says_how_to_install_it(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = project(*opt_in("sign_firmware"), write_key(tmp_path / "signing.key", rsa_key))
    made.write("../hidden/cryptography.py", "raise ModuleNotFoundError('no', name='cryptography')\n")
    run = made.run(check=False, env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert "otaseal: error: the Python that runs PlatformIO lacks the package 'cryptography'" in run.stderr
    assert f'"{made.python}" -m pip install cryptography' in run.stderr
    assert "Traceback" not in run.output
    assert not made.build("firmware.bin.signed").exists()


def test_pio_test_works_and_no_stale_image_is_left(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("verify_updates", "sign_firmware"), line, "test_framework = custom", "test_build_src = yes")
    made.write("test/test_custom_runner.py", CUSTOM_RUNNER)
    made.write("test/test_nothing.cpp", "")
    made.pio("test", "--without-uploading", "--without-testing")
    signed = made.build("firmware.bin.signed")
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == made.build("firmware.bin").read_bytes()


def test_pio_check_works_and_signs_nothing(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, pio_core: Path
) -> None:
    """PlatformIO runs its own package of cppcheck; Debian's stands in for it."""
    install_tool(pio_core, "tool-cppcheck").joinpath("cppcheck").symlink_to(tool("cppcheck", "cppcheck"))
    made = project(*opt_in(*ALL_HOOKS), write_key(tmp_path / "signing.key", rsa_key))
    made.write("src/main.cpp", OTHER_BLINK + "int past() { int a[1]; return a[2]; }\n")
    run = made.pio("check", "--skip-packages")
    assert "arrayIndexOutOfBounds" in run.stdout
    assert "otaseal:" not in run.output
    assert not made.build("firmware.bin.signed").exists()


CUSTOM_RUNNER = """\
from platformio.test.runners.base import TestRunnerBase


class CustomTestRunner(TestRunnerBase):
    pass
"""
