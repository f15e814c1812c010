"""Fixtures for all tests. Keys are made here, at run time: none is ever committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, settings

from support.rsa_keys import make_rsa
from support.servers import Running, StartServer, World, start

# How long an example takes says more of the machine than of the code.
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("exploring")


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return make_rsa(2048)


@pytest.fixture(scope="session")
def other_rsa_key() -> rsa.RSAPrivateKey:
    return make_rsa(2048, 1)


@pytest.fixture(scope="session")
def rsa_keys() -> Callable[..., rsa.RSAPrivateKey]:
    return make_rsa


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> Iterator[Running]:
    """Return one update server for all tests of a module: what is published goes to a channel of the test's own."""
    folder = tmp_path_factory.mktemp("server")
    running = start(World.create(folder, rsa_key), folder / "store")
    yield running
    running.end()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> World:
    """Return what servers have: tests add to it, and change nothing that is there."""
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
        one.end()
