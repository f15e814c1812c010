"""`otaseal sbom` with what is no SBOM, and no release."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Command, otaseal

__all__ = ["otaseal"]

SERVER = ("--server", "https://localhost:1", "--product", "blink")


@pytest.mark.parametrize(("content", "wrong"), [("[" * 100_000, "is not JSON"), ("{}", "this is no SBOM")])
def test_the_file_that_is_no_sbom_is_named(content: str, wrong: str, tmp_path: Path, otaseal: Command) -> None:
    (tmp_path / "parts.json").write_text(content)
    refused = otaseal("sbom", tmp_path / "parts.json").failed(1, wrong)
    assert f"'{tmp_path / 'parts.json'}': " in refused.err


@pytest.mark.parametrize(
    "command", [("sbom", "--version"), ("delete",), ("notes", "--severity", "fix"), ("reproduce", "x", "--version")]
)
def test_what_is_no_version_is_not_asked_for(
    command: tuple[str, ...], tmp_path: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens at the server's address: the error comes before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTASEAL_TOKEN", "otaseal_" + "a" * 43)
    (tmp_path / "x").write_bytes(b"firmware")
    otaseal(*command, "../1.0", *SERVER).failed(1, "version '../1.0' is not usable")
