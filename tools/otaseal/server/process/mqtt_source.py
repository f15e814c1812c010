"""What the broker is told: devices with what their channels give out; and "install", a grant for one device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass

from ...errors import SystemFaultError
from ...release.evidence import UNPROVEN_PREFIX
from ...release.notes import NO_NOTES
from ..mqtt.home_assistant import Told
from ..operator_api import rollouts
from ..operator_api.channel_changes import Target
from ..operator_api.handlers.context import OperatorContext

PAGE = 1000
WHO = "mqtt:install"
GRANT_SECONDS = 15.0


@dataclass
class MqttSource:
    """The devices of an operators' context, for a thread; changes are made in its event loop."""

    context: OperatorContext
    loop: Callable[[], asyncio.AbstractEventLoop | None]

    def products(self) -> Iterable[str]:
        """See `Source.products`."""
        return self.context.catalog.store.products()

    def devices(self, product: str) -> Iterator[Told]:
        """See `Source.devices`; those that only say so in the name of a known one are left out."""
        catalog, fleet = self.context.catalog, self.context.fleet
        known, channels, after = catalog.known(product), catalog.channels(product), ""
        notes = self.context.notes.of(product)
        while page := fleet.devices.list(product, after=after, limit=PAGE):
            after = page[-1].device
            for row in page:
                if row.device.startswith(UNPROVEN_PREFIX):
                    continue
                running = known[row.md5].release.version if row.md5 in known else row.version or None
                pointer = state.pointer if (state := channels.get(row.channel)) else None
                label = fleet.labels.get(product, row.device)
                said = NO_NOTES if pointer is None else notes.get(pointer.version, NO_NOTES)
                yield Told(row, running, label, pointer, said)

    def install(self, product: str, channel: str, device: str) -> None:
        """See `Source.install`."""
        loop = self.loop()
        if loop is None:
            raise SystemFaultError("the server is just starting", "try again")
        change = rollouts.grant(self.context, Target(product, channel, WHO), device)
        try:
            asyncio.run_coroutine_threadsafe(change, loop).result(GRANT_SECONDS)
        except futures.TimeoutError as error:
            raise SystemFaultError("the channel could not be changed in time", "try again") from error
