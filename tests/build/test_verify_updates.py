"""The hook verify_updates on the real PlatformIO: the key is in the firmware, and nothing of the core is edited."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from otaseal.image import signed_image
from otaseal.keys.public import public_pem
from support.hooks import SELF_UPDATING, opt_in, write_key
from support.pio import Project, compiled

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
SKETCH = {"main.cpp": SELF_UPDATING}


def test_key_is_in_the_firmware_and_a_new_key_recompiles_two_files(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("verify_updates", "sign_firmware"), line, name="with spaces", sources=SKETCH)
    firmware = made.build("firmware.bin")

    assert "takes only updates signed with SHA256:" in made.run().stdout
    assert public_pem(rsa_key.public_key()) + b"\0" in firmware.read_bytes()
    again = made.run()
    assert not compiled(again.stdout)
    assert "otaseal:" not in again.output

    for name in ("signing.key", "signing.pub"):
        (tmp_path / name).unlink()
    write_key(tmp_path / "signing.key", other_rsa_key)
    changed = made.run()
    assert compiled(changed.stdout) == {"Updater.cpp", "BearSSLHelpers.cpp"}
    assert public_pem(other_rsa_key.public_key()) in firmware.read_bytes()
    assert public_pem(rsa_key.public_key()) not in firmware.read_bytes()
    signed = made.build("firmware.bin.signed").read_bytes()
    assert signed_image.verify(signed, other_rsa_key.public_key()) == firmware.read_bytes()

    # Without the file beside it, the public key comes out of the private one: the same header, so nothing to compile.
    (tmp_path / "signing.pub").unlink()
    assert not compiled(made.run().stdout)


def test_pair_that_does_not_fit_fails(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    write_key(tmp_path / "other.key", other_rsa_key)
    made = project(*opt_in("verify_updates", "sign_firmware"), line, sources=SKETCH)
    made.run()
    made.configure([*opt_in("verify_updates", "sign_firmware"), line, "custom_otaseal_public_key = ../other.pub"])
    run = made.run(check=False)
    assert "otaseal: error: the firmware carries another public key than SHA256:" in run.stderr
    assert not made.build("firmware.bin.signed").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("signing.key", "is a private key"),
        ("pkcs1.pub", "is in PKCS#1 form"),
        ("missing.pub", "is not a file"),
    ],
)
def test_unusable_public_key_fails_before_it_is_compiled_in(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, name: str, message: str
) -> None:
    write_key(tmp_path / "signing.key", rsa_key)
    (tmp_path / "pkcs1.pub").write_bytes(rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    made = project(*opt_in("verify_updates"), f"custom_otaseal_public_key = ../{name}", sources=SKETCH)
    run = made.run(check=False)
    assert message in run.stderr
    assert "otaseal: hint: " in run.stderr
    assert not (made.build("otaseal") / "Updater_Signing.h").exists()


def test_sketch_that_cannot_update_itself_fails(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    # The include path without the header: what a project gets that overrides CPPPATH, or a core that moved the file.
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("verify_updates", "sign_firmware"), "  post:undo.py", line, sources=SKETCH)
    made.write(
        "undo.py",
        'Import("env")\nimport os\n'
        'stub = os.path.join(env.PioPlatform().get_package_dir("framework-arduinoespressif8266"), "cores", "esp8266")\n'
        "for builder in [env, *[b.env for b in env.GetLibBuilders()]]:\n    builder.Prepend(CPPPATH=[stub])\n",
    )
    run = made.run(check=False)
    assert "the firmware does not contain the public key SHA256:" in run.stderr
    assert not made.build("firmware.bin.signed").exists()


def test_without_a_key_the_build_says_how_to_make_one(project: MakeProject) -> None:
    run = project(*opt_in("verify_updates")).run(check=False)
    assert "verify_updates.py has no key" in run.stderr
    assert "otaseal key new" in run.stderr


def test_what_a_hint_says_to_run_can_be_run(project: MakeProject) -> None:
    """The fault: 'otaseal key new', which no shell finds where a project uses a checkout."""
    (hint,) = re.findall("^otaseal: hint: .*$", project(*opt_in("verify_updates")).run(check=False).stderr, re.M)
    called = re.findall(r"(?:[A-Z]+=\S+ )?(?:\S+ -m )?otaseal key", hint)[0]
    done = subprocess.run(["sh", "-c", f"{called} --help"], capture_output=True, text=True, check=False)
    assert "Make, show, lock and unlock signing keys" in done.stdout, done.stderr


def test_sketch_without_wifi_does_not_link_and_is_told_why(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = project(*opt_in("verify_updates"), write_key(tmp_path / "signing.key", rsa_key))
    run = made.run(check=False)
    assert "undefined reference" in run.stderr
    assert "otaseal: hint: add #include <ESP8266WiFi.h> to the sketch" in run.stderr
    made.write("src/main.cpp", "#include <ESP8266WiFi.h>\nthis does not compile")
    assert "otaseal" not in made.run(check=False).stderr
