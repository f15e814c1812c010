"""Authentication and authorisation of operators, by the certificate of the connection or by a token.

Valid credentials are always accepted. After too many failures from one address each further one is answered with a
delay: 256 random bits cannot be guessed, but attempts should be seen, and cost time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...errors import InputError
from ...pki import scope
from ...store.tokens import Token, TokenFile
from ..failures import FAILURES, FailureCounter
from ..telemetry import Telemetry
from ..tls import ClientCertificate
from .uploads import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

HOLD_SECONDS = 1.0


@dataclass
class Access:
    """Decides what a request may do, by its client's certificate or the tokens of a store."""

    tokens: TokenFile
    telemetry: Telemetry
    failures: FailureCounter = field(default_factory=FailureCounter)

    def authorise(self, request: Request, product: str | None, channel: str | None) -> str:
        """Return who may act on a channel, a product, or the server (both None), as `kind:name`; raises Refused."""
        certificate: ClientCertificate | None = request.scope["state"]["certificate"]
        if certificate is not None:
            kind, name, scopes = "certificate", certificate.name, _scopes(certificate)
        else:
            token = self._token(request)
            kind, name, scopes = "token", token.name, (token.scope,)
        if not any(allowed.covers(product, channel) for allowed in scopes):
            message = f"{kind} '{name}' is not for {_target(product, channel)}, but for {', '.join(map(str, scopes))}"
            raise Refused(403, message, "use one that is, or make one")
        return f"{kind}:{name}"

    def _token(self, request: Request) -> Token:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        token = self.tokens.find(secret, datetime.now(timezone.utc)) if scheme.lower() == "bearer" and secret else None
        if token is not None:
            return token
        address = request.client.host if request.client else ""
        self.telemetry.count("otaseal_authentication_failures_total")
        if self.failures.add(address) > FAILURES:  # no event each: whoever guesses does not write the log
            raise Refused(
                429, "too many wrong credentials from this address", "use a valid token: it is let in at once"
            )
        self.telemetry.event("refused", address=address, path=request.url.path[:256])
        raise Refused(401, "no valid token", "otaseal token new makes one on the server; it may have expired")


def _scopes(certificate: ClientCertificate) -> tuple[scope.Scope, ...]:
    try:
        return scope.of_uris(certificate.uris)
    except InputError as error:
        raise Refused(403, error.message, error.hint) from error


def _target(product: str | None, channel: str | None) -> str:
    if product is None:
        return "every product"
    return f"product '{product}'" + (f", channel '{channel}'" if channel else "")
