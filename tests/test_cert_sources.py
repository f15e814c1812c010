"""Which files are taken for certificates, in which order, and which stop the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from otaseal import cert_sources
from otaseal.cert_sources import collect
from otaseal.errors import InputError, KeyRefusedError, SystemFaultError
from support import cas

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
    sources = collect(patterns, root)
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


@pytest.mark.parametrize("pattern", ["missing.pem", "certs/*.key", "empty", "certs/b.pem/x", "nowhere/**", "[x"])
def test_a_pattern_that_matches_nothing_is_an_error(project: Path, pattern: str) -> None:
    (project / "empty").mkdir()
    with pytest.raises(InputError, match="no certificate file matches") as caught:
        collect(["certs", pattern], project)
    assert pattern in caught.value.message


@pytest.mark.parametrize("pattern", ["", " "])
def test_an_empty_pattern_is_not_the_whole_project(project: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="is no path"):
        collect([pattern], project)


def test_absolute_paths_and_home(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = project.parent / "elsewhere"
    put(outside / "x.pem", b"x")
    assert [source.name for source in collect([str(outside)], project)] == [(outside / "x.pem").as_posix()]
    assert [source.name for source in collect([str(outside / "*.pem")], project)] == [(outside / "x.pem").as_posix()]
    assert [source.name for source in collect([str(project / "certs")], project)] == CERTS
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


def test_links_are_followed_to_files_and_each_file_counts_once(project: Path) -> None:
    (project / "certs" / "link.pem").symlink_to("b.pem")
    (project / "certs" / "loop").symlink_to(".")
    assert len(collect(["certs"], project)) == len(CERTS)
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
