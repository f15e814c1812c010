"""What a worker does beside answering: renewed certificates, rollouts that go wrong, counters for the other workers."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...errors import ConflictError, OtasealError
from ...release.channels import Pointer
from ...store.device_file import Place
from ...store.devices import Devices
from ..catalog import Catalog
from ..device_api.recorder import Recorder
from ..operator_api.rollout_options import Look, PatienceClock, failing
from ..telemetry import Telemetry
from ..tls import Credentials
from .examination import Examination
from .tending import tend

if TYPE_CHECKING:
    import ssl

__all__ = ["EventHandler", "House", "halt_failing"]

POST_SECONDS = 0.25
RENEWAL_SECONDS = 1.0
ROLLOUT_SECONDS = 5.0
FLUSH_SECONDS = 2.0


@dataclass
class House:
    """The parts of a worker that runs; in the first one, `judges` are the devices by which it halts rollouts.

    The first one also has the `examination` of the store, and tends the devices' `place`.
    """

    catalog: Catalog
    recorder: Recorder
    telemetry: Telemetry
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ...]
    judges: Devices | None = None
    examination: Examination | None = None
    place: Place | None = None
    patience: PatienceClock = field(init=False, repr=False)
    complained: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.patience = PatienceClock(
            lambda jump: self.telemetry.event("clock", message=f"the clock was set by {jump:+.0f} seconds")
        )

    async def keep(self) -> None:
        """Do it all, for ever."""
        tasks = []
        if self.examination is not None:
            self.examination.tell(self.telemetry)
            tasks.append(asyncio.ensure_future(self.examination.keep(self.telemetry)))
        if self.place is not None:
            tasks.append(asyncio.ensure_future(tend(self.place, self.telemetry)))
        try:
            await self._keep()
        finally:
            for one in tasks:
                one.cancel()

    async def _keep(self) -> None:
        renewed = judged = time.monotonic()
        change = self.catalog.store.last_change()
        while True:
            await asyncio.sleep(POST_SECONDS)
            self.telemetry.post()
            if change != (now_is := self.catalog.store.last_change()):
                change = now_is
                await asyncio.to_thread(self.catalog.warm)
            now = time.monotonic()
            if now - renewed >= RENEWAL_SECONDS:
                renewed = now
                self.renew()
            if self.judges is not None and now - judged >= ROLLOUT_SECONDS:
                self.telemetry.stand("damage", list(self.catalog.damage.values()))
                await asyncio.to_thread(self._judge, self.judges)
                judged = time.monotonic()

    def note(self, context: dict[str, Any]) -> None:
        """Write down what asyncio would print: a client that breaks off in the handshake is no error of ours."""
        error = context.get("exception")
        if not isinstance(error, OSError):
            self.telemetry.event("trouble", message=str(context.get("message")), kind=type(error).__name__)

    def _judge(self, devices: Devices) -> None:
        self.recorder.flush(FLUSH_SECONDS)
        try:
            halt_failing(self.catalog, devices, self.telemetry, self.patience.look)
        except OtasealError as error:
            self.telemetry.stand("rollout", [error.message])

    def reload(self) -> None:
        """Look at once for a renewed certificate; everything else that can change is looked at whenever it is used."""
        self.telemetry.event("reload")
        self.renew()

    def renew(self) -> None:
        """Take a certificate that was renewed into use; a bad one is named once, and the old one stays."""
        try:
            before = self.credentials.stamps
            for context in self.contexts:
                # Each context asks by what was there before this round, lest the first hide the change.
                self.credentials.stamps = before
                if self.credentials.renew(context) and context is self.contexts[-1]:
                    self.telemetry.event("renewed", chain=str(self.credentials.chain))
            self.complained = ""
        except OtasealError as error:
            self.credentials.stamps = before
            if error.message != self.complained:
                self.complained = error.message
                self.telemetry.alarm("certificate", message=error.message)


class EventHandler(logging.Handler):
    """What libraries log becomes an event of ours: they would write it to a standard error that may be full."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as an event, with its traceback if it has one."""
        self._telemetry.event("trouble", message=self.format(record), kind=record.name)


def halt_failing(catalog: Catalog, devices: Devices, telemetry: Telemetry, look: Look) -> None:
    """Halt every rollout of which too many devices did not come back with the new release."""
    stuck: list[str] = []
    for product in catalog.store.products():
        for name, state in catalog.channels(product).items():
            if state.pointer.halted:
                continue
            version = state.pointer.version
            counts = failing(devices, product, name, state.pointer, look)
            if counts is None:
                continue
            pointer: Pointer = replace(state.pointer, halted=True)
            try:
                catalog.store.point(product, name, pointer, expected=state.generation, by="server")
                telemetry.alarm("halted", product=product, channel=name, version=version, failed=counts.failed)
            except ConflictError:
                pass  # somebody changed it just now, and it is judged anew
            except OtasealError as error:  # of this channel alone: the others are judged all the same
                stuck.append(f"channel '{name}' of '{product}' cannot be halted: {error.message}")
    telemetry.stand("rollout", stuck)
