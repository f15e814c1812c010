"""A PlatformIO project without otaseal, and a home directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Command, otaseal

__all__ = ["INI", "NAMES", "OPEN", "blink", "config", "home", "otaseal", "tree"]


INI = "; my project\n[env:nodemcuv2]\nplatform = espressif8266\nboard = nodemcuv2  ; mine\nframework = arduino\n"
NAMES = ("--server-name", "192.0.2.7", "--server-name", "update.local")
OPEN = ("init", *NAMES, "--no-passphrase")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below `folder`: files with their content."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory beside the project, empty."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def blink(tmp_path: Path, otaseal: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and the current directory in it."""
    (tmp_path / "blink").mkdir()
    (tmp_path / "blink" / "platformio.ini").write_text(INI)
    monkeypatch.chdir(tmp_path / "blink")
    return tmp_path / "blink"


def config(home: Path) -> Path:
    return home / ".config" / "otaseal"
