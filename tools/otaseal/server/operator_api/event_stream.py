"""An answer that goes on until its connection ends, or the credentials of who asked: hints of what changed, as
server-sent events.

The connection is then a listener's, and no request's: uvicorn and its request are let go of.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...errors import ConflictError, OtasealError, SystemFaultError
from ...store.hashed_secrets import digest
from ..changes import Changes, Subscription
from . import auth
from .auth import HELD, Access, Caller, certificate_of
from .uploads import Refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "connection": "close",
}


def answer(changes: Changes, request: Request, subscription: Subscription) -> Response:
    """Let who asks listen; raises Refused where too many do.

    What is returned is for who counts answers: by then the connection has been handed on, and nobody is sent it.
    """
    from starlette.responses import Response

    if request.method != "HEAD":
        try:
            listener = changes.listen(subscription, request.headers.get("last-event-id", ""))
        except ConflictError as error:
            raise Refused(HELD, error.message, error.hint or "") from error
        except SystemFaultError as error:  # no fault of ours, and no alarm: many listen
            raise Refused(503, error.message, error.hint or "") from error
        lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        request.scope["state"]["hand_on"](listener, f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
    return Response(headers=HEADERS)


def subscription(access: Access, request: Request, product: str | None) -> Subscription:
    """Return what somebody may listen to as long as the credentials of this request are good for it; raises Refused."""
    certificate, bearer = certificate_of(request), request.scope.get(auth.BEARER)
    if certificate is not None:
        again, shown = request.scope["state"]["certificate"], f"certificate {certificate.serial}"
        who = auth.of_certificate(certificate).key
        return Subscription(who, shown, product, _covering(product, lambda: auth.of_certificate(again())))
    secret = auth.secret_of(request)
    if bearer is None:
        return of_token(access, access.token(request, secret).id, product)

    def find() -> Caller | None:
        return None if bearer.has_ended else auth.of_bearer(access.oidc.again(bearer))

    return Subscription(auth.of_bearer(bearer).key, digest(secret), product, _covering(product, find))


def of_token(access: Access, identifier: str, product: str | None) -> Subscription:
    """Return what somebody may listen to as long as the token with this id is good for it."""

    def find() -> Caller | None:
        token = access.tokens.get(identifier, datetime.now(timezone.utc))
        return None if token is None else auth.of_token(token)

    who = f"token:{identifier}"  # as `Caller.key`
    return Subscription(who, who, product, _covering(product, find))


def _covering(product: str | None, find: Callable[[], Caller | None]) -> Callable[[], bool]:
    """Return what tells whether who shows credentials may still read a product, None for all."""

    def holds() -> bool:
        try:
            caller = find()
        except OtasealError:
            return False
        return caller is not None and caller.covers(product, None)

    return holds
