"""An authority that lives for one rehearsal: what it issues is worth nothing to any device but the virtual one.

Everything private stays in memory, but for the moment in which the TLS library reads it from a folder of this user's.
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from .. import files
from ..pki.authority import Authority
from ..pki.profile import KeyType, Role
from ..server.tls import Credentials, server_context

__all__ = ["TemporaryAuthority"]

PRODUCT = "rehearsal"
AGE = timedelta(days=3 * 365)
"""How old the authority is, so that it can have issued certificates that have run out."""


@dataclass(frozen=True)
class TemporaryAuthority:
    """A server authority for one rehearsal, at the time `now` that its clocks show."""

    now: datetime
    authority: Authority = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> TemporaryAuthority:
        """Return a new one; P-256, because it is made for every rehearsal and the keys of RSA take their time."""
        return cls(now, Authority.create(role=Role.SERVER, product=PRODUCT, now=now - AGE, key=KeyType.P_256))

    @property
    def root(self) -> bytes:
        """The root certificate, DER: what the virtual device is told to trust."""
        return self.authority.certificate_der

    def context(self, name: str, issued_at: datetime | None = None) -> ssl.SSLContext:
        """Return the update server's own TLS, with a certificate for `name`, issued now where `issued_at` is None."""
        issued = self.authority.issue_server([name], now=issued_at or self.now, key=KeyType.P_256)
        with tempfile.TemporaryDirectory(prefix="otaseal-") as folder:
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            files.write_new(chain, issued.chain_pem)
            files.write_new(key, issued.private_key_pem, files.PRIVATE_MODE)
            return server_context(Credentials(chain, key))
