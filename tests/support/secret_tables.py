"""The tables of secrets, kept by each backend in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.store.postgresql.database import Database
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.sql import Tables
from support.filled_store import BACKENDS, new_location


@pytest.fixture(params=BACKENDS)
def either_secrets(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tables]:
    """Return the secrets of an empty store."""
    if request.param == "files":
        with Secrets(tmp_path / SECRETS_FILE) as secrets:
            yield secrets
        return
    with Database(new_location(request.param, tmp_path), "test") as database:
        database.open(create=True)
        yield database
