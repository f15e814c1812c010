"""What the server does beside answering: renewed certificates, rollouts to be halted, the store's check."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from ...errors import ConflictError, OtasealError, SystemFaultError
from ...release.rollout import must_halt, too_many_failed
from ...store.backend import Backend
from ...store.check import check, survey, tidy
from ...store.device_table import DeviceTable
from ...store.proof_keys import ProofKeys
from ...store.release_notes import ReleaseNotes
from ...store.store import Store
from ...store.token_uses import TokenUses
from ...store.tokens import TokenFile
from ..alarms import Problem
from ..catalog import Catalog
from ..changes import Changes
from ..device_api.recorder import Recorder
from ..operator_api.rollout_options import UptimeClock, tally
from ..operator_api.wave_counts import WaveCounter
from ..patches import Patches
from ..telemetry import Telemetry
from ..tls import Credentials
from .advancing import Advancer
from .rollout_news import Notices, RolloutNews
from .store_watch import StoreWatch

if TYPE_CHECKING:
    import ssl

CHANGE_SECONDS = 0.25
RENEWAL_SECONDS = 1.0
ROLLOUT_SECONDS = 5.0
FLUSH_SECONDS = 2.0
FAULT_SECONDS = 1.0
"""How often it is asked whether all of the store can be used."""
MAX_CLONES = 10
"""Certificates that are on two chips, and keys, of which is told at once."""
CHECK_SECONDS = 60.0
"""How long after a store was found damaged, and changed since, it is checked again."""
CHECKS_A_DAY = 24 * 60
"""After so many of these periods it is checked in any case."""


@dataclass
class StoreCheck:
    """The check of a whole store in a thread; `unwritable`: why it was not tidied.

    It only reports: what is damaged, and what a later otaseal wrote.
    """

    store: Store
    problems: tuple[str, ...] = ()
    unwritable: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event, repr=False)

    def tidy(self) -> None:
        """Remove what a kill left in the store, where it can be written, and find damage in what is small."""
        reason = ""
        try:
            self.problems = tidy(self.store).unusable
            if unwritable := self.store.documents.unwritable():
                reason = f"{unwritable}: it is served as it is"
        except SystemFaultError as error:
            self.problems = survey(self.store, self.store.documents).unusable
            reason = f"{error.message}: the store is served as it is"
        self.unwritable = reason

    def report(self, telemetry: Telemetry) -> None:
        """Report what is known."""
        telemetry.set_problems("store", self.problems)
        telemetry.set_problems("disk", [self.unwritable] if self.unwritable else [])

    async def run(self, telemetry: Telemetry) -> None:
        """Check everything now and once a day, and a damaged store whenever somebody has changed it; never returns."""
        try:
            while True:
                await asyncio.to_thread(self._check)
                self.report(telemetry)
                before = self.store.documents.last_change()
                for _ in range(CHECKS_A_DAY):
                    await asyncio.sleep(CHECK_SECONDS)
                    if self.unwritable or (self.problems and self.store.documents.last_change() != before):
                        break
        finally:
            self._stopped.set()

    def _check(self) -> None:
        try:
            if self.unwritable:
                self.tidy()
            self.problems = check(self.store, self._stopped.is_set).unusable
        except OtasealError as error:
            self.problems = (error.message,)


@dataclass
class Maintenance:
    """The periodic tasks of the server."""

    catalog: Catalog
    recorder: Recorder
    telemetry: Telemetry
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ...]
    keys: ProofKeys
    devices: DeviceTable
    store_check: StoreCheck
    backend: Backend
    patches: Patches
    changes: Changes
    uses: TokenUses
    notes: ReleaseNotes
    notices: Notices
    clock: UptimeClock = field(init=False, repr=False)
    watch: StoreWatch = field(init=False, repr=False)
    news: RolloutNews = field(init=False, repr=False)
    loop: asyncio.AbstractEventLoop | None = field(init=False, default=None, repr=False)
    """In which it runs."""
    advancer: Advancer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.clock = UptimeClock(
            lambda jump: self.telemetry.event("clock", message=f"the clock was set by {jump:+.0f} seconds")
        )
        self.watch = StoreWatch(self.catalog, self.changes)
        self.news = RolloutNews(self.catalog, self.devices, self.clock, self.telemetry, self.notices.tell)
        counter = WaveCounter(self.devices, self.backend.labels, self.clock)
        self.advancer = Advancer(self.catalog, counter, self.telemetry)

    async def run(self) -> None:
        """Run all tasks until cancelled."""
        self.loop = asyncio.get_running_loop()
        self.store_check.report(self.telemetry)
        tasks = [
            asyncio.ensure_future(self.store_check.run(self.telemetry)),
            asyncio.ensure_future(watch_backend(self.backend, self.telemetry)),
            asyncio.ensure_future(self.changes.run()),
        ]
        try:
            await self._run()
        finally:
            for task in tasks:
                task.cancel()

    async def _run(self) -> None:
        renewed = judged = time.monotonic()
        last_change = self.catalog.store.documents.last_change()
        await asyncio.to_thread(self.watch.look)
        while True:
            await asyncio.sleep(CHANGE_SECONDS)
            if last_change != (change := self.catalog.store.documents.last_change()):
                last_change = change
                await asyncio.to_thread(self.catalog.warm)
                await asyncio.to_thread(self.watch.look)
            now = time.monotonic()
            if now - renewed >= RENEWAL_SECONDS:
                renewed = now
                for product in self.recorder.take_changed():
                    self.changes.tell("devices", product)
                self.renew()
            if now - judged >= ROLLOUT_SECONDS:
                self.telemetry.set_problems("damage", list(self.catalog.damage.values()))
                await asyncio.to_thread(self.write_keys)
                await asyncio.to_thread(self.write_uses)
                await asyncio.to_thread(self._judge_rollouts)
                await asyncio.to_thread(self._prepare_patches)
                judged = time.monotonic()

    def _judge_rollouts(self) -> None:
        self.recorder.flush(FLUSH_SECONDS)
        try:
            with self.backend.judging(ROLLOUT_SECONDS) as mine:
                if mine:
                    halt_failing(self.catalog, self.devices, self.telemetry, self.clock)
                    self.telemetry.set_problems("waves", self.advancer.judge())
                else:  # who judges reports them; what this server found in an earlier turn may be over
                    for kind in ("rollout", "waves"):
                        self.telemetry.set_problems(kind, ())
            self.notes.load()
            self.notices.leading = self.backend.leads()
            self.news.look(leading=self.notices.leading)
            report_flood(self.devices, self.keys, self.telemetry)
            report_clones(self.devices, self.keys, self.telemetry)
        except OtasealError as error:
            self.telemetry.set_problems("rollout", [error.message])

    def _prepare_patches(self) -> None:
        with contextlib.suppress(OtasealError):  # tried again, and until then devices get whole images
            self.patches.prepare(self.devices)

    def write_keys(self) -> None:
        """Make durable which keys devices have shown; what cannot be written is tried again."""
        problems: list[str] = []
        try:
            self.keys.write()
        except OtasealError as error:
            problems.append(f"{error.message}; until that works again, keys that devices show are kept in memory")
        self.telemetry.set_problems("secrets", problems)

    def write_uses(self, *, now: bool = False) -> None:
        """Write when tokens were used last, if it is time or `now`; what cannot be written is tried again."""
        with contextlib.suppress(OtasealError):
            tokens = TokenFile(self.catalog.store.documents).list()
            self.uses.write({token.id for token in tokens}, now=now)

    def reload(self) -> None:
        """Look for a renewed certificate at once; everything else that can change is looked at whenever it is used."""
        self.telemetry.event("reload")
        self.renew()

    def renew(self) -> None:
        """Use a certificate that was renewed; a bad one is reported once, and the old one stays in use."""
        problems = []
        try:
            if self.credentials.renew(self.contexts):
                self.telemetry.event("renewed", chain=str(self.credentials.chain))
        except OtasealError as error:
            problems = [error.message]
        self.telemetry.set_problems("certificate", problems)


async def watch_backend(backend: Backend, telemetry: Telemetry) -> None:
    """Report what is served from memory, until that is mended; never returns."""
    while True:
        reason = await asyncio.to_thread(_fault, backend, telemetry)
        telemetry.set_problems("devices", [reason] if reason else [])
        await asyncio.sleep(FAULT_SECONDS)


def _fault(backend: Backend, telemetry: Telemetry) -> str:
    try:
        return backend.fault()
    except OtasealError as error:
        telemetry.alarm("devices", message=error.message)
        return error.message


def report_flood(devices: DeviceTable, keys: ProofKeys, telemetry: Telemetry) -> None:
    """Report that invented devices, or very many new ones, fill the lists of devices and of their keys."""
    telemetry.set_problems("flood", filter(None, (devices.flood(), keys.flood())))


def report_clones(devices: DeviceTable, keys: ProofKeys, telemetry: Telemetry) -> None:
    """Report what two devices have that only one can: a certificate, or an enrolled key."""
    copied = (
        f"the key of '{device}' of '{product}' is shown by '{other}', too: forget both devices, and enrol the true one"
        for (product, device), (_, other) in islice(keys.copies().items(), MAX_CLONES)
    )
    telemetry.set_problems("cloned", (*devices.clones(MAX_CLONES), *copied))


def halt_failing(catalog: Catalog, devices: DeviceTable, telemetry: Telemetry, clock: UptimeClock) -> None:
    """Halt every rollout of which too many devices did not come back with the new release."""
    problems: list[Problem] = []
    for product in catalog.store.products():
        for name, state in catalog.channels(product).items():
            if state.pointer.halted:
                continue
            version, most = state.pointer.version, state.pointer.max_failed
            devices.begin(product, name, version, clock.read(0.0)[0])  # of one that was pointed at beside this server
            found = tally(devices, product, name, state.pointer, clock)
            if not must_halt(found, most):
                if too_many_failed(found.everybody, most):
                    text = (
                        f"channel '{name}' of '{product}': so many devices that do not count, or are at so few "
                        f"addresses, did not come back with '{version}' that it would be halted: see otaseal devices"
                    )
                    problems.append(Problem(text, product, name))
                continue
            try:
                halted = replace(state.pointer, halted=True)
                catalog.store.point(product, name, halted, expected=state.generation, by="server")
                failed = int(found.heard.failed)
                evidence = {"product": product, "channel": name, "version": version, "evidence": found.failures()}
                telemetry.call("halted", **evidence, failed=failed)
                catalog.store.record_event({"event": "halted", **evidence, "by": "server"})
            except ConflictError:
                pass  # somebody changed it just now, and it is judged anew
            except OtasealError as error:  # of this channel alone: the others are judged all the same
                text = f"channel '{name}' of '{product}' cannot be halted: {error.message}"
                problems.append(Problem(text, product, name))
    telemetry.set_problems("rollout", problems)
