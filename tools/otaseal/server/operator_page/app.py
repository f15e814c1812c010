"""The addresses of the page, and what happens around every screen: who asks, whether a form is ours, what is refused.

`GET` shows and `POST` changes, and answers with where to look then. A path that changes something shows, when it is
only looked at, what would happen: so every button works without JavaScript, and none changes anything by itself.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ...client import plans
from ...errors import OtasealError
from ..operator_api import uploads
from ..operator_api.app import settle
from ..operator_api.handlers.context import OperatorContext
from . import forms, sign_in
from .page import HEADERS, Page, Visit
from .screens import (
    access,
    attached,
    certificates,
    channel_forms,
    device,
    device_forms,
    devices,
    history,
    live,
    overview,
    plan_forms,
    release_forms,
    releases,
    report,
    rollout,
    rollout_forms,
    tags,
    upload,
)
from .visitors import PATH, check_origin, check_proof, read_form, read_upload, recognise

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Screen = Callable[[Page, Visit], Awaitable[Any]]
PRODUCT = "/products/{product}"
CHANNEL = PRODUCT + "/channels/{channel}"
PLAN, UPLOAD, IMPORT = CHANNEL + "/plan", PRODUCT + "/upload", PRODUCT + "/tags/import"
FILES: Mapping[str, int] = {
    PLAN: plans.MAX_PLAN_BYTES,
    UPLOAD: uploads.MAX_UPLOAD,
    IMPORT: tags.MAX_FILE,
    IMPORT + "/start": tags.MAX_CARRIED,
}
"""Of how many bytes the files are that a form at a path brings."""
Row = tuple[str, Screen, Screen | None]


def _asking(path: str, build: forms.Build) -> Row:
    """Return the row of a path that asks by a form."""
    return path, partial(forms.show, build), partial(forms.send, build)


SCREENS: tuple[Row, ...] = (
    ("/", overview.products, None),
    (PRODUCT, overview.product, None),
    (CHANNEL, rollout.show, None),
    _asking(CHANNEL + "/promote", channel_forms.promote),
    _asking(CHANNEL + "/percent", channel_forms.percent),
    _asking(PLAN, plan_forms.choose),
    _asking(PLAN + "/start", plan_forms.start),
    _asking(CHANNEL + "/rollback", channel_forms.rollback),
    _asking(CHANNEL + "/rollout/{change}", rollout_forms.change),
    (PRODUCT + "/devices", devices.show, None),
    (PRODUCT + "/tags", tags.show, None),
    _asking(PRODUCT + "/tags/rule", tags.set_rule),
    _asking(PRODUCT + "/tags/remove", tags.drop_rule),
    _asking(IMPORT, tags.import_file),
    _asking(IMPORT + "/start", tags.take_file),
    (PRODUCT + "/device", device.show, None),
    _asking(PRODUCT + "/device/{change}", device_forms.change),
    (PRODUCT + "/releases", releases.listed, None),
    (PRODUCT + "/releases/{version}", releases.show, None),
    (PRODUCT + "/releases/{version}/attachments/{kind}", attached.download, None),
    _asking(PRODUCT + "/releases/{version}/notes", release_forms.notes),
    _asking(PRODUCT + "/releases/{version}/delete", release_forms.delete),
    _asking(UPLOAD, upload.publish),
    (PRODUCT + "/report", report.show, None),
    (PRODUCT + "/history", history.show, None),
    (PRODUCT + "/certificates", certificates.show, None),
    (PRODUCT + "/access", access.show, None),
    (PRODUCT + "/events", live.listen, None),
)
"""Paths below PATH: what they show, and what a form that is posted there does."""


def make_page(context: OperatorContext) -> Starlette:
    """Return the page as an ASGI application, for addresses below PATH."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    page = Page(context)
    routes = [
        Route("/static/{name}", partial(_static, page)),
        Route("/sign-in", partial(_counting, page, sign_in.show), methods=["GET"]),
        Route("/sign-in", partial(_counting, page, sign_in.begin), methods=["POST"]),
        Route("/sign-out", partial(_signed_in, page, None, sign_in.end), methods=["POST"]),
    ]
    for path, show, change in SCREENS:
        methods = ["GET", "HEAD"] if change is None else ["GET", "HEAD", "POST"]
        screen = partial(_signed_in, page, show, change, most=FILES.get(path))
        routes.append(Route(path, screen, methods=methods))
    refuse = partial(_no_route, page)
    app = Starlette(routes=routes, exception_handlers={404: refuse, 405: refuse})
    app.router.redirect_slashes = False
    return app


async def _signed_in(
    page: Page, show: Screen | None, change: Screen | None, request: Request, *, most: int | None = None
) -> Response:
    """Answer who is signed in with a screen, or with what a form does; anybody else is asked to sign in.

    A form of files brings `most` bytes of them at most, None for one without.
    """

    async def answer(page: Page, request: Request) -> Response:
        visitor = recognise(page.context.access, page.sessions, request)
        if visitor is None:
            await uploads.drain(request)
            return sign_in.redirect(request)
        if request.method != "POST":
            assert show is not None
            return await _shown(show(page, Visit(request, visitor, {})))
        assert change is not None
        check_origin(request)
        if most is None:
            form = await read_form(request)
            check_proof(visitor, form)
            return await _shown(change(page, Visit(request, visitor, form)))
        async with page.context.uploads.turn(visitor.caller.key):
            form, files = await read_upload(request, most)
            if recognise(page.context.access, page.sessions, request) != visitor:  # signed out, or revoked, meanwhile
                return sign_in.redirect(request)
            check_proof(visitor, form)
            return await _shown(change(page, Visit(request, visitor, form, files)))

    return await _counting(page, answer, request)


async def _counting(page: Page, answer: Callable[[Page, Request], Awaitable[Response]], request: Request) -> Response:
    """Return the answer, or the screen of its error, and count it as the API's are."""
    from starlette.requests import ClientDisconnect

    telemetry = page.context.telemetry
    try:
        response = await answer(page, request)
    except OtasealError as error:
        status, headers = await settle(request, error, telemetry)
        response = page.render("error.html", status, message=error.message, hint=error.hint)
        response.headers.update(headers)
    except (ClientDisconnect, asyncio.TimeoutError):
        response = page.render("error.html", 408, message="the form stopped coming", hint="try again")
    except Exception:
        telemetry.alarm("fault", message=traceback.format_exc())
        response = page.render("error.html", 500, message="the server has a fault", hint="its log says which")
    if response.status_code >= 400:
        response.headers["connection"] = "close"
    telemetry.count("otaseal_operator_requests_total", status=str(response.status_code))
    return response


async def _shown(screen: Awaitable[Any]) -> Response:
    from starlette.responses import RedirectResponse, Response

    value = await screen
    return value if isinstance(value, Response) else RedirectResponse(value, 303, HEADERS)


async def _static(page: Page, request: Request) -> Response:
    """Give out one of our own files, to anybody: the sign-in looks like the rest."""
    from starlette.responses import Response

    asset = page.assets.get(request.path_params["name"])
    if asset is None:
        return await _no_route(page, request, None)
    kept = "max-age=31536000, immutable" if request.url.query else "no-cache"
    return Response(asset.body, headers={**HEADERS, "cache-control": kept}, media_type=asset.kind)


async def _no_route(page: Page, request: Request, error: Any) -> Response:
    async def answer(page: Page, request: Request) -> Response:
        await uploads.drain(request)
        status = 404 if error is None else error.status_code
        message = "there is no such page" if status == 404 else f"no method '{request.method[:32]}' here"
        return page.render("error.html", status, message=message, hint=f"begin at {PATH}/")

    return await _counting(page, answer, request)
