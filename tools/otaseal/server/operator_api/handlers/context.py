"""What all handlers work with, and what they have in common: whose product and channel, and what a change means."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ....errors import NotFoundError
from ....names import check_name
from ....release.channels import Channel
from ...catalog import Catalog
from ...telemetry import Telemetry
from ..archives import Archives
from ..auth import Access
from ..fleet import DeviceReader, Fleet
from ..uploads import UploadQueue

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True)
class DeviceEndpoint:
    """What an operator's client has to know of the devices' listener."""

    device_port: int
    device_certificates: bool


@dataclass
class OperatorContext:
    """The catalog, the devices seen, who may do what, and where changes wait for each other."""

    catalog: Catalog
    devices: DeviceReader
    access: Access
    telemetry: Telemetry
    endpoint: DeviceEndpoint
    archives: Archives
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while a channel is changed."""
    uploads: UploadQueue = field(default_factory=UploadQueue, repr=False)

    @property
    def fleet(self) -> Fleet:
        """The devices seen, by the releases they run."""
        return Fleet(self.catalog, self.devices)

    def product(self, request: Request) -> str:
        """Return the product in the path, for who may read it; raises InputError, Refused."""
        product = check_name(request.path_params["product"], "product")
        self.access.authorise(request, product, None)
        return product

    def channel(self, request: Request) -> tuple[str, str, str]:
        """Return product and channel in the path, and who asks and may change them; raises InputError, Refused."""
        product = check_name(request.path_params["product"], "product")
        channel = check_name(request.path_params["channel"], "channel")
        return product, channel, self.access.authorise(request, product, channel)

    def require_product(self, product: str) -> None:
        """Raise NotFoundError unless the server has the product."""
        if product not in self.catalog.store.products():
            raise NotFoundError(
                f"the server has no product '{product}'",
                f"give the server its public key first: otaseal serve --product {product}=signing.pub",
            )

    def channel_state(self, product: str, channel: str) -> Channel:
        """Return the state of a channel; raises NotFoundError."""
        state = self.catalog.channel(product, channel)
        if state is None:
            raise no_channel(product, channel)
        return state

    def channels(self, product: str) -> dict[str, Any]:
        """Return the product's channels as JSON, by name."""
        return {
            name: {
                "version": state.pointer.version,
                "percent": state.pointer.percent,
                "halted": state.pointer.halted,
                "max_failed": state.pointer.max_failed,
                "patience": state.pointer.patience,
                "previous": state.previous,
                "generation": state.generation,
            }
            for name, state in self.catalog.channels(product).items()
        }

    async def effect(self, product: str, channel: str, before: str | None) -> dict[str, Any]:
        """Return what a change means for whom, as JSON: the channel's state, and its devices by running version.

        `before` is the version that the channel gave out.
        """
        devices = await asyncio.to_thread(self.fleet.versions, product, channel)
        state = self.channels(product)[channel]
        return {"before": before, "channel": state, "devices": devices, **asdict(self.endpoint)}

    def log(self, event: str, product: str, channel: str, who: str, **values: object) -> None:
        """Write an event of a change."""
        self.telemetry.event(event, product=product, channel=channel, by=who, **values)


def no_channel(product: str, channel: str) -> NotFoundError:
    """Return the error that a product has no such channel."""
    return NotFoundError(f"'{product}' has no channel '{channel}'", "otaseal releases lists them")
