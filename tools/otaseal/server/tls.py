"""TLS as the chips need it: the context of a listener, a certificate that can be renewed under it, who the client is.

What is here is the standard library's `ssl`, tuned by facts: TLS 1.2 is always offered (F21), ChaCha20 comes before
AES-GCM and X25519 before P-256 (F27d), a session can be resumed by its id. Records of 512 bytes are OpenSSL's own doing
(F27). Nothing of HTTP is known here.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, SystemFaultError

CIPHERS = ":".join(
    f"ECDHE-{key}-{suite}"
    for suite in ("CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384")
    for key in ("ECDSA", "RSA")
)
"""In the server's order: a byte costs the chip 95 instructions with ChaCha20, 365 and 450 with AES-GCM (F27d)."""

GROUPS = ("X25519", "prime256v1", "secp384r1")
MAX_REVOKED_BYTES = 16 * 1024 * 1024


def server_context(credentials: Credentials, client_ca: Path | None = None, *, required: bool = True) -> ssl.SSLContext:
    """Return the context of a listener; with `client_ca` clients need a certificate from it, or, not `required`, may
    show one.

    Raises InputError for files that are no chain with its key, SystemFaultError when they cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    # Stateful resumption: BearSSL knows session ids and no tickets, and a ticket's key would never change here.
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_SINGLE_ECDH_USE
    context.num_tickets = 1
    # Older Pythons name one group only; OpenSSL's own list begins with X25519 and P-256, and a server takes the first.
    set_groups = getattr(context, "set_groups", None)
    if set_groups is not None:
        set_groups(":".join(GROUPS))
    if client_ca is not None:
        _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    credentials.load(context)
    return context


@dataclass
class Credentials:
    """The files of the server's chain (PEM, leaf first, without the root) and its key, and what was last read of them.

    `stamps` is what the files looked like then: a renewed certificate shows by it.
    """

    chain: Path
    key: Path
    stamps: tuple[object, ...] = field(default=(), repr=False)

    def load(self, context: ssl.SSLContext) -> None:
        """Load chain and key into `context`; raises InputError, SystemFaultError, and then changes nothing."""
        stamps = (_stamp(self.chain), _stamp(self.key))
        # A trial first: a chain that does not fit the key would be in the running context before the call fails.
        for target in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            try:
                target.load_cert_chain(self.chain, self.key, password=_no_passphrase)
            except ssl.SSLError as error:
                raise InputError(
                    f"'{self.chain}' and '{self.key}' are no certificate and its key: {error.reason or error}",
                    "give chain.pem and key.pem of one folder, as otaseal pki server makes them",
                ) from error
            except OSError as error:
                raise SystemFaultError(
                    f"'{self.chain}' or '{self.key}' cannot be read: {error.strerror}", "check path and permissions"
                ) from error
        self.stamps = stamps

    def renew(self, context: ssl.SSLContext) -> bool:
        """Load the files again if they have changed, and return whether they had; connections that are open stay.

        Raises as `load`; then the certificate in use stays in use, and the next call tries again.
        """
        if (_stamp(self.chain), _stamp(self.key)) == self.stamps:
            return False
        self.load(context)
        return True


@dataclass(frozen=True)
class ClientCertificate:
    """What the handshake proved of a client: common name, serial number and the URIs that its certificate is for.

    It is valid from `not_before` to `not_after`, in seconds since 1970, and so is the authority that issued it.
    """

    name: str
    serial: int
    uris: tuple[str, ...] = ()
    not_before: float = 0.0
    not_after: float = float("inf")

    def check_dates(self, now: float) -> None:
        """Raise InputError unless it is valid at `now`: of a session that is resumed OpenSSL checks no date."""
        if not self.not_before <= now <= self.not_after:
            what = "is not valid yet" if now < self.not_before else "has expired"
            raise InputError(f"the certificate of '{self.name}' {what}", "renew it, or check the clock")


Inspect = Callable[[Any], ClientCertificate | None]
"""Takes an `SSLObject` whose handshake is over, returns the client's certificate; raises OtasealError to refuse it."""


def client_certificate(connection: Any) -> ClientCertificate | None:
    """Return the verified certificate behind an `SSLObject` (asyncio's `ssl_object`), None if there is none.

    Raises InputError for one whose dates cannot be read.
    """
    fields = connection.getpeercert() if connection is not None else None
    if not fields:
        return None
    names = [value for part in fields.get("subject", ()) for kind, value in part if kind == "commonName"]
    uris = tuple(value for kind, value in fields.get("subjectAltName", ()) if kind == "URI")
    not_before, not_after = _dates(fields)
    # The chain is not part of a session: its dates are those of the authorities that the context has.
    issuers = [dates for subject, dates in _authorities(connection.context) if subject == fields.get("issuer")]
    if issuers:
        not_before = max(not_before, min(begin for begin, _ in issuers))
        not_after = min(not_after, max(end for _, end in issuers))
    name = names[-1] if names else ""
    return ClientCertificate(name, int(fields["serialNumber"], 16), uris, not_before, not_after)


@lru_cache(maxsize=4)
def _authorities(context: ssl.SSLContext) -> tuple[tuple[object, tuple[float, float]], ...]:
    """Return subject and dates of every authority that clients of `context` may be from; they never change."""
    return tuple((authority["subject"], _dates(authority)) for authority in context.get_ca_certs())


def _dates(fields: Any) -> tuple[float, float]:
    """Return from when to when a certificate is valid, in seconds since 1970, as `getpeercert` shows it."""
    try:
        return float(ssl.cert_time_to_seconds(fields["notBefore"])), float(ssl.cert_time_to_seconds(fields["notAfter"]))
    except (KeyError, ValueError) as error:
        raise InputError("the dates of a certificate cannot be read", "issue it anew") from error


@dataclass
class Revocations:
    """The serial numbers of one role in a store's revoked.json; the file is read again when it changes.

    Without a `path` nothing is revoked.
    """

    path: Path | None
    role: str
    serials: frozenset[int] = frozenset()
    stamp: object = field(default=None, repr=False)

    def holds(self, certificate: ClientCertificate) -> bool:
        """Tell whether `certificate` is revoked; raises as `load`: who cannot be checked must not be let in."""
        self.load()
        return certificate.serial in self.serials

    def load(self) -> None:
        """Read the list if it has changed; raises InputError when it is damaged or not there."""
        if self.path is None:
            return
        stamp = _stamp(self.path)
        if stamp is None:
            raise InputError(
                f"there is no list '{self.path}' of revoked certificates",
                "name it with --revoked (otaseal pki list writes it anew in its store), or say --no-revocations",
            )
        if stamp != self.stamp:
            self.serials = _parse_revoked(files.read_bounded(self.path, MAX_REVOKED_BYTES, "revocations"), self)
            self.stamp = stamp


def _parse_revoked(data: bytes, where: Revocations) -> frozenset[int]:
    try:
        return frozenset(int(serial, 16) for serial in json.loads(data)["revoked"][where.role])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"the list '{where.path}' of revoked certificates is damaged", "otaseal pki revoke writes it again"
        ) from error


def _load_ca(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise InputError(f"'{client_ca}' holds no CA certificate in PEM", "give the authority's certificate.pem") from (
            error
        )
    except OSError as error:
        raise SystemFaultError(f"'{client_ca}' cannot be read: {error.strerror}", "check path and permissions") from (
            error
        )


def _no_passphrase() -> bytes:
    # OpenSSL would ask at the terminal, and a service that starts by itself has none.
    raise InputError("the server's key is locked by a passphrase", "give serve a key without one, with mode 0600")


def _stamp(path: Path) -> object:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None
