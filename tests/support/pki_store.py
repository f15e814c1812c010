"""A folder of authorities as a user has it, locked, with a server and an operator whose certificates are old."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from otaseal.pki.store import Store
from support.command import Command

NOW = datetime.now(timezone.utc)
LONG_AGO = NOW - timedelta(days=270)
PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, locked, with a server and an operator of 270 days ago."""
    made = Store.create(tmp_path_factory.mktemp("pki") / "blink", "blink", NOW - timedelta(days=410), PASSPHRASE)
    made.issue_server("main", ["192.0.2.7", "update.local"], now=LONG_AGO)
    made.issue_operator("alice", now=LONG_AGO)
    return made.directory


@pytest.fixture
def store(made_once: Path, tmp_path: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store in the user's configuration, and its passphrase in the variable."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OTASEAL_PASSPHRASE", PASSPHRASE.decode())
    directory = tmp_path / "config" / "otaseal" / "pki" / "blink"
    shutil.copytree(made_once, directory)
    return directory
