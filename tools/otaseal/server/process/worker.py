"""One process of the server: the listeners that it has, and what it shares with other processes.

Everything here is made once, before any worker is forked, or by the worker for itself. Each worker answers devices; the
first one answers operators too, and judges rollouts: there is one of those in every server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...store.device_file import DeviceFile
from ...store.devices import Devices
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
from ..operator_api.fleet import DeviceReader
from ..operator_api.handlers.context import DeviceEndpoint, OperatorContext
from ..operator_api.listener import make_listener
from ..operator_api.tokens import TokenFile
from ..sessions import SessionTable
from ..sockets import BACKLOG
from ..telemetry import CounterBoard, Telemetry
from ..tls import ClientCertificate, Credentials, Inspect
from ..workers import Control
from . import event_loop
from .client_check import client_check, revocations
from .maintenance import Maintenance
from .options import ServerOptions
from .store_check import StoreCheck

if TYPE_CHECKING:
    import socket
    import ssl

    from uvicorn import Server


@dataclass(frozen=True)
class SharedState:
    """What workers share: memory and mailboxes, made before they are."""

    sessions: SessionTable
    mailboxes: Mailboxes
    ledger: Ledger
    counters: CounterBoard

    @classmethod
    def create(cls, workers: int, family: int) -> SharedState:
        """Allocate it for so many workers, whose connections are of that address family; the supervisor counts, too."""
        return cls(SessionTable(), Mailboxes(workers, family), Ledger(workers), CounterBoard(workers + 1))

    def forget(self, worker: int) -> None:
        """Drop the deliveries that a worker which died has not written."""
        self.ledger.clear(worker)


@dataclass(frozen=True)
class Worker:
    """What a process serves with, made before any is forked: `contexts` are the TLS of devices and of operators."""

    options: ServerOptions
    log: Log
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    device_socket: socket.socket
    operator_socket: socket.socket
    store_check: StoreCheck
    device_file: DeviceFile
    catalog: Catalog

    def run_alone(self, telemetry: Telemetry, ready: Callable[[], None]) -> None:
        """Serve devices and operators, as the server's only process, until a signal ends it."""
        with (
            self.log.running(),
            Recorder(self.device_file, _reporter(telemetry)) as recorder,
            Devices(self.device_file) as devices,
        ):
            maintenance = self._first_maintenance(recorder, telemetry, devices)
            event_loop.run(
                (self._device_listener(maintenance), self._operator_listener(maintenance, devices)), maintenance, ready
            )

    def run(self, shared: SharedState, number: int, control: Control) -> None:
        """Serve as worker `number` until the supervisor ends it; worker 0 is the operators', too."""
        log = self.log.fresh()
        telemetry = Telemetry(log.write, shared.counters, number, {"worker": number})
        listeners: list[DeviceListener | Server] = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(log.running())
            recorder = Recorder(self.device_file, _reporter(telemetry), shared.ledger, number)
            stack.enter_context(recorder)
            if number == 0:
                devices = stack.enter_context(Devices(self.device_file))
                maintenance = self._first_maintenance(recorder, telemetry, devices)
                listeners.append(self._operator_listener(maintenance, devices))
            else:
                maintenance = Maintenance(self.catalog, recorder, telemetry, self.credentials, self.contexts[:1])
                self.operator_socket.close()
            listeners.insert(0, self._shared_device_listener(maintenance, shared, number))
            event_loop.run(listeners, maintenance, control.ready, control)

    def _first_maintenance(self, recorder: Recorder, telemetry: Telemetry, devices: Devices) -> Maintenance:
        """Return the maintenance of the first worker, which includes that of the store."""
        maintenance = Maintenance(self.catalog, recorder, telemetry, self.credentials, self.contexts)
        maintenance.devices, maintenance.store_check = devices, self.store_check
        maintenance.device_file = self.device_file
        return maintenance

    def _device_context(self, maintenance: Maintenance) -> ListenerContext:
        app = DeviceApp(maintenance.catalog, maintenance.recorder, maintenance.telemetry)
        inspect = client_check(revocations(self.options, "device"), maintenance.telemetry)
        return ListenerContext(app, self.contexts[0], inspect, Connections(room()))

    def _device_listener(self, maintenance: Maintenance) -> DeviceListener:
        context = self._device_context(maintenance)
        return DeviceListener(self.device_socket, partial(DeviceConnection, context), context.connections)

    def _shared_device_listener(self, maintenance: Maintenance, shared: SharedState, number: int) -> DeviceListener:
        """Return a listener that hands connections to the worker that knows their session."""
        context, telemetry = self._device_context(maintenance), maintenance.telemetry

        def count() -> None:
            telemetry.count("otaseal_handed_over_total")

        door = Door(self.device_socket, number, shared.sessions, shared.mailboxes, count)
        inspect = _noting_session(context.inspect, shared.sessions, number)
        context = replace(context, inspect=inspect, hand_over=door.leads_elsewhere)
        return _SharedDeviceListener(door, partial(DeviceConnection, context), context.connections)

    def _operator_listener(self, maintenance: Maintenance, devices: Devices) -> Server:
        """Return the listener for operators, who read the devices on a connection of their own."""
        catalog, telemetry, options = maintenance.catalog, maintenance.telemetry, self.options
        context = OperatorContext(
            catalog=catalog,
            devices=DeviceReader(devices, maintenance.recorder, maintenance.clock.look),
            access=Access(TokenFile(catalog.store.directory), telemetry),
            telemetry=telemetry,
            endpoint=DeviceEndpoint(self.device_socket.getsockname()[1], options.device_ca is not None),
            archives=Archives(catalog, options.chain, options.names),
        )
        inspect = client_check(revocations(options, "operator"), telemetry)
        return make_listener(make_app(context), self.operator_socket, self.contexts[1], inspect)


class _SharedDeviceListener(DeviceListener):
    """The devices' listener of a worker: connections come through the door that all of them share."""

    def __init__(self, door: Door, protocol: Callable[..., asyncio.Protocol], connections: Connections) -> None:
        super().__init__(door.listening, protocol, connections)
        self._door = door

    async def open(self) -> Door:
        return await self._door.open(self.protocol, BACKLOG)


def _noting_session(inspect: Inspect, sessions: SessionTable, worker: int) -> Inspect:
    """Return an `inspect` that also notes whose the session of a full handshake is."""

    def note(connection: Any) -> ClientCertificate | None:
        if not connection.session_reused and (session := connection.session) is not None:
            sessions.note(session.id, worker)
        return inspect(connection)

    return note


def _reporter(telemetry: Telemetry) -> Callable[[str], None]:
    return lambda message: telemetry.alarm("devices", message=message)
