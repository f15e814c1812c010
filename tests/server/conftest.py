"""Servers for these tests: one for all that leave it as it is, and more for those that need their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.servers import Running, StartServer, World, start


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> World:
    return World.create(tmp_path_factory.mktemp("world"), rsa_key)


@pytest.fixture
def start_server(world: World, tmp_path: Path) -> Iterator[StartServer]:
    """Return what starts a server with these options; all are ended after the test, and none may have crashed."""
    started: list[Running] = []

    def begin(*options: str | Path, store: str = "store", **others: Any) -> Running:
        started.append(start(world, tmp_path / store, *options, **others))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            assert one.stop() == 0
        assert "Traceback" not in one.log.read_text()
        assert one.process.stdout is not None
        one.process.stdout.close()


@pytest.fixture
def server(start_server: StartServer) -> Running:
    """Return a server without releases."""
    return start_server()
