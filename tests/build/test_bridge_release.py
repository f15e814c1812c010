"""A bridge release on the real PlatformIO: signed with one key, carrying the next; how a build gets there and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from otaseal.image import signed_image
from otaseal.keys.public import fingerprint, public_pem, short_fingerprint
from support import openssl
from support.hooks import SELF_UPDATING, opt_in, write_key
from support.pio import Project, compiled
from support.stock_fleet import Device

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
HOOKS = opt_in("verify_updates", "sign_firmware")
NEXT = "custom_otaseal_next_public_key = ../keys/next.pub"
TWO_FILES = {"Updater.cpp", "BearSSLHelpers.cpp"}


def test_a_key_is_rotated_by_a_bridge_release(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    """The next key is set, changed, switched to, removed: what is rebuilt, and what devices do.

    Set in the environment, because PlatformIO itself builds everything anew when platformio.ini changes.
    """
    old, following, third = rsa_key, rsa_keys(2048, 1), rsa_keys(2048, 2)
    line = write_key(tmp_path / "keys" / "signing.key", old)
    next_line = write_key(tmp_path / "keys" / "next.key", following)
    made = project(*HOOKS, line, sources={"main.cpp": SELF_UPDATING})
    firmware, signed = made.build("firmware.bin"), made.build("firmware.bin.signed")
    assert "bridge" not in made.run().output
    before, ordinary = Device(firmware.read_bytes()), signed.read_bytes()
    chosen = {"OTASEAL_NEXT_PUBLIC_KEY": "../keys/next.pub"}

    bridge = made.run(env=chosen)
    assert compiled(bridge.stdout) == TWO_FILES
    (said,) = (text for text in bridge.stdout.splitlines() if "bridge release" in text)
    assert f"take updates from the next key {short_fingerprint(following.public_key())} only" in said
    assert "every device must run it before you sign with that key" in said
    assert signed_image.verify(signed.read_bytes(), old.public_key()) == firmware.read_bytes()
    assert openssl.accepts(signed.read_bytes(), public_pem(old.public_key()), tmp_path / "openssl")
    assert public_pem(following.public_key()) + b"\0" in firmware.read_bytes()
    assert public_pem(old.public_key()) not in firmware.read_bytes()
    after = before.offered(signed.read_bytes())
    assert same(after.public_key, following)
    again = made.run(env=chosen)
    assert not compiled(again.stdout)
    assert "otaseal:" not in again.output

    (tmp_path / "keys" / "next.pub").write_bytes(public_pem(third.public_key()))
    assert compiled(made.run(env=chosen).stdout) == TWO_FILES
    assert same(Device(firmware.read_bytes()).public_key, third)
    assert signed_image.verify(signed.read_bytes(), old.public_key()) == firmware.read_bytes()

    assert compiled(made.run().stdout) == TWO_FILES
    assert signed.read_bytes() == ordinary, "without the option it is an ordinary release again"

    (tmp_path / "keys" / "next.pub").write_bytes(public_pem(following.public_key()))
    made.configure([*HOOKS, next_line, NEXT])
    refused = made.run(check=False)
    assert "is the current one" in refused.stderr
    assert "otaseal: hint: remove custom_otaseal_next_public_key once the key is switched" in refused.stderr
    assert not signed.exists()

    made.configure([*HOOKS, next_line])
    assert "bridge" not in made.run().output
    assert signed_image.verify(signed.read_bytes(), following.public_key()) == firmware.read_bytes()
    assert same(after.offered(signed.read_bytes()).public_key, following)
    assert before.refuses(signed.read_bytes()) == 12


def same(key: rsa.RSAPublicKey, private: rsa.RSAPrivateKey) -> bool:
    return key.public_numbers() == private.public_key().public_numbers()


def test_an_unusable_next_key_stops_the_build_by_name(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "keys" / "signing.key", rsa_key)
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    contents = {
        "private": ((tmp_path / "keys" / "signing.key").read_bytes(), "is a private key"),
        "PKCS#1": (rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1), "is in PKCS#1 form"),
        "EC": (elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "devices verify RSA only"),
        "known": (public_pem(other_rsa_key.public_key()), "is publicly known: its private half is in a test"),
        "current": (public_pem(rsa_key.public_key()), "is the current one"),
        "missing": (None, "is not a file"),
    }
    made = project(*HOOKS, "  pre:known.py", line, NEXT, sources={"main.cpp": SELF_UPDATING})
    digest = fingerprint(other_rsa_key.public_key()).removeprefix("SHA256:")
    made.write("known.py", f"from otaseal.keys import compromised\ncompromised.KNOWN_KEYS[{digest!r}] = 'a test'\n")
    for content, message in contents.values():
        if content is None:
            (tmp_path / "keys" / "next.pub").unlink()
        else:
            (tmp_path / "keys" / "next.pub").write_bytes(content)
        run = made.run(check=False)
        assert message in run.stderr
        assert "otaseal: hint: " in run.stderr
        assert "Traceback" not in run.output
        assert not (made.build("otaseal") / "Updater_Signing.h").exists()

    made.configure([*opt_in("sign_firmware"), line, NEXT])
    assert "verify_updates.py, which compiles that key in, is not attached" in made.run(check=False).stderr
    made.configure([*HOOKS, NEXT])
    assert "verify_updates.py has no key" in made.run(check=False).stderr
