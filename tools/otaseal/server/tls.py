"""TLS as the chips need it: the context of a listener, the server's certificate, and the check of a client's.

What is here is the standard library's `ssl`, tuned by facts: TLS 1.2 is always offered (F21), ChaCha20 comes before
AES-GCM and X25519 before P-256 (F27d), a session can be resumed by its id. Records of 512 bytes are OpenSSL's own doing
(F27). Nobody but this machine itself is told something without TLS.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, OtasealError, SystemFaultError
from ..pki.index import check_revoked
from .session_cache import MAX_CERTIFIED_SESSIONS, MAX_SESSIONS, keep_sessions
from .telemetry import Telemetry

CIPHERS = ":".join(
    f"ECDHE-{key}-{suite}"
    for suite in ("CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384")
    for key in ("ECDSA", "RSA")
)
"""In the server's order: a byte costs the chip 95 instructions with ChaCha20, 365 and 450 with AES-GCM (F27d)."""

GROUPS = ("X25519", "prime256v1", "secp384r1")
MAX_REVOKED_BYTES = 16 * 1024 * 1024


def is_this_machine(host: str) -> bool:
    """Return whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_context(credentials: Credentials, client_ca: Path | None = None, *, required: bool = True) -> ssl.SSLContext:
    """Return the context of a listener, whose clients may show a certificate from `client_ca`, or, `required`, have to.

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
    # A session holds its client's certificate, and takes six times the memory then.
    keep_sessions(context, MAX_SESSIONS if client_ca is None else MAX_CERTIFIED_SESSIONS)
    # Older Pythons name one group only; OpenSSL's own list begins with X25519 and P-256, and a server takes the first.
    set_groups = getattr(context, "set_groups", None)
    if set_groups is not None:
        set_groups(":".join(GROUPS))
    credentials.load([context])
    if client_ca is not None:
        _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


@dataclass
class Credentials:
    """The files of the server's chain (PEM, leaf first, without the root) and its key, and their stamps when read."""

    chain: Path
    key: Path
    _stamps: tuple[object, ...] = field(default=(), repr=False)

    def load(self, contexts: Iterable[ssl.SSLContext]) -> None:
        """Load chain and key into `contexts`; raises InputError, SystemFaultError, and then changes none of them."""
        stamps = self._current_stamps()
        # A trial first: a chain that does not fit the key would be in the running context before the call fails.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *contexts):
            try:
                context.load_cert_chain(self.chain, self.key, password=_no_passphrase)
            except ssl.SSLError as error:
                raise InputError(
                    f"'{self.chain}' and '{self.key}' are no certificate and its key: {error.reason or error}",
                    "give chain.pem and key.pem of one folder, as otaseal pki server makes them",
                ) from error
            except OSError as error:
                unreadable = self.key if os.access(self.chain, os.R_OK) else self.chain
                raise SystemFaultError(
                    f"'{unreadable}' cannot be read: {error.strerror}", "check path and permissions"
                ) from error
        self._stamps = stamps

    def renew(self, contexts: Iterable[ssl.SSLContext]) -> bool:
        """Load files that have changed, and return whether they had; raises as `load`, which the next call repeats."""
        if self._current_stamps() == self._stamps:
            return False
        self.load(contexts)
        return True

    def _current_stamps(self) -> tuple[object, ...]:
        return files.stamp(self.chain), files.stamp(self.key)


@dataclass(frozen=True)
class ClientCertificate:
    """A verified client certificate; its dates, in seconds since 1970, are within those of its issuer."""

    name: str
    serial: int
    uris: tuple[str, ...] = ()
    not_before: float = 0.0
    not_after: float = float("inf")

    def check_dates(self, now: float) -> None:
        """Raise InputError unless it is valid at `now`: OpenSSL checks no date of a session that is resumed."""
        if not self.not_before <= now <= self.not_after:
            state = "is not valid yet" if now < self.not_before else "has expired"
            raise InputError(f"the certificate of '{self.name}' {state}", "renew it, or check the clock")


Inspect = Callable[[Any], ClientCertificate | None]
"""Takes an `SSLObject` whose handshake is over, returns the client's certificate; raises OtasealError to refuse it."""


@dataclass
class ClientCheck:
    """An `Inspect` that refuses certificates by their dates, and by `role`'s entries in a PKI store's revoked.json."""

    path: Path | None
    role: str
    telemetry: Telemetry
    _revoked: frozenset[int] = frozenset()
    _stamp: object = field(default=None, repr=False)

    def __call__(self, connection: Any) -> ClientCertificate | None:
        """Return the client's certificate, None if it has none; raises OtasealError to refuse it."""
        certificate = _client_certificate(connection)
        if certificate is None:
            return None
        serial = f"{certificate.serial:x}"
        try:
            certificate.check_dates(time.time())
        except InputError as error:
            self.telemetry.event("expired", name=certificate.name, serial=serial, message=error.message)
            raise
        try:
            self.load()
        except OtasealError as error:
            self.telemetry.alarm("revocations", message=error.message)
            raise
        if certificate.serial in self._revoked:
            self.telemetry.event("revoked", name=certificate.name, serial=serial)
            raise InputError(f"the certificate of '{certificate.name}' is revoked", "issue it a new one")
        return certificate

    def load(self) -> None:
        """Read the list if it has changed; raises LaterFormatError, InputError when it is damaged or missing."""
        if self.path is None:
            return
        stamp = files.stamp(self.path)
        if stamp is None:
            raise InputError(
                f"there is no list '{self.path}' of revoked certificates",
                "name it with --revoked (otaseal pki list writes it anew in its store), or say --no-revocations",
            )
        if stamp == self._stamp:
            return
        data = files.read_bounded(self.path, MAX_REVOKED_BYTES, "revocations")
        check_revoked(data)
        try:
            self._revoked = frozenset(int(serial, 16) for serial in json.loads(data)["revoked"][self.role])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"the list '{self.path}' of revoked certificates is damaged", "otaseal pki revoke writes it again"
            ) from error
        self._stamp = stamp


def _client_certificate(connection: Any) -> ClientCertificate | None:
    """Return the verified certificate behind an `SSLObject`, None if there is none; raises InputError for its dates."""
    fields = connection.getpeercert()
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


def _load_ca(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        hint = "give the authority's certificate.pem"
        raise InputError(f"'{client_ca}' holds no CA certificate in PEM", hint) from error
    except OSError as error:
        raise SystemFaultError(f"'{client_ca}' cannot be read: {error.strerror}", "check path and permissions") from (
            error
        )


def _no_passphrase() -> bytes:
    # OpenSSL would ask at the terminal, and a service that starts by itself has none.
    raise InputError("the server's key is locked by a passphrase", "give serve a key without one, with mode 0600")
