"""Fixtures for all tests. Keys are made here, at run time: none is ever committed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def make_rsa(bits: int, index: int = 0) -> rsa.RSAPrivateKey:
    """Return an RSA private key of `bits` bits; another `index` gives another key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return make_rsa(2048)


@pytest.fixture(scope="session")
def other_rsa_key() -> rsa.RSAPrivateKey:
    return make_rsa(2048, 1)


@pytest.fixture(scope="session")
def rsa_keys() -> Callable[..., rsa.RSAPrivateKey]:
    return make_rsa
