"""The operators' API: publish, promote, roll back, set a percentage, look. JSON over HTTPS, on a listener of its own.

Credentials are a token or a certificate from the operator authority; only /healthz and the description are for anybody.
Parameters that are not in the table of endpoints are refused before a handler runs: a misspelt option must not be a
default. Who sends JSON has to say so: no web page can make a browser with an operator's certificate do that.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import (
    ConfigError,
    ConflictError,
    InputError,
    LaterFormatError,
    NotFoundError,
    OtasealError,
    SystemFaultError,
)
from ..failures import FAILURE_SECONDS
from ..telemetry import Telemetry
from . import uploads
from .auth import HELD, HOLD_SECONDS
from .handlers import certs, channels, devices, enrolments, outside, releases, report, rollouts, service
from .handlers.context import OperatorContext
from .openapi import ENDPOINTS, JSON, Endpoint

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

HANDLERS: dict[str, Callable[[OperatorContext, Any], Awaitable[Any]]] = {
    handler.__name__: handler
    for handler in (
        *(service.health, service.describe, service.metrics, service.products, service.product),
        *(releases.releases, releases.publish, releases.firmware, releases.attachment, releases.log),
        *(channels.promote, channels.rollback, channels.percent),
        *(rollouts.rollout, rollouts.preview_rollout, rollouts.pause_rollout, rollouts.resume_rollout),
        *(rollouts.halt_rollout, rollouts.approve_rollout, rollouts.grant_rollout),
        *(certs.certs, certs.publish_certs),
        *(devices.count_devices, devices.label_device, devices.import_labels),
        *(devices.tag_rules, devices.set_tag_rule, devices.drop_tag_rule),
        *(devices.list_devices, devices.forget_device, devices.retry_device),
        *(devices.show_device, devices.enrol_key, devices.accept_key),
        *(enrolments.enrolments, enrolments.answer_enrolment),
        *(outside.events, outside.alarms, outside.audit),
        *(releases.set_notes, releases.delete_release),
        *(report.report, report.set_support),
    )
}
STATUS: tuple[tuple[type[OtasealError], int], ...] = (
    (LaterFormatError, 503),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ConfigError, 400),
    (InputError, 422),
    (SystemFaultError, 503),
)
"""By the class of an error, the first that fits."""
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Handler = Callable[["Request"], Awaitable[Any]]


def make_app(context: OperatorContext, page: ASGIApp | None = None, path: str = "") -> Starlette:
    """Return the ASGI application, with a `page` for people at addresses below `path`, to which the first one leads."""
    from starlette.applications import Starlette
    from starlette.responses import RedirectResponse
    from starlette.routing import BaseRoute, Match, Mount, Route

    class OnePath(Route):
        """The first route that fits a path answers, whatever the method: `devices/retry` is not a device's name."""

        def matches(self, scope: Any) -> tuple[Match, Any]:
            match, child = super().matches(scope)
            return Match.FULL if match is Match.PARTIAL else match, child

    # One route a path: it is what a 405 lists the methods of.
    paths: dict[str, dict[str, Handler]] = {}
    for endpoint in ENDPOINTS:
        run = _guarded(context, endpoint)
        methods = ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,)
        paths.setdefault(endpoint.path, {}).update(dict.fromkeys(methods, run))
    routes: list[BaseRoute] = [
        OnePath(path, _by_method(handlers), methods=list(handlers)) for path, handlers in paths.items()
    ]
    if page is not None:

        async def to_page(request: Request) -> Response:
            return _counted(RedirectResponse(f"{path}/", 303, HEADERS), context.telemetry)

        routes += [Mount(path, page), Route("/", to_page), Route(path, to_page)]
    refuse = partial(_no_route, context.telemetry)
    app = Starlette(routes=routes, exception_handlers={404: refuse, 405: refuse})
    app.router.redirect_slashes = False  # to an address that the client's Host header names
    return app


def _guarded(context: OperatorContext, endpoint: Endpoint) -> Handler:
    """Return a handler of an endpoint that answers with its value as JSON, or with its error."""
    run, telemetry = HANDLERS[endpoint.handler], context.telemetry

    async def handle(request: Request) -> Response:
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        try:
            _check(request, endpoint)
            if not endpoint.open:
                await context.access.identify(request)
            value = await run(context, request)
            response = value if isinstance(value, Response) else _json(value, 200)
        except OtasealError as error:
            response = await _refusal(request, error, telemetry)
        except (ClientDisconnect, asyncio.TimeoutError):
            response = _json({"error": "the upload stopped", "hint": "try again"}, 408)
        except Exception:
            telemetry.alarm("fault", message=traceback.format_exc())
            response = _json({"error": "the server has a fault", "hint": "its log says which"}, 500)
        return _counted(response, telemetry)

    return handle


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: Request) -> Any:
        return await handlers[request.method](request)

    return handle


async def _no_route(telemetry: Telemetry, request: Request, error: Any) -> Response:
    """Answer a request for a path or with a method that does not exist."""
    message = "no such path" if error.status_code == 404 else f"no method '{request.method[:32]}' here"
    body = {"error": message, "hint": "GET /openapi.json lists what there is"}
    return _counted(_json(body, error.status_code, error.headers or {}), telemetry)


def _check(request: Request, endpoint: Endpoint) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in endpoint.query:
            raise ConfigError(
                f"'{name[:32]}' is not a parameter here", f"there are: {', '.join(endpoint.query) or 'none'}"
            )
        if given.count(name) > 1:
            raise ConfigError(f"'{name}' is given twice", "give it once")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if endpoint.takes_json and kind != JSON:
        raise uploads.Refused(415, f"a body of type '{kind[:64]}'", f"send JSON, with Content-Type: {JSON}")


def status_of(error: OtasealError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, uploads.Refused):
        return error.status
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


async def settle(request: Request, error: OtasealError, telemetry: Telemetry) -> tuple[int, dict[str, str]]:
    """Return status and headers of a refusal, once the rest of the body is read; who guesses has to wait."""
    status, headers = status_of(error), {}
    if status >= 500 and not isinstance(error, uploads.Refused):  # an issuer does not answer, or too many listen
        telemetry.alarm("fault", message=error.message)
    await uploads.drain(request)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == HELD:
        headers["retry-after"] = str(int(FAILURE_SECONDS))
        await asyncio.sleep(HOLD_SECONDS)
    return status, headers


async def _refusal(request: Request, error: OtasealError, telemetry: Telemetry) -> Response:
    status, headers = await settle(request, error, telemetry)
    return _json({"error": error.message, "hint": error.hint}, status, headers)


def _counted(response: Response, telemetry: Telemetry) -> Response:
    if response.status_code >= 400:
        response.headers["connection"] = "close"
    telemetry.count("otaseal_operator_requests_total", status=str(response.status_code))
    return response


def _json(value: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    from starlette.responses import Response

    # In ASCII: a refusal may quote half of a surrogate pair, which has no UTF-8.
    return Response(json.dumps(value).encode(), status, {**HEADERS, **(headers or {})}, JSON)
