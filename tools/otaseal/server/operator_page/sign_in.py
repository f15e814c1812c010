"""Signing in with a token, which is exchanged for a cookie, and signing out.

The token comes in the body of a form, and is kept nowhere: not in an address, and not by the browser for the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ..operator_api.auth import HELD
from ..operator_api.uploads import Refused
from .page import HEADERS, Page, Visit
from .visitors import COOKIE, PATH, check_origin, read_form, recognise

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

FORM = PATH + "/sign-in"
MAX_NEXT = 2048


def redirect(request: Request) -> Response:
    """Return the way to the sign-in, which leads back to what was asked for."""
    from starlette.responses import RedirectResponse

    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    then = "" if request.method == "POST" or target == PATH + "/" else f"?next={quote(target, safe='')}"
    return RedirectResponse(FORM + then, 303, HEADERS)


async def show(page: Page, request: Request) -> Response:
    """Return the form; who is signed in needs none."""
    from starlette.responses import RedirectResponse

    then = _within(request.query_params.get("next", ""))
    if recognise(page.context.access, page.sessions, request) is not None:
        return RedirectResponse(then, 303, HEADERS)
    return page.render("sign_in.html", next=then, error=None)


async def begin(page: Page, request: Request) -> Response:
    """Take a token, and begin a session of it; who comes with a wrong one is told so, and may try again."""
    from starlette.responses import RedirectResponse

    check_origin(request)
    form = await read_form(request)
    then, access = _within(form.get("next", "")), page.context.access
    try:
        token = access.token(request, form.get("token", "").strip())
    except Refused as error:
        if error.status == HELD:
            raise
        return page.render("sign_in.html", error.status, next=then, error=error)
    response = RedirectResponse(then, 303, HEADERS)
    page.sessions.end(request.cookies.get(COOKIE, ""))
    secret = page.sessions.begin(token.id)
    response.set_cookie(COOKIE, secret, path=PATH, secure=True, httponly=True, samesite="strict")
    return response


async def end(page: Page, visit: Visit) -> Response:
    """End the session."""
    from starlette.responses import RedirectResponse

    page.sessions.end(visit.visitor.session)
    response = RedirectResponse(FORM, 303, HEADERS)
    response.delete_cookie(COOKIE, path=PATH, secure=True, httponly=True, samesite="strict")
    return response


def _within(target: str) -> str:
    """Return an address of the page that is to be shown next, its first one for any other."""
    ours = target.startswith(PATH + "/") and len(target) <= MAX_NEXT and target.isascii() and target.isprintable()
    return target if ours and not target.startswith(FORM) and "\\" not in target else PATH + "/"
