"""Chips for the tests: provisioned with images that the tests build, and nothing of what is judged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.device.flash import LAYOUTS, Layout
from otaseal.device.updater import Setup
from support.images import build_image

MakeSetup = Callable[..., Setup]


def public_pem(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> bytes:
    public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def chip(image: bytes, layout: Layout = LAYOUTS["4m2m"]) -> bytes:
    """Return a flash with `image` at 0, erased behind it."""
    return image.ljust(layout.flash_size, b"\xff")


@pytest.fixture(scope="session")
def running() -> bytes:
    return chip(build_image(seed=100, code_size=20_000))


@pytest.fixture(scope="session")
def make_setup(rsa_key: rsa.RSAPrivateKey) -> MakeSetup:
    def make(core: str = "3.1.2", **options: object) -> Setup:
        given: dict[str, object] = {"layout": LAYOUTS["4m2m"], "key": public_pem(rsa_key)} | options
        return Setup(core, **given)  # type: ignore[arg-type]

    return make
