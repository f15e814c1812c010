"""The operators' side: publish, promote, roll back, set a percentage, look. JSON over HTTPS, on a listener of its own.

Who asks shows a token or a certificate from the operator authority; without either nothing is told but /healthz and
what there is to ask (`openapi`, from which the routes are made). Only public keys are here: a release is taken when one
of its product's keys signed it and `admission` lets it in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .handlers import certs, channels, devices, products, releases, service
from .handlers.context import OperatorContext
from .openapi import ENDPOINTS
from .responses import Handler, by_method, guarded, unknown

if TYPE_CHECKING:
    from starlette.applications import Starlette

HANDLERS: dict[str, Callable[[OperatorContext, Any], Awaitable[Any]]] = {
    "health": service.health,
    "describe": service.describe,
    "metrics": service.metrics,
    "products": products.products,
    "product": products.product,
    "releases": releases.releases,
    "publish": releases.publish,
    "firmware": releases.firmware,
    "promote": channels.promote,
    "rollback": channels.rollback,
    "percent": channels.percent,
    "certs": certs.certs,
    "publish_certs": certs.publish_certs,
    "list_devices": devices.list_devices,
    "forget_device": devices.forget_device,
    "retry_device": devices.retry_device,
}
"""By the handler's name in ENDPOINTS."""


def make_app(context: OperatorContext) -> Starlette:
    """Return the ASGI application."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    # One route a path: the first that fits a path is what a 405 lists the methods of.
    paths: dict[str, dict[str, Handler]] = {}
    for endpoint in ENDPOINTS:
        run = guarded(partial(HANDLERS[endpoint.handler], context), endpoint, context.telemetry)
        methods = ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,)
        paths.setdefault(endpoint.path, {}).update(dict.fromkeys(methods, run))
    routes = [Route(path, by_method(handlers), methods=list(handlers)) for path, handlers in paths.items()]
    refuse = unknown(context.telemetry)
    app = Starlette(routes=routes, exception_handlers={404: refuse, 405: refuse})
    app.router.redirect_slashes = False  # to an address that the client's Host header names
    return app
