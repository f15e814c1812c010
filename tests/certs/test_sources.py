"""Which files are taken for certificates, in which order, and which stop the build."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from otaseal.certs import certstore
from otaseal.certs import sources as cert_sources
from otaseal.certs.pem import Source, blocks
from otaseal.certs.sources import collect
from otaseal.errors import ConfigError, InputError, KeyRefusedError, SystemFaultError
from otaseal.pki.certificate import parse_certificates
from support import cas, peers

CERTS = ["certs/a.CRT", "certs/all.ca-bundle", "certs/b.pem", "certs/deep/er/c.der"]
KEY = b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose folder has a space in its name, with certificates in several places."""
    root = tmp_path / "my project"
    for name in (
        "certs/b.pem",
        "certs/a.CRT",
        "certs/deep/er/c.der",
        "certs/all.ca-bundle",
        "other/d.cer",
        "e [1].pem",
    ):
        put(root / name, name.encode())
    for name in ("certs/README.md", "certs/.hidden.pem", "certs/.git/f.pem", "certs/ca.srl"):
        put(root / name, b"not a certificate")
    return root


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def names(*patterns: str, root: Path) -> list[str]:
    sources = [source for source in collect(patterns, root) if not source.passed_over]
    assert all((root / source.name).read_bytes() == source.data for source in sources)
    return [source.name for source in sources]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["certs/b.pem"], ["certs/b.pem"]),
        (["certs"], CERTS),
        (["certs/"], CERTS),
        (["certs", "certs/b.pem", "./certs", "certs/*.pem"], CERTS),
        (["other", "certs/b.pem"], ["certs/b.pem", "other/d.cer"]),
        (["certs/*.pem"], ["certs/b.pem"]),
        (["certs/**/*.der"], ["certs/deep/er/c.der"]),
        (["certs/*"], CERTS),
        (["certs/**"], CERTS),
        (["*"], [*CERTS, "e [1].pem", "other/d.cer"]),
        (["e [1].pem"], ["e [1].pem"]),
        (["e *.pem"], ["e [1].pem"]),
        (["certs/ca.srl"], ["certs/ca.srl"]),
        (["certs/.hidden.pem"], ["certs/.hidden.pem"]),
    ],
)
def test_patterns_name_files_in_one_order(project: Path, patterns: list[str], expected: list[str]) -> None:
    assert names(*patterns, root=project) == expected
    assert names(*reversed(patterns), root=project) == expected


def test_the_home_directory_of_nobody_is_an_error(project: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'~nobody-of-that-name/ca\.pem' names the home directory of an unknown user"
    ):
        collect(["~nobody-of-that-name/ca.pem"], project)


@pytest.mark.parametrize("pattern", ["missing.pem", "certs/*.key", "empty", "certs/b.pem/x", "nowhere/**", "[x"])
def test_a_pattern_that_matches_nothing_is_an_error(project: Path, pattern: str) -> None:
    (project / "empty").mkdir()
    with pytest.raises(InputError, match="no certificate file matches") as caught:
        collect(["certs", pattern], project)
    assert pattern in caught.value.message


@pytest.mark.parametrize("pattern", ["", " "])
def test_an_empty_pattern_is_not_the_whole_project(project: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="is not a path"):
        collect([pattern], project)


def test_absolute_paths_and_home(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = project.parent / "elsewhere"
    put(outside / "x.pem", b"x")
    assert [source.name for source in collect([str(outside)], project)] == [(outside / "x.pem").as_posix()]
    assert [source.name for source in collect([str(outside / "*.pem")], project)] == [(outside / "x.pem").as_posix()]
    assert names(str(project / "certs"), root=project) == CERTS
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.setenv("USERPROFILE", str(outside))
    assert [source.data for source in collect(["~/x.pem"], project)] == [b"x"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("certs/ca.key", b"anything"),
        ("certs/deep/CA.KEY", b"anything"),
        ("certs/device.p12", b"anything"),
        ("certs/ca.txt", KEY),
        ("certs/deep/notes", b"my key:\n" + KEY),
        ("certs/ca.pem", KEY),
        ("certs/ca.crt", cas.pem(b"x") + KEY),
    ],
)
def test_a_private_key_anywhere_in_a_folder_is_an_error(project: Path, name: str, data: bytes) -> None:
    put(project / name, data)
    for pattern in ("certs", "certs/*", "certs/**", name):
        with pytest.raises(KeyRefusedError, match="private key") as caught:
            collect([pattern], project)
        assert name in caught.value.message
        assert "MC4=" not in caught.value.message + caught.value.hint


PKCS7 = ["openssl", "crl2pkcs7", "-nocrl", "-certfile"]


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A folder with one certificate under every name that certificates go by, and with what is none."""
    folder = tmp_path / "certs"
    text, der, other = cas.pem(cas.root()), cas.root(), cas.pem(cas.root("Another Workshop of Things CA"))
    for name in ("root.pem.txt", "root.cert", "4f06f81d.0", "root", "deep/root.CRT", "note.md"):
        put(folder / name, b"# the root\n" + text)
    put(folder / "der", der)
    put(folder / "both.pem", text + other)
    for name, form in (("windows.p7b", "DER"), ("text.p7c", "PEM"), ("chain", "DER")):
        made = subprocess.run([*PKCS7, "both.pem", "-outform", form], cwd=folder, check=True, capture_output=True)
        put(folder / name, made.stdout)
    (folder / "both.pem").unlink()
    put(folder / "ca.srl", b"4A7F\n")
    put(folder / "README", b"Roots go here.")
    put(folder / "request.csr", cas.pem(der, "CERTIFICATE REQUEST"))
    return folder


def test_content_tells_what_is_a_certificate_and_the_rest_is_named(roots: Path) -> None:
    peers.tool("openssl", "openssl")
    packed = certstore.pack(collect(["certs"], roots.parent), cas.NOW)
    assert {one.subject for one in packed.anchors} == {
        "CN=Workshop of Blinking Things CA",
        "CN=Another Workshop of Things CA",
    }
    passed = {one.name for one in packed.findings if one.code == certstore.PASSED_OVER}
    assert passed == {"certs/ca.srl", "certs/README", "certs/request.csr"}
    # Every other file was read: each holds one of the two roots, or both.
    same = {one.name for one in packed.findings if one.code == "duplicate"} | {one.name for one in packed.anchors}
    files = {path.relative_to(roots.parent).as_posix() for path in roots.rglob("*") if path.is_file()} - passed
    assert {name.partition(" #")[0] for name in same} == files


@pytest.mark.parametrize("name", ["root.pem.txt", "root.cert", "4f06f81d.0", "root", "der", "windows.p7b", "text.p7c"])
def test_each_form_is_a_certificate_by_itself(roots: Path, name: str) -> None:
    for path in [one for one in sorted(roots.rglob("*"), reverse=True) if one.is_file() and one.name != name]:
        path.unlink()
    for pattern in ("certs", "certs/*", f"certs/{name}"):
        anchors = certstore.pack(collect([pattern], roots.parent), cas.NOW).anchors
        assert cas.root() in [one.der for one in anchors]
    assert parse_certificates((roots / name).read_bytes())[0].der == cas.root()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("root.cert", b"no certificate", "cannot be packed"),
        ("root.p7b", b"no certificate", "cannot be packed"),
        ("root.txt", cas.pem(cas.root())[:300], "torn|BEGIN line without"),
        (
            "root.p7b",
            subprocess.run([*PKCS7[:3], "-outform", "DER"], capture_output=True, check=False).stdout,
            "PKCS#7",
        ),
        ("root.txt", b"\xff\xfe" + cas.pem(cas.root()).decode().encode("utf-16-le"), "UTF-16"),
    ],
)
def test_what_ought_to_be_a_certificate_is_not_passed_over(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    put(tmp_path / "certs" / name, data)
    put(tmp_path / "certs" / "good.pem", cas.pem(cas.root()))
    with pytest.raises(InputError, match=message):
        certstore.pack(collect(["certs"], tmp_path), cas.NOW)


@pytest.mark.parametrize("damage", [lambda der: der[:-9], lambda der: der + b"\0\0\0", lambda der: der[:60]])
def test_damaged_pkcs7_is_refused(damage: object, roots: Path) -> None:
    data = damage((roots / "windows.p7b").read_bytes())  # type: ignore[operator]
    with pytest.raises(InputError, match="PKCS#7 that cannot be read"):
        blocks(Source("windows.p7b", data))


def test_many_files_that_are_none_are_counted(tmp_path: Path) -> None:
    for index in range(30):
        put(tmp_path / "certs" / f"note-{index:02}.txt", b"no certificate")
    put(tmp_path / "certs" / "good.pem", cas.pem(cas.root()))
    findings = certstore.pack(collect(["certs"], tmp_path), cas.NOW).findings
    assert findings[0].name == "21 more files"
    assert len(findings) == certstore.MANY


def test_links_are_followed_to_files_and_each_file_counts_once(project: Path) -> None:
    (project / "certs" / "link.pem").symlink_to("b.pem")
    (project / "certs" / "loop").symlink_to(".")
    assert names("certs", root=project) == CERTS
    (project / "certs" / "broken.pem").symlink_to("missing")
    with pytest.raises(InputError, match=r"broken\.pem' is not a file"):
        collect(["certs"], project)


def test_a_file_that_is_too_large_is_not_read_whole(project: Path) -> None:
    with (project / "certs" / "huge.pem").open("wb") as file:
        file.truncate(cert_sources.FILE_LIMIT + 1)
    with pytest.raises(InputError, match="is larger than"):
        collect(["certs"], project)


def test_a_folder_of_too_many_files_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cert_sources, "FILE_COUNT_LIMIT", 3)
    with pytest.raises(InputError, match="more than 3 files"):
        collect(["certs"], project)
    with pytest.raises(InputError, match="more than 3 files"):
        collect(["other/d.cer", "e [1].pem", "certs/a.CRT", "certs/b.pem"], project)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that even root cannot read")
def test_a_file_that_cannot_be_looked_through_is_an_error(project: Path) -> None:
    (project / "certs" / "notes").symlink_to("/proc/self/mem")
    with pytest.raises(SystemFaultError, match=r"certs/notes' cannot be read"):
        collect(["certs"], project)
