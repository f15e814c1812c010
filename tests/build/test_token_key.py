"""A build that signs with a key in a token: SoftHSM holds it, openssl verifies, and the PIN is nowhere to be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import signed_image
from otaseal.keys.public import public_pem
from support import openssl
from support.hooks import SELF_UPDATING, opt_in
from support.pio import Project
from support.softhsm import PIN, SoftHsm, module

pytestmark = [pytest.mark.build, pytest.mark.proof]


def test_a_build_signs_with_a_token(
    project: Callable[..., Project], tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    path = module()
    hsm = SoftHsm(tmp_path / "softhsm").create()
    hsm.add_token("the token")
    hsm.add_key("the token", "signing", "01", rsa_key)
    # An ini file wants a percent sign twice.
    key = f"custom_otaseal_signing_key = pkcs11:token=the%%20token;id=%%01?module-path={path}"
    lines = [*opt_in("verify_updates", "sign_firmware", "pack_certs"), key, "board_build.filesystem = littlefs"]
    made = project(*lines, sources={"main.cpp": SELF_UPDATING})
    signed = made.build("firmware.bin.signed")

    run = made.run(env={**hsm.environment, "OTASEAL_PASSPHRASE": PIN})
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == made.build("firmware.bin").read_bytes()
    assert openssl.accepts(signed.read_bytes(), public_pem(rsa_key.public_key()), tmp_path / "openssl")
    assert public_pem(rsa_key.public_key()) in made.build("firmware.bin").read_bytes()
    assert PIN not in run.output

    before = signed.stat().st_mtime_ns
    made.run()
    assert signed.stat().st_mtime_ns == before

    (tmp_path / "pin").write_text(PIN)
    made.configure([*lines, "custom_otaseal_passphrase_file = ../pin"])
    signed.unlink()
    made.run(env=hsm.environment)
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == made.build("firmware.bin").read_bytes()

    signed.unlink()
    (tmp_path / "pin").write_text("pin:161803")
    refused = made.run(env=hsm.environment, check=False)
    assert "otaseal: error: token 'the token' refuses the PIN" in refused.stderr
    assert "pin:161803" not in refused.output
    assert not signed.exists()
