"""Authorities and keys that live for one rehearsal: what they sign is worth nothing to any device but the virtual one.

Everything private stays in memory, but for the moment in which the TLS library reads it from a folder of this user's.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..pki.authority import Authority, Issued
from ..pki.profile import KeyType, Role
from ..server.tls import Credentials, server_context

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

__all__ = ["StandIn", "ThrowAwayKey", "context_of"]

PRODUCT = "rehearsal"
AGE = timedelta(days=3 * 365)
"""How old the authority is, so that it can have issued certificates that have run out."""


@dataclass(frozen=True)
class StandIn:
    """A server authority for one rehearsal, at the time `now` that its clocks show."""

    now: datetime
    authority: Authority = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> StandIn:
        """Return a new one; P-256, because it is made for every rehearsal and the keys of RSA take their time."""
        return cls(now, Authority.create(role=Role.SERVER, product=PRODUCT, now=now - AGE, key=KeyType.P_256))

    @property
    def root(self) -> bytes:
        """The root certificate, DER: what the virtual device is told to trust."""
        return self.authority.certificate_der

    def issue(self, names: Sequence[str], now: datetime | None = None) -> Issued:
        """Return a server certificate for `names` as of `now`, which may be long ago."""
        return self.authority.issue_server(list(names), now=now or self.now, key=KeyType.P_256)

    def context(self, names: Sequence[str]) -> ssl.SSLContext:
        """Return the TLS of a server with a certificate for `names`."""
        return context_of(self.issue(names))


@dataclass(frozen=True)
class ThrowAwayKey:
    """A signing key as `image.Signer` has it, of the size of the product's own."""

    private: RSAPrivateKey = field(repr=False)

    @classmethod
    def like(cls, key: RSAPublicKey) -> ThrowAwayKey:
        """Return a new key of the same size, so that its PEM has the same length."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return cls(rsa.generate_private_key(public_exponent=65537, key_size=key.key_size))

    @property
    def public_key(self) -> RSAPublicKey:
        """The public half."""
        return self.private.public_key()

    def sign(self, payload: bytes) -> bytes:
        """Return the signature over `payload` (F1)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        return self.private.sign(payload, padding.PKCS1v15(), hashes.SHA256())


def context_of(issued: Issued) -> ssl.SSLContext:
    """Return the update server's own TLS context with this certificate and key."""
    with tempfile.TemporaryDirectory(prefix="otaseal-") as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        files.write_new(chain, issued.chain_pem)
        files.write_new(key, issued.private_key_pem, files.PRIVATE_MODE)
        return server_context(Credentials(chain, key))
