"""`otaseal delta make`, `apply` and `inspect`: the files they take and make, and what they refuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips import images as chips
from otaseal.image import gzip_payload, signed_image
from support import other_images, patches
from support.command import Command, otaseal
from support.images import Signer, build_image

__all__ = ["otaseal"]

FUNCTIONS = patches.program(120)
OLD = patches.image(FUNCTIONS)
NEW = patches.image([*FUNCTIONS[:40], *patches.program(2, seed=2), *FUNCTIONS[40:]])


@pytest.fixture
def files(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> dict[str, Path]:
    """Return the base and the signed target by name."""
    made = {"base": tmp_path / "old.bin", "target": tmp_path / "firmware.bin.signed"}
    made["base"].write_bytes(OLD)
    made["target"].write_bytes(signed_image.sign(NEW, Signer(rsa_key)))
    return made


def test_a_patch_makes_the_signed_image(otaseal: Command, files: dict[str, Path], tmp_path: Path) -> None:
    said = otaseal("delta", "make", files["base"], files["target"]).succeeded().out
    patch = tmp_path / "firmware.bin.signed.delta"
    assert said.startswith(f"{patch}: {patch.stat().st_size} bytes, ")
    assert "better" not in said
    assert otaseal("delta", "apply", files["base"], patch, "-o", tmp_path / "made.signed").succeeded()
    assert (tmp_path / "made.signed").read_bytes() == files["target"].read_bytes()


def test_what_a_patch_is_for(otaseal: Command, files: dict[str, Path], tmp_path: Path) -> None:
    made = otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p", "--json").succeeded().json
    shown = otaseal("delta", "inspect", tmp_path / "p", "--json").succeeded().json
    target = files["target"].read_bytes()
    assert shown.items() <= made.items()
    assert shown["size"] == (tmp_path / "p").stat().st_size
    assert shown["base_md5"] == hashlib.md5(OLD, usedforsecurity=False).hexdigest()
    assert shown["base_md5"] in chips.parse(OLD).sketch_digests()
    assert (shown["target_size"], shown["target_sha256"]) == (len(target), hashlib.sha256(target).hexdigest())
    assert made["whole_update_size"] == len(gzip_payload.compress(NEW)) + 260
    lines = otaseal("delta", "inspect", tmp_path / "p").succeeded().out
    assert all(str(shown[name]) in lines for name in ("size", "base_md5", "target_sha256", "shifts"))


def test_the_base_may_be_signed_or_of_another_flash_mode(
    otaseal: Command, files: dict[str, Path], tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """A device has its own flash mode in byte 2 (F30b), and what stands behind the sketch is no part of the base."""
    files["base"].write_bytes(signed_image.sign(OLD, Signer(rsa_key)))
    files["target"].write_bytes(signed_image.sign(patches.image(FUNCTIONS[1:], mode="qio"), Signer(rsa_key)))
    otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p").succeeded()
    shown = otaseal("delta", "inspect", tmp_path / "p", "--json").succeeded().json
    assert shown["base_md5"] == chips.parse(OLD).sketch_digests()[0]
    otaseal("delta", "apply", files["base"], tmp_path / "p", "-o", tmp_path / "made").succeeded()
    assert (tmp_path / "made").read_bytes() == files["target"].read_bytes()


def test_a_patch_that_is_no_smaller_is_called_that(otaseal: Command, files: dict[str, Path], tmp_path: Path) -> None:
    files["base"].write_bytes(build_image(seed=7))
    said = otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p").succeeded().out
    assert said.endswith("it is the better one, for the patch is no smaller\n")


def test_another_base_is_refused_and_nothing_is_left(otaseal: Command, files: dict[str, Path], tmp_path: Path) -> None:
    otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p").succeeded()
    files["base"].write_bytes(patches.image(FUNCTIONS[2:]))
    made = tmp_path / "made.signed"
    made.write_bytes(files["target"].read_bytes())
    otaseal("delta", "apply", files["base"], tmp_path / "p", "-o", made).failed(1, "the patch is for a sketch of")
    assert not made.exists(), "an older one would look like the new one"


@pytest.mark.parametrize("what", ["target", "base"])
def test_what_is_no_image_is_refused(otaseal: Command, files: dict[str, Path], tmp_path: Path, what: str) -> None:
    files[what].write_text("text")
    otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p").failed(1, "text")
    assert not (tmp_path / "p").exists()


def test_targets_that_no_device_takes(
    otaseal: Command, files: dict[str, Path], tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    def refused(message: str) -> None:
        otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p").failed(1, message)
        assert not (tmp_path / "p").exists()

    files["target"].write_bytes(NEW)
    refused("is not signed")
    files["target"].write_bytes(signed_image.sign(gzip_payload.compress(NEW), Signer(rsa_key)))
    refused("is compressed")
    files["target"].write_bytes(signed_image.sign(other_images.esp32_image(), Signer(rsa_key)))
    refused("is for the esp8266, and")


def test_no_input_is_overwritten(otaseal: Command, files: dict[str, Path], tmp_path: Path) -> None:
    for name in ("base", "target"):
        otaseal("delta", "make", files["base"], files["target"], "-o", files[name]).failed(2, "overwrite its own input")
    otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "p").succeeded()
    for name in (files["base"], tmp_path / "p"):
        otaseal("delta", "apply", files["base"], tmp_path / "p", "-o", name).failed(2, "overwrite its own input")
    (tmp_path / "notes").write_text("mine")
    otaseal("delta", "make", files["base"], files["target"], "-o", tmp_path / "notes").failed(1, "not a patch")
    otaseal("delta", "apply", files["base"], tmp_path / "p", "-o", tmp_path / "notes").failed(1, "not a signed image")
    assert (tmp_path / "notes").read_text() == "mine"


def test_what_is_no_patch(otaseal: Command, files: dict[str, Path]) -> None:
    otaseal("delta", "inspect", files["base"]).failed(1, f"'{files['base']}': this is no patch")
    otaseal("delta", "make", __file__, files["target"]).failed(1, f"'{__file__}': this is text")
    refused = otaseal("delta", "inspect", files["target"], "--json").failed(1, "this is no patch")
    assert "hint" in json.loads(refused.err)
