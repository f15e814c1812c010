"""What a signing key can do, wherever it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


class Signer(Protocol):
    """Anything that signs with one RSA key: a file, an environment variable, a token."""

    @property
    def public_key(self) -> RSAPublicKey:
        """The public half of the key."""

    def sign(self, payload: bytes) -> bytes:
        """Return the RSASSA-PKCS1-v1_5 signature with SHA-256 over `payload`, as long as the modulus."""
