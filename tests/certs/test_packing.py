"""A project's certificates as its options say; and no private key in what becomes the device's file system."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.certs import certstore, packing
from otaseal.certs.packing import pack_project
from otaseal.errors import InputError, KeyRefusedError
from otaseal.settings import Settings
from support import cas

EXPIRED = (cas.NOW - timedelta(days=200), cas.NOW - timedelta(days=100))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one good certificate and one that has expired."""
    root = tmp_path / "my project"
    put(root / "certs" / "ca.pem", cas.pem(cas.root()))
    put(root / "certs" / "old.der", cas.root("Workshop of Expired Things CA", index=1, valid=EXPIRED))
    put(root / "data" / "index.html", b"<html>")
    return root


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def pack(project: Path, options: Settings | None = None) -> certstore.Packed:
    return pack_project(options or Settings(), project / "data", project, cas.NOW)


def private_key(encoding: Encoding) -> bytes:
    key: bytes = cas.key("P-256").private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
    return key


def test_the_defaults_pack_the_folder_and_drop_what_has_expired(project: Path) -> None:
    packed = pack(project)
    assert [anchor.der for anchor in packed.anchors] == [cas.root()]
    assert [finding.code for finding in packed.findings] == ["expired"]
    assert not certstore.check(packed.archive, cas.NOW).errors
    assert {path.name for path in (project / "data").iterdir()} == {"index.html"}


def test_the_options_decide(project: Path) -> None:
    assert len(pack(project, replace(Settings(), expired_certs="keep")).anchors) == 2
    with pytest.raises(InputError, match="expired"):
        pack(project, replace(Settings(), expired_certs="refuse"))
    assert len(pack(project, replace(Settings(), ca_certs=("certs/ca.pem",))).findings) == 0
    put(project / "certs" / "leaf.pem", cas.pem(cas.leaf()))
    with pytest.raises(InputError, match="cannot be packed"):
        pack(project)
    assert len(pack(project, replace(Settings(), unusable_certs="drop")).anchors) == 1


def test_the_same_certificates_give_the_same_bytes(project: Path) -> None:
    first = pack(project).archive
    (project / "certs" / "ca.pem").rename(project / "certs" / "z.pem")
    again = pack(project, replace(Settings(), ca_certs=("certs/z.pem", "certs/old.der", "certs")))
    assert again.archive == first


@pytest.mark.parametrize("name", ["signing.key", "index.html", "deep/er/.hidden", "certs.ar"])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_private_key_in_the_data_is_refused_whatever_its_name(project: Path, name: str, encoding: Encoding) -> None:
    put(project / "data" / name, private_key(encoding))
    with pytest.raises(KeyRefusedError, match=name):
        pack(project)


def test_a_private_key_behind_a_link_is_refused(project: Path, tmp_path: Path) -> None:
    put(tmp_path / "keys" / "k", private_key(Encoding.PEM))
    (project / "data" / "assets").symlink_to(tmp_path / "keys")
    with pytest.raises(KeyRefusedError, match="assets"):
        pack(project)


def test_circles_of_links_end(project: Path) -> None:
    for name in ("one", "two"):
        (project / "data" / name).symlink_to(project / "data")
    with pytest.raises(InputError, match="holds more than 2000 files"):
        pack(project)


def test_there_is_a_limit_to_the_files_in_the_data(project: Path) -> None:
    for number in range(packing.FILE_COUNT_LIMIT):
        (project / "data" / str(number)).touch()
    with pytest.raises(InputError, match="holds more than"):
        pack(project)


def test_a_project_without_data_or_certificates(project: Path) -> None:
    (project / "data" / "index.html").unlink()
    (project / "data").rmdir()
    assert pack(project).anchors
    with pytest.raises(InputError, match="no certificate file matches 'none'"):
        pack(project, replace(Settings(), ca_certs=("none",)))
