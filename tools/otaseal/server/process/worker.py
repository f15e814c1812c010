"""One process of the server: its listeners, what it shares with other processes, and its end.

Everything here is made once, before any worker is forked, or by the worker for itself. Each worker answers devices; the
first one answers operators too, and judges rollouts: there is one of those in every server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, OtasealError
from ...store.device_file import Place
from ...store.devices import Devices
from ...store.files import Store
from ..catalog import Catalog
from ..device_api.app import DeviceApp
from ..device_api.connection import DeviceConnection
from ..device_api.listener import Connections, DeviceListener, ListenerContext
from ..device_api.recorder import Ledger, Recorder
from ..door import Door, Mailboxes
from ..limits import room
from ..log import Log
from ..operator_api.app import make_app
from ..operator_api.archives import Archives
from ..operator_api.auth import Access
from ..operator_api.fleet import DeviceView
from ..operator_api.handlers.context import DeviceEndpoint, OperatorContext
from ..operator_api.listener import make_listener
from ..operator_api.tokens import TokenFile
from ..sessions import SessionTable
from ..sockets import BACKLOG
from ..telemetry import CounterBoard, Telemetry
from ..tls import ClientCertificate, Credentials, Inspect, Revocations, client_certificate
from ..workers import Control
from .examination import Examination
from .maintenance import EventHandler, House

if TYPE_CHECKING:
    import socket
    import ssl

    from uvicorn import Server

__all__ = ["Plan", "Shared", "Site", "revocations"]


@dataclass(frozen=True)
class Plan:
    """What `otaseal serve` was asked for; `products` are names with the file of a public key to add."""

    store: Path
    chain: Path
    key: Path
    listen: str = "127.0.0.1:8443"
    operator_listen: str = "127.0.0.1:8444"
    device_ca: Path | None = None
    operator_ca: Path | None = None
    revoked: Path | None = None
    no_revocations: bool = False
    products: tuple[tuple[str, Path], ...] = ()
    names: tuple[str, ...] = ()
    trusted: Path | None = None
    workers: int = 1


@dataclass(frozen=True)
class Shared:
    """What workers share: memory and mailboxes, made before they are."""

    sessions: SessionTable
    mailboxes: Mailboxes
    ledger: Ledger
    counters: CounterBoard

    @classmethod
    def create(cls, workers: int, family: int) -> Shared:
        """Make it for that many, and connections of that address family; the supervisor counts beside them."""
        return cls(SessionTable(), Mailboxes(workers, family), Ledger(workers), CounterBoard(workers + 1))

    def gone(self, worker: int) -> None:
        """Forget what a worker that died would have seen to."""
        self.ledger.clear(worker)


@dataclass(frozen=True)
class Site:
    """All that is made before any worker is; each answers devices, and one of them operators too."""

    plan: Plan
    store: Store
    log: Log
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    first: socket.socket
    second: socket.socket
    examination: Examination
    place: Place
    catalog: Catalog

    def work(self, telemetry: Telemetry, ready: Callable[[], None]) -> None:
        """Be the only process."""
        place = self.place
        with self.log.running(), Recorder(place, _alarm(telemetry)) as recorder, Devices(place) as devices:
            house = House(self.catalog, recorder, telemetry, self.credentials, self.contexts, devices)
            house.examination, house.place = self.examination, place
            listeners: list[DeviceListener | Server] = [
                self.devices_listener(house),
                self.operators_listener(house, devices),
            ]
            _event_loop()(_main(listeners, house, ready, None))

    def join(self, shared: Shared, number: int, control: Control) -> None:
        """Be worker `number`; the first one is the operators' too, and judges rollouts."""
        log = self.log.fresh()
        telemetry = Telemetry(log.write, shared.counters, number, {"worker": number})
        with contextlib.ExitStack() as stack:
            stack.enter_context(log.running())
            recorder = stack.enter_context(Recorder(self.place, _alarm(telemetry), shared.ledger, number))
            devices = stack.enter_context(Devices(self.place)) if number == 0 else None
            contexts = self.contexts if number == 0 else self.contexts[:1]
            house = House(self.catalog, recorder, telemetry, self.credentials, contexts, devices)
            listeners: list[DeviceListener | Server] = [self.devices_listener(house, _Seat(shared, number))]
            if devices is not None:
                house.examination, house.place = self.examination, self.place
                listeners.append(self.operators_listener(house, devices))
            else:
                self.second.close()
            _event_loop()(_main(listeners, house, control.ready, control))

    def devices_listener(self, house: House, seat: _Seat | None = None) -> DeviceListener:
        """Return the listener for devices; in a `seat` among workers, connections come through the door they share."""
        plan, telemetry = self.plan, house.telemetry
        app = DeviceApp(house.catalog, house.recorder, telemetry)
        inspect = _inspector(revocations(plan, "device"), telemetry)
        context = ListenerContext(app, self.contexts[0], inspect, Connections(room()))
        if seat is None:
            return DeviceListener(self.first, partial(DeviceConnection, context), context.connections)
        door = seat.door(self.first, lambda: telemetry.count("otaseal_handed_over_total"))
        context = replace(context, inspect=seat.noting(inspect), hand_over=door.leads_elsewhere)
        return _Seated(door, partial(DeviceConnection, context), context.connections)

    def operators_listener(self, house: House, devices: Devices) -> Server:
        """Return the listener for operators, who read the devices on a connection of their own."""
        plan = self.plan
        inspect = _inspector(revocations(plan, "operator"), house.telemetry)
        context = OperatorContext(
            catalog=house.catalog,
            devices=DeviceView(devices, house.recorder, house.patience.look),
            access=Access(TokenFile(self.store.directory), house.telemetry),
            telemetry=house.telemetry,
            endpoint=DeviceEndpoint(self.first.getsockname()[1], plan.device_ca is not None),
            archives=Archives(house.catalog, plan.chain, plan.names),
        )
        return make_listener(make_app(context), self.second, self.contexts[1], inspect)


@dataclass(frozen=True)
class _Seat:
    """A worker's place among the others."""

    shared: Shared
    number: int

    def noting(self, inspect: Inspect) -> Inspect:
        """Return an `inspect` that also notes whose the session of a full handshake is."""

        def note(connection: Any) -> ClientCertificate | None:
            if not connection.session_reused and (session := connection.session) is not None:
                self.shared.sessions.note(session.id, self.number)
            return inspect(connection)

        return note

    def door(self, listening: socket.socket, handed: Callable[[], None]) -> Door:
        """Return the worker's way in."""
        return Door(listening, self.number, self.shared.sessions, self.shared.mailboxes, handed)


class _Seated(DeviceListener):
    """The devices' listener of a worker: connections come through the door that all of them share."""

    def __init__(self, way_in: Door, protocol: Callable[..., asyncio.Protocol], connections: Connections) -> None:
        super().__init__(way_in.listening, protocol, connections)
        self._way_in = way_in

    async def open(self) -> Door:
        return await self._way_in.open(self.protocol, BACKLOG)


def _alarm(telemetry: Telemetry) -> Callable[[str], None]:
    return lambda message: telemetry.alarm("devices", message=message)


def revocations(plan: Plan, role: str) -> Revocations | None:
    """Return the list that clients of a role, "device" or "operator", are held against; None without an authority.

    It is the one that was named, else that of the store the authority lies in. Raises InputError for a list that is
    not there or damaged, unless it was said that there is none.
    """
    authority = plan.device_ca if role == "device" else plan.operator_ca
    if authority is None:
        return None
    path = plan.revoked or authority.resolve().parent.parent / "revoked.json"
    lists = Revocations(None if plan.no_revocations else path, role)
    lists.load()
    return lists


def _inspector(lists: Revocations | None, telemetry: Telemetry) -> Inspect:
    """Return what looks at the client of every connection; `lists` is None where no certificate is asked for."""

    def inspect(connection: Any) -> ClientCertificate | None:
        if lists is None:
            return None
        certificate = client_certificate(connection)
        if certificate is None:
            return None
        serial = f"{certificate.serial:x}"
        try:
            certificate.check_dates(time.time())
        except InputError as error:
            telemetry.event("expired", name=certificate.name, serial=serial, message=error.message)
            raise
        try:
            revoked = lists.holds(certificate)
        except OtasealError as error:
            telemetry.alarm("revocations", message=error.message)
            raise
        if revoked:
            telemetry.event("revoked", name=certificate.name, serial=serial)
            raise InputError(f"the certificate of '{certificate.name}' is revoked", "issue it a new one")
        return certificate

    return inspect


async def _main(
    listeners: list[DeviceListener | Server], house: House, ready: Callable[[], None], control: Control | None
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: house.note(context))
    logging.getLogger().handlers = [EventHandler(house.telemetry)]
    keeping = loop.create_task(house.keep())

    def stop() -> None:
        if not listeners[0].should_exit:
            keeping.cancel()
            house.telemetry.event("stopping")
        for listener in listeners:
            listener.force_exit = listener.should_exit  # a second signal ends at once
            listener.should_exit = True

    _listen_for_signals(loop, stop, house.reload, control)
    serving = [loop.create_task(listener.serve()) for listener in listeners]
    for task in serving:
        task.add_done_callback(lambda _: None if listeners[0].should_exit else stop())  # none goes on alone
    ready()
    await asyncio.gather(*serving)
    house.telemetry.event("stopped")


def _listen_for_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], reload: Callable[[], None], control: Control | None
) -> None:
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reload)
    if control is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows has its own way to end a process
                loop.add_signal_handler(number, stop)
        return

    def look() -> None:
        told, last = control.told_to_stop()
        if last:
            loop.remove_reader(control.fileno())
        if told:
            stop()

    loop.add_reader(control.fileno(), look)


def _event_loop() -> Callable[[Any], Any]:
    """Return what runs a coroutine: uvloop where it is installed, which costs less per request."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run
    run: Callable[[Any], Any] = uvloop.run
    return run
