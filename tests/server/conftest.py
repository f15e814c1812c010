"""Servers for these tests: one for all that leave it as it is, and more for those that need their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.servers import Running, StartServer, World, publish, start


@pytest.fixture(scope="session")
def shared_server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Return what starts a server for many tests; none may have crashed at the end."""
    with contextlib.ExitStack() as stack:

        def begin(*options: str | Path, **others: Any) -> Running:
            running = start(world, tmp_path_factory.mktemp("shared") / "store", *options, **others)
            stack.callback(running.end)
            return running

        yield begin


@pytest.fixture(scope="session")
def bare(shared_server: StartServer) -> Running:
    """Return a server without releases, for all tests that leave it as it is."""
    return shared_server()


@pytest.fixture(scope="session")
def released(shared_server: StartServer) -> Running:
    """Return a server with firmware(1) as its one release 1.0, for all tests that leave it as it is."""
    running = shared_server()
    publish(running, "1.0", running.world.firmware(1).signed)
    return running


@pytest.fixture
def server(start_server: StartServer) -> Running:
    """Return a server without releases, for one test."""
    return start_server()
