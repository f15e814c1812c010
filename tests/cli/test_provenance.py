"""`otaseal provenance`, and `otaseal verify --provenance`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import signed_image
from otaseal.keys import public, signers
from support.command import Command, otaseal
from support.images import Signer, build_image

__all__ = ["otaseal"]

BUILDER = "https://ci.example.com/blink"
MAKE = ("provenance", "firmware.bin.signed", "--key", "ci.key", "--product", "blink", "--version", "1.0")
ON_GITHUB = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_WORKFLOW_REF": "me/blink/.github/workflows/release.yml@refs/tags/v1",
    "GITHUB_REPOSITORY": "me/blink",
    "GITHUB_RUN_ID": "17",
}


@pytest.fixture
def folder(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> Path:
    """A folder with a signed firmware, the key of the product and another one, of who builds."""
    (tmp_path / "firmware.bin.signed").write_bytes(signed_image.sign(build_image(), Signer(rsa_key)))
    (tmp_path / "signing.pub").write_bytes(public.public_pem(rsa_key.public_key()))
    signers.write_key_pair(tmp_path / "ci.key", other_rsa_key, None)
    return tmp_path


def test_it_is_signed_and_verified(folder: Path, otaseal: Command) -> None:
    made = otaseal(*MAKE, "--builder", BUILDER, "--material", "signing.pub").succeeded()
    assert made.out == f"firmware.bin.signed.provenance.json: blink 1.0, built by {BUILDER}\n"
    verify = ("verify", "firmware.bin.signed", "--key", "signing.pub")
    given = (*verify, "--provenance", "firmware.bin.signed.provenance.json")
    assert f"provenance: built by {BUILDER}" in otaseal(*given, "--builder-key", "ci.pub").succeeded().out
    otaseal(*given, "--builder-key", "ci.pub", "--builder", "https://ci.example.com/*").succeeded()
    shown = otaseal(*given, "--builder-key", "ci.pub", "--json").succeeded().json
    assert shown["provenance"]["builder"] == BUILDER
    otaseal(*given).failed(1, "the provenance is signed by none of these keys")
    otaseal(*given, "--builder-key", "ci.pub", "--builder", "https://ci.example.com").failed(1, "names the builder")
    otaseal(*verify, "--provenance", "ci.pub").failed(1, "'ci.pub': the provenance is not JSON")
    otaseal(*verify, "--builder", BUILDER).failed(2, "--builder and --builder-key are for a provenance")
    (folder / "other.signed").write_bytes(b"another image")
    otaseal(*MAKE[:1], "other.signed", *MAKE[2:], "--builder", BUILDER).succeeded()
    otaseal(*verify, "--provenance", "other.signed.provenance.json", "--builder-key", "ci.pub").failed(1, "is not of")


def test_github_says_who_builds(folder: Path, monkeypatch: pytest.MonkeyPatch, otaseal: Command) -> None:
    for name in ON_GITHUB:
        monkeypatch.delenv(name, raising=False)
    refused = otaseal(*MAKE).failed(2, "nothing says who builds")
    assert "custom_otaseal_builder" in refused.err
    otaseal(*MAKE, "--builder", "the CI").failed(2, "the builder 'the CI' is no URI")
    assert not (folder / "firmware.bin.signed.provenance.json").exists()
    for name, value in ON_GITHUB.items():
        monkeypatch.setenv(name, value)
    out = otaseal(*MAKE, "--json").succeeded().json
    assert out["builder"] == "https://github.com/me/blink/.github/workflows/release.yml@refs/tags/v1"


def test_a_failure_leaves_none_and_other_files_alone(folder: Path, otaseal: Command) -> None:
    output = folder / "firmware.bin.signed.provenance.json"
    otaseal(*MAKE, "--builder", BUILDER).succeeded()
    otaseal(*MAKE[:3], "missing.key", *MAKE[4:], "--builder", BUILDER).failed(1, "missing.key")
    assert not output.exists()
    otaseal(*MAKE, "--builder", BUILDER, "-o", "signing.pub").failed(1, "is not a provenance")
    otaseal(*MAKE, "--builder", BUILDER, "-o", "firmware.bin.signed").failed(2, "would overwrite its own input")
