"""What a worker does beside answering: renewed certificates, rollouts that go wrong, counters for the other workers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...errors import ConflictError, OtasealError
from ...release.channels import Pointer
from ...store.device_file import DeviceFile
from ...store.devices import Devices
from ..catalog import Catalog
from ..device_api.recorder import Recorder
from ..operator_api.rollout_options import Look, PatienceClock, failing
from ..telemetry import Telemetry
from ..tls import Credentials
from .store_check import StoreCheck

if TYPE_CHECKING:
    import ssl

POST_SECONDS = 0.25
RENEWAL_SECONDS = 1.0
ROLLOUT_SECONDS = 5.0
FLUSH_SECONDS = 2.0
DEVICE_FILE_SECONDS, DEVICE_FILE_TRIES = 1.0, 10
"""How often it is asked where the devices are, and after how many times in memory the store's own file is tried."""


@dataclass
class Maintenance:
    """The periodic tasks of a worker; the first one, which has `devices`, has those of the whole server, too.

    Those are to halt rollouts by these devices, to check the store, and to keep the `device_file`.
    """

    catalog: Catalog
    recorder: Recorder
    telemetry: Telemetry
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ...]
    devices: Devices | None = None
    store_check: StoreCheck | None = None
    device_file: DeviceFile | None = None
    clock: PatienceClock = field(init=False, repr=False)
    _certificate_error: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.clock = PatienceClock(
            lambda jump: self.telemetry.event("clock", message=f"the clock was set by {jump:+.0f} seconds")
        )

    async def run(self) -> None:
        """Run all tasks until cancelled."""
        tasks = []
        if self.store_check is not None:
            self.store_check.report(self.telemetry)
            tasks.append(asyncio.ensure_future(self.store_check.run(self.telemetry)))
        if self.device_file is not None:
            tasks.append(asyncio.ensure_future(keep_device_file(self.device_file, self.telemetry)))
        try:
            await self._run()
        finally:
            for task in tasks:
                task.cancel()

    async def _run(self) -> None:
        renewed = judged = time.monotonic()
        last_change = self.catalog.store.last_change()
        while True:
            await asyncio.sleep(POST_SECONDS)
            self.telemetry.post()
            if last_change != (change := self.catalog.store.last_change()):
                last_change = change
                await asyncio.to_thread(self.catalog.warm)
            now = time.monotonic()
            if now - renewed >= RENEWAL_SECONDS:
                renewed = now
                self.renew()
            if self.devices is not None and now - judged >= ROLLOUT_SECONDS:
                self.telemetry.set_problems("damage", list(self.catalog.damage.values()))
                await asyncio.to_thread(self._judge_rollouts, self.devices)
                judged = time.monotonic()

    def _judge_rollouts(self, devices: Devices) -> None:
        self.recorder.flush(FLUSH_SECONDS)
        try:
            halt_failing(self.catalog, devices, self.telemetry, self.clock.look)
        except OtasealError as error:
            self.telemetry.set_problems("rollout", [error.message])

    def reload(self) -> None:
        """Look for a renewed certificate at once; everything else that can change is looked at whenever it is used."""
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
            self._certificate_error = ""
        except OtasealError as error:
            self.credentials.stamps = before
            if error.message != self._certificate_error:
                self._certificate_error = error.message
                self.telemetry.alarm("certificate", message=error.message)


async def keep_device_file(device_file: DeviceFile, telemetry: Telemetry) -> None:
    """Report when the devices are in memory, and bring them back to the store's file when that works; never returns."""
    tries = 0
    while True:
        why = device_file.reason()
        telemetry.set_problems("devices", [f"{why}; until that works again, they are kept in memory"] if why else [])
        tries = tries + 1 if why else 0
        if tries >= DEVICE_FILE_TRIES:
            tries = 0
            await asyncio.to_thread(_settle, device_file, telemetry)
        await asyncio.sleep(DEVICE_FILE_SECONDS)


def _settle(device_file: DeviceFile, telemetry: Telemetry) -> None:
    try:
        device_file.use_home(lambda message: telemetry.alarm("devices", message=message))
    except OtasealError as error:
        telemetry.alarm("devices", message=error.message)


def halt_failing(catalog: Catalog, devices: Devices, telemetry: Telemetry, look: Look) -> None:
    """Halt every rollout of which too many devices did not come back with the new release."""
    problems: list[str] = []
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
                problems.append(f"channel '{name}' of '{product}' cannot be halted: {error.message}")
    telemetry.set_problems("rollout", problems)
