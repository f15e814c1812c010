"""RSA keys made at run time, once each for a whole run: generating one takes tenths of a second."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def make_rsa(bits: int, index: int = 0) -> rsa.RSAPrivateKey:
    """Return an RSA private key of `bits` bits; another `index` gives another key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)
