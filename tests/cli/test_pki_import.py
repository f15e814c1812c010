"""`otaseal pki import`: an existing root comes into the project if devices accept the chain under it, else nothing."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.certs import certstore
from otaseal.certs.sources import collect
from otaseal.pki import Authority, Role
from support import peers
from support.command import Command, otaseal

__all__ = ["otaseal"]

NOW = datetime.now(timezone.utc)
ROOT, OTHER = (Authority.create(role=Role.SERVER, product=name, now=NOW) for name in ("company", "stranger"))


@pytest.fixture(autouse=True)
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "fullchain.pem"
    path.write_bytes(ROOT.issue_server(["update.local"], now=NOW).chain_pem)
    (tmp_path / "root.pem").write_bytes(ROOT.certificate_pem)
    (tmp_path / "bundle.pem").write_bytes(OTHER.certificate_pem + ROOT.certificate_pem)
    return path


def packed(folder: Path) -> list[bytes]:
    return [anchor.der for anchor in certstore.pack(collect([str(folder)], folder), NOW).anchors]


def test_only_the_root_in_use_is_taken_out_of_a_bundle_and_only_once(otaseal: Command, tmp_path: Path) -> None:
    done = otaseal("pki", "import", "fullchain.pem", "--ca", "bundle.pem").succeeded()
    assert "devices accept" in done.out
    assert "written" in done.out
    assert packed(tmp_path / "certs") == [ROOT.certificate_der]
    again = otaseal("pki", "import", "fullchain.pem", "--ca", "root.pem", "--json").succeeded().json
    assert again["written"] == []
    assert len(list((tmp_path / "certs").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ca", "root.pem", "--name", "other.local"], "is not for 'other.local'"),
        ([], "nothing sent or trusted issues"),
        (["--ca", "stranger.pem"], "nothing sent or trusted issues"),
    ],
)
def test_what_devices_refuse_is_not_imported(
    arguments: list[str], message: str, otaseal: Command, tmp_path: Path
) -> None:
    (tmp_path / "stranger.pem").write_bytes(OTHER.certificate_pem)
    otaseal("pki", "import", "fullchain.pem", *arguments).failed(1, message)
    assert not (tmp_path / "certs").exists()


def test_a_root_that_would_crash_devices_is_not_imported(otaseal: Command, tmp_path: Path) -> None:
    """BearSSL accepts it, and the core writes past the end of its subject (F18)."""
    subprocess.run(
        [peers.tool("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null",
         "-out", "short.pem", "-days", "700", "-subj", "/CN=mine", "-addext", "keyUsage=keyCertSign,digitalSignature"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    otaseal("pki", "import", "short.pem").failed(1, "the device copies 32")
    assert not (tmp_path / "certs").exists()


def test_two_roots_of_one_name_do_not_overwrite_each_other(otaseal: Command, tmp_path: Path) -> None:
    made = otaseal("pki", "import", "fullchain.pem", "--ca", "root.pem", "--json").succeeded().json["written"]
    path = Path(made[0])
    path.write_bytes(OTHER.certificate_pem)
    otaseal("pki", "import", "fullchain.pem", "--ca", "root.pem").succeeded()
    assert path.read_bytes() == OTHER.certificate_pem
    assert sorted(packed(tmp_path / "certs")) == sorted([ROOT.certificate_der, OTHER.certificate_der])
