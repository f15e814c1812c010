"""A chip that runs something, and how it is set up to judge an update."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.updater import Setup
from support.chips import chip, public_pem
from support.images import build_image


@pytest.fixture(scope="session")
def running() -> bytes:
    return chip(build_image(seed=100, code_size=20_000))


@pytest.fixture(scope="session")
def make_setup(rsa_key: rsa.RSAPrivateKey) -> Callable[..., Setup]:
    def make(core: str = "3.1.2", **options: object) -> Setup:
        given: dict[str, object] = {"layout": LAYOUTS["4m2m"], "key": public_pem(rsa_key)} | options
        return Setup(core, **given)  # type: ignore[arg-type]

    return make
