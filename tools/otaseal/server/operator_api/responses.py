"""What operators are answered: a handler's value as JSON, and every refusal as a status and two lines that say why.

What a row of the table does not name is refused before its handler runs: a misspelt option must not be a default. A
body has to say that it is JSON, which a web page cannot make a browser with an operator's certificate send.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
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
from ..telemetry import Telemetry
from . import uploads
from .auth import FAILURE_SECONDS, HOLD_SECONDS
from .openapi import JSON, Endpoint
from .uploads import Refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

STATUS: tuple[tuple[type[OtasealError], int], ...] = (
    (LaterFormatError, 503),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ConfigError, 400),
    (InputError, 422),
    (SystemFaultError, 503),
)
"""Errors by whose fault, the first that fits."""

HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Handler = Callable[["Request"], Awaitable[Any]]


def guarded(run: Handler, endpoint: Endpoint, telemetry: Telemetry) -> Handler:
    """Return a handler that answers with the value of `run` as JSON, or with its error."""

    async def handle(request: Request) -> Response:
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        try:
            _check(request, endpoint)
            value = await run(request)
            response = value if isinstance(value, Response) else _json(value, 200)
        except (Refused, OtasealError) as error:
            response = await _refusal(request, error, telemetry)
        except (ClientDisconnect, asyncio.TimeoutError):
            response = _json({"error": "the upload stopped", "hint": "try again"}, 408)
        except Exception:  # a fault of ours, which is answered as all else is
            telemetry.alarm("fault", message=traceback.format_exc())
            response = _json({"error": "the server has a fault", "hint": "its log says which"}, 500)
        return _counted(response, telemetry)

    return handle


def by_method(handlers: Mapping[str, Handler]) -> Handler:
    """Return a handler that calls the one of `handlers` for the request's method."""

    async def handle(request: Request) -> Any:
        return await handlers[request.method](request)

    return handle


def unknown(telemetry: Telemetry) -> Any:
    """Return the exception handler for a request that no route takes: a path or a method that is not there."""

    async def handle(request: Request, error: Any) -> Response:
        hint = "GET /openapi.json lists what there is"
        message = "no such path" if error.status_code == 404 else f"no method '{request.method[:32]}' here"
        return _counted(_json({"error": message, "hint": hint}, error.status_code, error.headers or {}), telemetry)

    return handle


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
    if request.method == "POST" and kind != JSON:
        raise Refused(415, f"a body of type '{kind[:64]}'", f"send JSON, with Content-Type: {JSON}")


async def _refusal(request: Request, error: Refused | OtasealError, telemetry: Telemetry) -> Response:
    status = error.status if isinstance(error, Refused) else _status(error)
    headers = {}
    if status >= 500:
        telemetry.alarm("fault", message=error.message)
    await uploads.drain(request)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 429:
        headers["retry-after"] = str(int(FAILURE_SECONDS))
        await asyncio.sleep(HOLD_SECONDS)
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


def _status(error: OtasealError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)
