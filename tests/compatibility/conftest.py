"""The world in which kept stores are served and kept devices ask."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.servers import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> World:
    return World.create(tmp_path_factory.mktemp("world"), rsa_key)
