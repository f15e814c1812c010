"""Who looks at the page, and whether a form that is posted comes from a page of ours (ADR 0036).

A browser sends cookies and certificates by itself, whoever made it ask. So a form brings a proof which only our own
pages hold, and the browser has to say that a page of ours sent it.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from ..operator_api.auth import Access, Caller, certificate_of, of_certificate, of_token
from ..operator_api.uploads import Refused, read_body
from .sessions import Sessions

if TYPE_CHECKING:
    from starlette.requests import Request

COOKIE = "__Secure-otaseal-page"
PATH = "/page"
"""Of every address of the page, and of the cookie: a cookie ignores ports, and devices ask for nothing below it."""
PROOF = "proof"
MAX_FORM = 64 * 1024
MAX_FIELDS = 64
FORM, FILES = "application/x-www-form-urlencoded", "multipart/form-data"
MAX_FILES = 2


class Visitor(NamedTuple):
    """Who is signed in, and the `proof` that forms of this person bring; `session` is the cookie's secret, "" without.

    Who is known by a certificate has no session, and cannot sign out.
    """

    caller: Caller
    proof: str
    session: str = ""


def recognise(access: Access, sessions: Sessions, request: Request) -> Visitor | None:
    """Return who asks, None for somebody who has to sign in; raises Refused for scopes that cannot be read."""
    certificate = certificate_of(request)
    if certificate is not None:
        return Visitor(of_certificate(certificate), sessions.proof(f"certificate {certificate.serial}"))
    secret = request.cookies.get(COOKIE, "")
    identifier = sessions.find(secret) if secret else None
    if identifier is None:
        return None
    token = access.tokens.get(identifier, datetime.now(timezone.utc))
    if token is None:
        sessions.end(secret)
        return None
    access.uses.note(token.id)
    return Visitor(of_token(token), sessions.proof(f"session {secret}"), secret)


async def read_upload(request: Request, limit: int) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the fields and the files, of `limit` bytes, of a form that is posted with files.

    Raises Refused for what is none of ours.
    """
    from starlette.formparsers import MultiPartException, MultiPartParser

    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FILES:
        raise Refused(415, f"a body of type '{kind[:64]}'", "use the forms of the page")
    body = await read_body(request, limit + MAX_FORM)

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(request.headers, whole(), max_files=MAX_FILES, max_fields=MAX_FIELDS).parse()
    except (MultiPartException, ValueError) as error:
        raise Refused(400, "the form cannot be read", "use the forms of the page") from error
    try:
        items = form.multi_items()
        files = {name: await value.read() for name, value in items if not isinstance(value, str)}
        return {name: value for name, value in items if isinstance(value, str)}, files
    finally:
        await form.close()


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that is posted; raises Refused for what is none of ours."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise Refused(415, f"a body of type '{kind[:64]}'", "use the forms of the page")
    try:
        text = (await read_body(request, MAX_FORM)).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refused(400, "the form cannot be read", "use the forms of the page") from error
    return dict(pairs)


def check_origin(request: Request) -> None:
    """Raise Refused unless the browser says that a page of this very origin posts."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = f"https://{request.headers.get('host', '')}"
    if (site is None and origin is None) or site not in (None, "same-origin") or origin not in (None, own):
        raise Refused(
            403,
            f"a form from '{(origin or site or 'somewhere')[:80]}'",
            "open the page itself, and use its own forms; a program uses the API",
        )


def check_proof(visitor: Visitor, form: dict[str, str]) -> None:
    """Raise Refused unless a form was made for who posts it."""
    if not hmac.compare_digest(form.get(PROOF, "").encode(), visitor.proof.encode()):
        raise Refused(403, "this form is out of date: the server or your session began anew", "open it again")
