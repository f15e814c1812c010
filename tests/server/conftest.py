"""Servers for these tests: one for all that leave it as it is, and more for those that need their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.servers import Running, StartServer, World, start


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> World:
    return World.create(tmp_path_factory.mktemp("world"), rsa_key)


@pytest.fixture(scope="module")
def shared_server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Return what starts a server for all tests of a module; none may have crashed at the end."""
    with contextlib.ExitStack() as stack:

        def begin(*options: str | Path, **others: Any) -> Running:
            running = start(world, tmp_path_factory.mktemp("shared") / "store", *options, **others)
            stack.callback(_end, running)
            return running

        yield begin


def _end(running: Running) -> None:
    if running.process.poll() is None:
        assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()
    assert running.process.stdout is not None
    running.process.stdout.close()


@pytest.fixture
def start_server(world: World, tmp_path: Path) -> Iterator[StartServer]:
    """Return what starts a server with these options; all are ended after the test, and none may have crashed."""
    started: list[Running] = []

    def begin(*options: str | Path, store: str = "store", **others: Any) -> Running:
        started.append(start(world, tmp_path / store, *options, **others))
        return started[-1]

    yield begin
    for one in started:
        _end(one)


@pytest.fixture
def server(start_server: StartServer) -> Running:
    """Return a server without releases."""
    return start_server()
