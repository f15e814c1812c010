"""`otaseal certs`: archives that GNU ar and a device read, and every way in which one is useless told."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.certs import ar
from support import cas, peers
from support.command import Command, otaseal, process

__all__ = ["otaseal"]

NOW = datetime.now(timezone.utc)
VALID = (NOW - timedelta(days=10), NOW + timedelta(days=3650))
EXPIRED = (NOW - timedelta(days=20), NOW - timedelta(days=10))
SUBJECTS = ("Workshop of Blinking Things CA", "Workshop of Beeping Things CA")


def ca(
    subject: str = SUBJECTS[0], kind: str = "P-256", index: int = 0, valid: tuple[datetime, datetime] = VALID
) -> bytes:
    return cas.root(subject, kind, index, valid=valid)


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Path:
    """A folder `certs` with two good certificates, one PEM and one DER."""
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "blink.pem").write_bytes(cas.pem(ca()))
    (tmp_path / "certs" / "beep.der").write_bytes(ca(SUBJECTS[1], "RSA-2048"))
    return tmp_path


def gnu_ar(folder: Path, output: str, *files: str) -> None:
    subprocess.run([peers.tool("ar", "binutils"), "qcS", output, *files], cwd=folder, check=True, capture_output=True)


def subjects(shown: object) -> set[str]:
    assert isinstance(shown, dict)
    return {certificate["subject"] for certificate in shown["certificates"]}


def test_what_is_packed_gnu_ar_extracts_and_openssl_reads(project: Path, otaseal: Command) -> None:
    done = otaseal("certs", "pack", "certs", "-o", "data/certs.ar").succeeded()
    packed = (project / "data" / "certs.ar").read_bytes()
    assert done.out == f"data/certs.ar: 2 CA certificates, {len(packed)} bytes, written\n"
    (project / "out").mkdir()
    subprocess.run([peers.tool("ar", "binutils"), "x", "../data/certs.ar"], cwd=project / "out", check=True)
    extracted = [path.read_bytes() for path in (project / "out").iterdir()]
    assert sorted(extracted) == sorted([ca(), ca(SUBJECTS[1], "RSA-2048")])
    for der in extracted:
        command = [peers.tool("openssl", "openssl"), "x509", "-inform", "DER", "-noout", "-subject"]
        assert b"Workshop" in subprocess.run(command, input=der, capture_output=True, check=True).stdout


def test_packing_again_writes_nothing(project: Path, otaseal: Command) -> None:
    otaseal("certs", "pack", "certs", "-o", "certs.ar").succeeded()
    os.utime(project / "certs.ar", (1, 1))
    assert "unchanged" in otaseal("certs", "pack", "certs/*", "-o", "certs.ar").succeeded().out
    assert not otaseal("certs", "pack", "certs", "-o", "certs.ar", "--json").succeeded().json["changed"]
    assert (project / "certs.ar").stat().st_mtime == 1


def test_the_three_commands_agree(project: Path, otaseal: Command) -> None:
    packed = otaseal("certs", "pack", "certs", "-o", "certs.ar", "--json").succeeded().json
    assert set(packed) == {"output", "changed", "certificates", "findings"}
    assert set(packed["certificates"][0]) == {"name", "subject", "key", "not_before", "not_after", "size"}
    for arguments in (("list", "certs.ar"), ("check", "certs.ar"), ("check", "certs")):
        shown = otaseal("certs", *arguments, "--json").succeeded().json
        assert subjects(shown) == subjects(packed)
        assert len(shown["certificates"]) == 2
    listed = otaseal("certs", "list", "certs.ar").succeeded().out
    assert all(subject in listed for subject in SUBJECTS)
    assert f"{VALID[1]:%Y-%m-%d}" in listed
    assert "2 CA certificates work as trust anchors, 0 errors" in otaseal("certs", "check", "certs.ar").succeeded().out
    otaseal("certs", "check", "certs.ar", "--expired", "refuse").failed(2, "'certs.ar' is an archive")


def test_an_archive_that_gnu_ar_made(project: Path, otaseal: Command) -> None:
    (project / "blink.der").write_bytes(ca())
    gnu_ar(project, "gnu.ar", "blink.der", "certs/beep.der")
    assert len(otaseal("certs", "list", "gnu.ar", "--json").succeeded().json["certificates"]) == 2
    otaseal("certs", "check", "gnu.ar").succeeded()


def test_an_archive_of_pem_counts_and_is_useless(project: Path, otaseal: Command) -> None:
    gnu_ar(project, "gnu.ar", "certs/blink.pem", "certs/beep.der")
    assert len(ar.device_view((project / "gnu.ar").read_bytes()).indexed) == 2
    done = otaseal("certs", "check", "gnu.ar").failed(1, "PEM text")
    assert "1 CA certificate works as a trust anchor, 1 error\n" in done.out
    done = otaseal("certs", "list", "gnu.ar").failed(1, "PEM text")
    assert SUBJECTS[1] in done.out


@pytest.mark.parametrize("content", [b"", b"garbage", b"!<arch>\n", b"!<thin>\n"])
def test_what_holds_nothing_for_a_device_is_listed_as_an_error(content: bytes, project: Path, otaseal: Command) -> None:
    (project / "certs.ar").write_bytes(content)
    otaseal("certs", "list", "certs.ar").failed(1, "'archive': it")
    otaseal("certs", "check", "certs.ar").failed(1, "")
    assert not otaseal("certs", "list", "certs.ar", "--json").failed(1, "'archive': it").json["certificates"]


def test_what_is_torn_is_listed_as_an_error(project: Path, otaseal: Command) -> None:
    otaseal("certs", "pack", "certs", "-o", "certs.ar").succeeded()
    whole = (project / "certs.ar").read_bytes()
    (project / "certs.ar").write_bytes(whole[:-10])
    otaseal("certs", "list", "certs.ar").failed(1, "")


def private_key() -> bytes:
    key: bytes = cas.key("P-256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key


REFUSALS = {
    "leaf": (cas.pem(cas.leaf()), "cannot be packed"),
    "Ed25519": (cas.pem(ca("Workshop of Edwards Things CA", "Ed25519")), "cannot be packed"),
    "short name": (cas.pem(ca("tiny")), "cannot be packed"),
    "same subject": (cas.pem(ca(kind="P-384")), "subject"),
    "torn PEM": (cas.pem(ca())[:-30], "END"),
    "garbage": (b"garbage", "cannot be packed"),
    "private key": (private_key(), "private key"),
    "private key behind a certificate": (cas.pem(ca()) + private_key(), "private key"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_no_device_can_use_is_refused_and_nothing_written(refusal: str, project: Path, otaseal: Command) -> None:
    content, message = REFUSALS[refusal]
    (project / "certs" / "odd.pem").write_bytes(content)
    otaseal("certs", "pack", "certs", "-o", "data/certs.ar").failed(1, message)
    otaseal("certs", "check", "certs").failed(1, message.replace("cannot be packed", ""))
    assert not (project / "data").exists()


def test_the_policies_come_from_flag_or_environment(
    project: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "certs" / "old.pem").write_bytes(cas.pem(ca("Workshop of Expired Things CA", index=1, valid=EXPIRED)))
    (project / "certs" / "leaf.pem").write_bytes(cas.pem(cas.leaf()))

    def pack(*flags: str) -> int:
        shown = otaseal("certs", "pack", "certs", "-o", "certs.ar", "--json", *flags).succeeded().json
        return len(shown["certificates"])

    otaseal("certs", "pack", "certs", "-o", "certs.ar").failed(1, "leaf.pem")
    assert pack("--unusable", "drop") == 2
    assert pack("--unusable", "drop", "--expired", "keep") == 3
    monkeypatch.setenv("OTASEAL_UNUSABLE_CERTS", "drop")
    assert pack() == 2
    monkeypatch.setenv("OTASEAL_EXPIRED_CERTS", "refuse")
    otaseal("certs", "check", "certs").failed(1, "expired")
    assert pack("--expired", "keep") == 3
    otaseal("certs", "pack", "certs", "-o", "certs.ar", "--expired", "maybe").failed(2, "--expired")


def test_what_is_dropped_is_told_on_standard_error(project: Path, otaseal: Command) -> None:
    (project / "certs" / "old.pem").write_bytes(cas.pem(ca("Workshop of Expired Things CA", index=1, valid=EXPIRED)))
    done = otaseal("certs", "pack", "certs", "-o", "certs.ar").succeeded()
    assert "old.pem" in done.err
    assert len(done.out.splitlines()) == len(done.err.splitlines()) == 1


def test_what_is_no_archive_is_never_overwritten(project: Path, otaseal: Command) -> None:
    certificate = project / "certs" / "blink.pem"
    otaseal("certs", "pack", "certs/beep.der", "-o", certificate).failed(1, "exists and is not an archive")
    assert certificate.read_bytes() == cas.pem(ca())
    otaseal("certs", "pack", "certs", "-o", "certs").failed(1, "is not a file")


def test_a_failure_keeps_the_archive_that_is_there(project: Path, otaseal: Command) -> None:
    otaseal("certs", "pack", "certs", "-o", "certs.ar").succeeded()
    before = (project / "certs.ar").read_bytes()
    (project / "certs" / "odd.pem").write_bytes(b"garbage")
    otaseal("certs", "pack", "certs", "-o", "certs.ar").failed(1, "odd.pem")
    assert (project / "certs.ar").read_bytes() == before


def test_sources_that_are_not_there(otaseal: Command) -> None:
    otaseal("certs", "pack", "none/*.pem", "-o", "certs.ar").failed(1, "no certificate file matches 'none/*.pem'")
    otaseal("certs", "check", "none").failed(1, "no certificate file matches 'none'")
    otaseal("certs", "list", "none").failed(1, "archive 'none' is not a file")
    otaseal("certs", "pack", "certs").failed(2, "--output")


def test_a_public_bundle_can_be_listed_in_any_encoding(project: Path) -> None:
    process("certs", "pack", certifi.where(), "-o", "certs.ar", cwd=project).succeeded()
    for encoding in ("ascii", "cp1252", "utf-8"):
        done = process("certs", "list", "certs.ar", cwd=project, PYTHONIOENCODING=encoding).succeeded()
        assert len(done.out.splitlines()) > 50
