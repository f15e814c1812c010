"""The leak check on the real PlatformIO: a signing key that got into what devices are given stops the build."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.keys import secret_scan, signers
from otaseal.keys.secret_scan import Secrets
from support import peers
from support.hooks import ca_certificate, opt_in, write_key
from support.pio import Project, Run

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
LITTLEFS = "board_build.filesystem = littlefs"
PASSPHRASE = "correct horse"
LEAK = "contains a private key: number '"
SKETCH = """\
#include <Arduino.h>

%s

void setup() { Serial.begin(115200); }

void loop() { Serial.write(key, sizeof(key)); }
"""


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def prime(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_numbers().p.to_bytes(key.key_size // 16, "big")


def as_array(data: bytes) -> str:
    return "const char key[] = {" + ", ".join(f"(char)0x{byte:02x}" for byte in data) + "};"


def as_string(key: rsa.RSAPrivateKey) -> str:
    return "const char key[] = " + "\n".join(json.dumps(line + "\n") for line in pem(key).splitlines()) + ";"


def refused(run: Run, key: rsa.RSAPrivateKey) -> str:
    """Return the one error of a run that found a leak, which shows nothing of the key."""
    errors = [line for line in run.stderr.splitlines() if line.startswith("otaseal: error: ")]
    assert len(errors) == 1, run.output
    assert LEAK in errors[0]
    assert "otaseal: hint: take it out" in run.stderr
    assert secret_scan.find(run.output.encode(), Secrets.of({"signing key": key})) == []
    return errors[0]


@pytest.mark.parametrize("compressed", [False, True])
def test_firmware_that_carries_the_key_is_not_signed(
    compressed: bool, project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    lines = [*opt_in("sign_firmware"), line, *(["board_build.gzip_fw = yes"] if compressed else [])]
    made = project(*lines)
    signed = made.build("firmware.bin.signed")
    made.run()
    assert signed.exists()

    for declaration in (as_string(rsa_key), as_array(prime(rsa_key))):
        made.write("src/main.cpp", SKETCH % declaration)
        assert "'firmware.bin'" in refused(made.run(check=False), rsa_key)
        assert not signed.exists()

    marker = 'const char key[] = "-----BEGIN PRIVATE KEY-----";'
    made.write("src/main.cpp", SKETCH % marker)
    made.run()
    assert signed.exists()


def test_a_key_in_the_elf_alone_is_found(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """Whatever a later script calls the program."""
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*opt_in("sign_firmware"), "  name.py", line)
    made.write("name.py", 'Import("env")\nenv.Replace(PROGNAME="other")\n')
    comment = f'asm(".pushsection .comment; .ascii \\"{prime(rsa_key).hex()}\\"; .popsection");'
    made.write("src/main.cpp", SKETCH % f'const char key[] = "x";\n{comment}')
    assert "'firmware.elf'" in refused(made.run(check=False), rsa_key)
    assert not made.build("firmware.bin.signed").exists()


def test_a_filesystem_that_carries_the_key_is_neither_kept_nor_uploaded(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = project(
        *opt_in("pack_certs"), LITTLEFS, write_key(tmp_path / "signing.key", rsa_key), f"upload_port = {flash}"
    )
    made.write("certs/ca.pem", ca_certificate())
    image = made.build("littlefs.bin")
    made.run("-t", "buildfs")
    assert image.exists()

    jwk = json.dumps({"kty": "RSA", "p": base64.urlsafe_b64encode(prime(rsa_key)).decode()}).encode()
    for name, content in {
        "settings.json": jwk,
        "page.html.gz": gzip.compress(b"<pre>" + prime(rsa_key).hex(" ").encode()),
        "large.bin": bytes(8180) + prime(rsa_key),
    }.items():
        leaky = made.write(f"data/{name}", content)
        assert f"{name}'" in refused(made.run("-t", "uploadfs", check=False), rsa_key)
        assert not image.exists()
        assert not flash.exists()
        leaky.unlink()
    made.run("-t", "uploadfs")
    assert flash.exists()


def test_an_image_that_something_else_wrote_into_is_removed(
    project: MakeProject, tmp_path: Path, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = project(
        *opt_in("pack_certs"),
        "  post:late.py",
        LITTLEFS,
        write_key(tmp_path / "signing.key", rsa_key),
        f"upload_port = {flash}",
    )
    made.write("certs/ca.pem", ca_certificate())
    made.write(
        "late.py",
        'Import("env")\n'
        "def spoil(target, source, env):\n"
        "    with open(str(target[0]), 'r+b') as image:\n"
        "        image.seek(-1000, 2)\n"
        f"        image.write({prime(rsa_key)!r})\n"
        'env.AddPostAction(env.subst("$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin"), spoil)\n',
    )
    assert "'littlefs.bin'" in refused(made.run("-t", "uploadfs", check=False), rsa_key)
    assert not made.build("littlefs.bin").exists()
    assert not flash.exists()


def test_a_filesystem_run_asks_for_no_passphrase(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    signers.write_key_pair(tmp_path / "signing.key", rsa_key, PASSPHRASE.encode())
    made = project(*opt_in("pack_certs"), LITTLEFS, f"custom_otaseal_signing_key = file:{tmp_path / 'signing.key'}")
    made.write("certs/ca.pem", ca_certificate())
    made.write("data/settings.bin", prime(rsa_key))
    run = made.run("-t", "buildfs")
    said = [line for line in run.stderr.splitlines() if "the filesystem is not searched for the signing key" in line]
    assert len(said) == 1

    with_secret = made.run("-t", "buildfs", env={"OTASEAL_PASSPHRASE": PASSPHRASE}, check=False)
    assert "settings.bin'" in refused(with_secret, rsa_key)
    assert PASSPHRASE not in with_secret.output

    (tmp_path / "signing.key").unlink()
    assert "is not searched for the signing key" in made.run("-t", "buildfs").stderr


def test_a_tracked_key_stops_the_build(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    folder = tmp_path / "keys"
    made = project(*opt_in("sign_firmware"), write_key(folder / "signing.key", rsa_key))
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run([peers.tool("git", "git"), *command], cwd=folder, check=True, capture_output=True)
    run = made.run(check=False)
    assert "is tracked by git" in run.stderr
    assert not made.build("firmware.bin.signed").exists()
