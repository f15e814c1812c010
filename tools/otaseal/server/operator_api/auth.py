"""Authentication and authorisation of operators: by the certificate of the connection, by a token, or by one of an
issuer that the store trusts.

Valid credentials are always accepted. After too many failures from one address each further one is answered with a
delay: 256 random bits cannot be guessed, but attempts should be seen, and cost time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...errors import InputError, OtasealError
from ...pki import scope
from ...store.token_uses import TokenUses
from ...store.tokens import Token, TokenFile
from ..failures import FAILURES, FailureCounter
from ..telemetry import Telemetry
from ..tls import ClientCertificate
from .oidc import Bearer, InvalidTokenError, Oidc, is_token
from .uploads import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

HOLD_SECONDS = 1.0
BEARER = "otaseal.bearer"
"""Where a request's scope has the Bearer whose token an issuer has signed."""
HELD = 429
"""The status, sent after a delay, for who shows wrong credentials too often."""


@dataclass(frozen=True)
class Caller:
    """Who asks, by a `kind` of credentials, "certificate", "token" or "oidc", and its name, and for what these are.

    `identifier` is that of the store's token, or of the trust by which an issuer's is taken: several tokens may have
    one name, and an issuer can make up subjects. "" for a certificate.
    """

    kind: str
    name: str
    scopes: tuple[scope.Scope, ...]
    identifier: str = ""

    @property
    def key(self) -> str:
        """How a caller's share of what there is for all is counted: no other one's has this key."""
        return f"{self.kind}:{self.identifier or self.name}"

    def covers(self, product: str | None, channel: str | None) -> bool:
        """Return whether `require` would allow that."""
        return any(allowed.covers(product, channel) for allowed in self.scopes)

    def sees(self, token: Token) -> bool:
        """Return whether a token is listed for who asks: their own, and those of what they may change all of."""
        whole = (one for one in self.scopes if one.channel == scope.ANY and one.product in (scope.ANY, token.product))
        return (self.kind, self.identifier) == ("token", token.id) or any(whole)

    def require(self, product: str | None, channel: str | None) -> str:
        """Return who may act on a channel, a product, or the server (both None), as `kind:name`; raises Refused."""
        if not self.covers(product, channel):
            scopes = ", ".join(map(str, self.scopes))
            message = f"{self.kind} '{self.name}' is not for {_target(product, channel)}, but for {scopes}"
            raise Refused(403, message, "use one that is, or make one")
        return f"{self.kind}:{self.name}"


@dataclass
class Access:
    """Decides what a request may do, by its client's certificate or the tokens of a store."""

    tokens: TokenFile
    oidc: Oidc
    uses: TokenUses
    telemetry: Telemetry
    failures: FailureCounter = field(default_factory=FailureCounter)

    async def identify(self, request: Request) -> None:
        """Verify what an issuer has signed, for whose keys a request may have to wait; raises Refused."""
        token = secret_of(request)
        if not is_token(token) or certificate_of(request) is not None:
            return
        try:
            bearer = await self.oidc.verify(token)
        except InvalidTokenError as error:
            raise self._refused(request, error.message, error.hint, error.reason) from error
        request.scope[BEARER] = bearer

    def caller(self, request: Request) -> Caller:
        """Return who asks: by the certificate of the connection, else as `identify` found, else by the token.

        What an upload was begun with may have been revoked when its last byte has come: whoever changes something then
        asks again. Raises Refused.
        """
        certificate, bearer = certificate_of(request), request.scope.get(BEARER)
        if certificate is not None:
            return of_certificate(certificate)
        if bearer is None:
            return of_token(self.token(request, secret_of(request)))
        try:
            return of_bearer(self.oidc.again(bearer))
        except InvalidTokenError as error:  # its trust was removed meanwhile
            raise self._refused(request, error.message, error.hint, error.reason) from error

    def authorise(self, request: Request, product: str | None, channel: str | None) -> str:
        """Return who may act on a channel, a product, or the server (both None), as `kind:name`; raises Refused."""
        return self.caller(request).require(product, channel)

    def token(self, request: Request, secret: str) -> Token:
        """Return the token with this secret, "" for none; raises Refused, and counts that against the address."""
        token = self.tokens.find(secret, datetime.now(timezone.utc)) if secret else None
        if token is not None:
            self.uses.note(token.id)
            return token
        raise self._refused(request, "no valid token", "otaseal token new makes one on the server; it may have expired")

    def _refused(self, request: Request, message: str, hint: str, reason: str | None = None) -> Refused:
        """Count a failure, and return what to raise; the log gets the `reason`."""
        address = request.client.host if request.client else ""
        self.telemetry.count("otaseal_authentication_failures_total")
        if self.failures.add(address) > FAILURES:  # no event each: whoever guesses does not write the log
            return Refused(
                HELD, "too many wrong credentials from this address", "use a valid token: it is let in at once"
            )
        self.telemetry.event("refused", address=address, path=request.url.path[:256], reason=reason)
        return Refused(401, message, hint)


def certificate_of(request: Request) -> ClientCertificate | None:
    """Return the certificate of a request's connection, None for none.

    Raises Refused where it is not good any more: it may have been revoked since the handshake.
    """
    try:
        certificate: ClientCertificate | None = request.scope["state"]["certificate"]()
    except OtasealError as error:
        raise Refused(401, error.message, error.hint or "") from error
    return certificate


def secret_of(request: Request) -> str:
    """Return the token that a request shows, "" for none."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def of_certificate(certificate: ClientCertificate) -> Caller:
    """Return who shows this certificate; raises Refused for scopes that cannot be read."""
    try:
        return Caller("certificate", certificate.name, scope.of_uris(certificate.uris))
    except InputError as error:
        raise Refused(403, error.message, error.hint) from error


def of_token(token: Token) -> Caller:
    """Return who shows this token."""
    return Caller("token", token.name, (token.scope,), token.id)


def of_bearer(bearer: Bearer) -> Caller:
    """Return who shows a token that an issuer has signed."""
    return Caller("oidc", bearer.name, bearer.allowed, bearer.trusts[0].id)


def _target(product: str | None, channel: str | None) -> str:
    if product is None:
        return "every product"
    return f"product '{product}'" + (f", channel '{channel}'" if channel else "")
