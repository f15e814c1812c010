"""What every screen is made with: templates that escape all text, own files, and the headers of every answer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ...errors import duration
from ..operator_api import device_list
from ..operator_api.auth import Caller
from ..operator_api.handlers.context import OperatorContext
from . import device_words, texts
from .remembered import Remembered
from .sessions import Sessions
from .visitors import PATH, Visitor

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.responses import Response

    from ...store.device_table import FirstSeen
    from ..operator_api.fleet import Fleet

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), usb=()",
    # with `no-referrer` a browser would not tell the origin of a form, either
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
FILES = {"page.css": "text/css", "page.js": "text/javascript", "seal.svg": "image/svg+xml"}
PRODUCT = PATH + "/products"


@dataclass(frozen=True)
class Asset:
    """A file of ours: its bytes, their kind, and an address that changes with them."""

    body: bytes
    kind: str
    address: str


@dataclass(frozen=True)
class Visit:
    """A request of somebody who is signed in; `form` has the fields that are posted, `files` the files with them."""

    request: Request
    visitor: Visitor
    form: Mapping[str, str]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def caller(self) -> Caller:
        """Who asks, and for what the credentials are."""
        return self.visitor.caller

    @property
    def given(self) -> Mapping[str, str]:
        """What is posted, else what stands in the address."""
        return self.form or self.query

    @property
    def query(self) -> Mapping[str, str]:
        """What stands behind `?` in the address."""
        return self.request.query_params


@dataclass
class Page:
    """The page of a server: what it shows, and who is signed in."""

    context: OperatorContext
    sessions: Sessions = field(default_factory=Sessions)
    remembered: Remembered = field(default_factory=Remembered, repr=False)

    def counts(self, product: str, channel: str = "") -> dict[str, Any]:
        """Return how many devices there are of each kind, as `device_list.counts`; blocks, and raises as that."""
        return self._counted("counts", product, channel, device_list.counts)

    def kinds(self, product: str, channel: str) -> dict[str, Any]:
        """Return of these what devices report alone, which costs half; blocks, and raises as that."""
        return self._counted("kinds", product, channel, device_list.kinds)

    def _counted(
        self, what: str, product: str, channel: str, count: Callable[[Fleet, str, str], dict[str, Any]]
    ) -> dict[str, Any]:
        stamp = self.context.catalog.store.documents.last_change()
        return self.remembered.counts(
            (product, channel, what), stamp, lambda: count(self.context.fleet, product, channel)
        )

    def first_seen(self, product: str) -> Sequence[FirstSeen]:
        """Return how many devices were seen first on each day, as `Fleet.first_seen`; blocks, and raises as that."""
        return self.remembered.counts((product, "", "first"), None, lambda: self.context.fleet.first_seen(product))

    def products(self, caller: Caller) -> list[str]:
        """Return the products that somebody may see."""
        return [name for name in self.context.catalog.products() if caller.covers(name, None)]

    def product(self, visit: Visit) -> str:
        """Return the product in the path, for who may read it; raises InputError, Refused, NotFoundError."""
        return self.context.product_for(visit.caller, visit.request.path_params["product"])

    def channel(self, visit: Visit) -> tuple[str, str]:
        """Return product and channel in the path, which exist; raises as `product`."""
        product, channel = self.product(visit), visit.request.path_params["channel"]
        self.context.channel_state(product, channel)
        return product, channel

    def show(self, visit: Visit, template: str, status: int = 200, /, **values: Any) -> Response:
        """Return a screen."""
        product = visit.request.path_params.get("product")
        products = self.products(visit.caller)
        shared = {
            "visitor": visit.visitor,
            "products": products,
            "product": product if product in products else None,
            "path": visit.request.url.path,
            "may": lambda channel: visit.caller.covers(product, channel),
        }
        return self.render(template, status, **{**shared, **values})

    def render(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """Return a template as an answer."""
        from starlette.responses import Response

        text = self.templates.get_template(template).render(now=time.time(), **values)
        return Response(text.encode(), status, HEADERS, "text/html")

    @cached_property
    def templates(self) -> Environment:
        """The templates, in which every text is escaped and shows its invisible characters (`texts.visible`)."""
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        def shown(value: object) -> object:
            return texts.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

        environment = Environment(
            loader=PackageLoader(__package__, "templates"),
            autoescape=True,
            finalize=shown,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for function in (
            *(texts.ago, texts.ahead, duration, texts.exactly, texts.moment),
            *(texts.size, texts.number, texts.percentage),
        ):
            environment.filters[function.__name__] = function
        environment.filters["badge"] = device_words.badge
        environment.globals.update(url=address, asset=self.assets, root=PATH)
        return environment

    @cached_property
    def assets(self) -> dict[str, Asset]:
        """Our files by name."""
        folder = resources.files(__package__) / "static"
        found = {}
        for name, kind in FILES.items():
            body = (folder / name).read_bytes()
            stamp = hashlib.sha256(body).hexdigest()[:12]
            found[name] = Asset(body, kind, f"{PATH}/static/{name}?{stamp}")
        return found


def address(*segments: str, **query: object) -> str:
    """Return the address of a screen of a product: its segments, and what stands behind `?`, without what is None."""
    path = "/".join((PRODUCT, *(quote(one, safe="") for one in segments)))
    asked = urlencode({key: value for key, value in query.items() if value is not None})
    return f"{path}?{asked}" if asked else path
