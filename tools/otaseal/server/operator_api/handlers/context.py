"""What all handlers work with: the request's product and channel, who asks, and what a change means."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import NotFoundError, SystemFaultError
from ....names import check_name
from ....release.channels import Channel
from ....release.provenance import Builders
from ....store.release_notes import ReleaseNotes
from ...catalog import DEFAULT_CHANNEL, Catalog
from ...changes import Changes
from ...patches import Patches
from ...telemetry import Telemetry
from ..auth import Access, Caller
from ..fleet import Fleet
from ..uploads import UploadQueue

if TYPE_CHECKING:
    from starlette.requests import Request

    from ....pki.certificate import Certificate


@dataclass(frozen=True)
class DeviceEndpoint:
    """What an operator's client has to know of the devices' listener."""

    device_port: int
    device_certificates: bool


@dataclass
class OperatorContext:
    """The catalog and its devices, who may do what, and locks around changes.

    `chain` is the file of the server's own chain (PEM), `names` are those by which devices call the server, empty for
    those in its certificate, `device_authorities` what is in --device-ca.
    """

    catalog: Catalog
    fleet: Fleet
    access: Access
    telemetry: Telemetry
    endpoint: DeviceEndpoint
    patches: Patches
    changes: Changes
    notes: ReleaseNotes
    chain: Path
    names: tuple[str, ...] = ()
    device_authorities: tuple[Certificate, ...] = ()
    builders: Builders = field(default_factory=Builders)
    proven_only: bool = False
    """Whether firmware is for devices that prove their names, and for no operator's client at the devices' port."""
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while a channel is changed."""
    uploads: UploadQueue = field(default_factory=UploadQueue, repr=False)

    def product(self, request: Request) -> str:
        """Return the product in the path, for who may read it; raises InputError, Refused, NotFoundError."""
        return self.product_for(self.access.caller(request), request.path_params["product"])

    def product_for(self, caller: Caller, name: str) -> str:
        """Return the name of a product, for a caller who may read it; raises as `product`."""
        product = check_name(name, "product")
        caller.require(product, None)
        self.require(product)
        return product

    def channel(self, request: Request) -> tuple[str, str, str]:
        """Return product and channel of a request, and who asks and may change them; raises as `product`."""
        product = check_name(request.path_params["product"], "product")
        channel = channel_of(request)
        who = self.access.authorise(request, product, channel)
        self.require(product)
        return product, channel, who

    def channel_state(self, product: str, channel: str) -> Channel:
        """Return the state of a channel; raises NotFoundError."""
        state = self.catalog.channel(product, channel)
        if state is None:
            raise no_channel(product, channel)
        return state

    def channels(self, product: str) -> dict[str, Any]:
        """Return the product's channels as JSON, by name."""
        return {name: channel_fields(state) for name, state in self.catalog.channels(product).items()}

    def problems(self) -> list[str]:
        """Return what is wrong with the server or its store now, in words."""
        standing = [message for messages in self.telemetry.problems.values() for message in messages]
        return list(dict.fromkeys((*standing, *list(self.catalog.damage.values()))))

    async def effect(self, product: str, channel: str, before: str | None) -> dict[str, Any]:
        """Return the effect of a change as JSON: the channel's state, its devices by version, the version `before`."""
        devices: dict[str, int] = {}
        with contextlib.suppress(SystemFaultError):  # it is changed, whether its devices can be counted or not
            devices = await asyncio.to_thread(self.fleet.versions, product, channel)
        state = self.channels(product)[channel]
        return {"before": before, "channel": state, "devices": devices, **asdict(self.endpoint)}

    def log(self, event: str, product: str, channel: str, who: str, **values: object) -> None:
        """Write an event of a change."""
        self.telemetry.event(event, product=product, channel=channel, by=who, **values)

    def require(self, product: str) -> None:
        """Raise NotFoundError for a product that the server does not have."""
        if product not in self.catalog.store.products():
            raise NotFoundError(
                f"the server has no product '{product}'",
                f"give the server its public key first: otaseal serve --product {product}=signing.pub",
            )


def channel_fields(state: Channel) -> dict[str, Any]:
    """Return a channel as JSON; `wave` counts from 1."""
    pointer, shown = state.pointer, ("version", "percent", "halted", "max_failed", "patience", "paused")
    waves = {"wave": pointer.current_wave + 1, "waves": len(pointer.waves)}
    named = {name: getattr(pointer, name) for name in shown}
    return {**named, **waves, "previous": state.previous, "generation": state.generation}


def channel_of(request: Request) -> str:
    """Return the channel in the path, in the query, or the default one; raises InputError."""
    name = request.path_params.get("channel") or request.query_params.get("channel", DEFAULT_CHANNEL)
    return check_name(name, "channel")


def no_channel(product: str, channel: str) -> NotFoundError:
    """Return the error that a product has no such channel."""
    return NotFoundError(f"'{product}' has no channel '{channel}'", "otaseal releases lists them")
