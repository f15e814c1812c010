"""One process of the server: its listeners, and what it shares with other processes.

Every worker answers devices; the first one answers operators too, and judges rollouts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store.device_file import DeviceFile
from ...store.devices import Devices
from ...store.proof_keys import ProofKeys
from ...store.secrets import Secrets
from ..catalog import Catalog
from ..device_api.app import DeviceApp
from ..device_api.connection import DeviceConnection
from ..device_api.listener import BACKLOG, Connections, DeviceListener, ListenerContext
from ..device_api.recorder import PendingDeliveries, Recorder
from ..handover import HandOverListener, HandOverSockets
from ..limits import room
from ..log import Log
from ..operator_api.app import make_app
from ..operator_api.auth import Access
from ..operator_api.fleet import Fleet
from ..operator_api.handlers.context import DeviceEndpoint, OperatorContext
from ..operator_api.listener import make_listener
from ..operator_api.tokens import TokenFile
from ..sessions import SessionTable
from ..telemetry import SharedCounters, Telemetry
from ..tls import ClientCertificate, ClientCheck, Credentials, Inspect
from ..workers import Control
from . import event_loop
from .maintenance import Maintenance, StoreCheck

if TYPE_CHECKING:
    import socket
    import ssl

    from uvicorn import Server


@dataclass(frozen=True)
class ServerOptions:
    """The options of `otaseal serve`; `products` are names with the file of a public key to add."""

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

    def client_check(self, role: str, telemetry: Telemetry) -> ClientCheck | None:
        """Return the check of clients in a role, "device" or "operator"; None where no certificate is asked for."""
        authority = self.device_ca if role == "device" else self.operator_ca
        if authority is None:
            return None
        path = self.revoked or authority.resolve().parent.parent / "revoked.json"
        return ClientCheck(None if self.no_revocations else path, role, telemetry)


@dataclass(frozen=True)
class SharedState:
    """What workers share: memory and sockets, allocated before they are forked."""

    sessions: SessionTable
    sockets: HandOverSockets
    deliveries: PendingDeliveries
    counters: SharedCounters

    @classmethod
    def create(cls, workers: int, family: int) -> SharedState:
        """Allocate it for so many workers, whose connections are of that address family; the supervisor counts, too."""
        return cls(
            SessionTable(), HandOverSockets(workers, family), PendingDeliveries(workers), SharedCounters(workers + 1)
        )


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
    secrets: Secrets

    def run_alone(self, telemetry: Telemetry, ready: Callable[[], None]) -> None:
        """Serve devices and operators, as the server's only process, until a signal ends it."""
        with (
            self.log.running(),
            Recorder(self.device_file, _reporter(telemetry)) as recorder,
            Devices(self.device_file) as devices,
            self.secrets,
        ):
            maintenance = self._maintenance(recorder, telemetry, devices)
            context = self._device_context(maintenance)
            listener = DeviceListener(self.device_socket, partial(DeviceConnection, context), context.connections)
            event_loop.run((listener, self._operator_listener(maintenance, devices)), maintenance, ready)

    def run(self, shared: SharedState, number: int, control: Control) -> None:
        """Serve as worker `number` until the supervisor ends it; worker 0 is the operators', too."""
        log = self.log.fresh()
        telemetry = Telemetry(log.write, shared.counters, number, {"worker": number})
        listeners: list[DeviceListener | Server] = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(log.running())
            recorder = Recorder(self.device_file, _reporter(telemetry), shared.deliveries, number)
            stack.enter_context(recorder)
            if number == 0:
                devices = stack.enter_context(Devices(self.device_file))
                stack.enter_context(self.secrets)
                maintenance = self._maintenance(recorder, telemetry, devices)
                listeners.append(self._operator_listener(maintenance, devices))
            else:
                maintenance = Maintenance(self.catalog, recorder, telemetry, self.credentials, self.contexts[:1])
                self.operator_socket.close()
            listeners.insert(0, self._shared_device_listener(maintenance, shared, number))
            event_loop.run(listeners, maintenance, control.ready, control)

    def _maintenance(self, recorder: Recorder, telemetry: Telemetry, devices: Devices) -> Maintenance:
        """Return the maintenance of the first worker, which includes that of the store."""
        return Maintenance(
            catalog=self.catalog,
            recorder=recorder,
            telemetry=telemetry,
            credentials=self.credentials,
            contexts=self.contexts,
            devices=devices,
            store_check=self.store_check,
            device_file=self.device_file,
        )

    def _device_context(self, maintenance: Maintenance) -> ListenerContext:
        app = DeviceApp(maintenance.catalog, maintenance.recorder, maintenance.telemetry)
        inspect = self.options.client_check("device", maintenance.telemetry) or _no_certificate
        return ListenerContext(app, self.contexts[0], inspect, Connections(room()))

    def _shared_device_listener(self, maintenance: Maintenance, shared: SharedState, number: int) -> DeviceListener:
        """Return a listener that hands connections to the worker that knows their session."""
        context, telemetry = self._device_context(maintenance), maintenance.telemetry
        handover = HandOverListener(
            self.device_socket,
            number,
            shared.sessions,
            shared.sockets,
            on_hand_over=partial(telemetry.count, "otaseal_handed_over_total"),
        )
        inspect = _noting_session(context.inspect, shared.sessions, number)
        context = replace(context, inspect=inspect, hand_over=handover.hand_over)
        return _SharedDeviceListener(handover, partial(DeviceConnection, context), context.connections)

    def _operator_listener(self, maintenance: Maintenance, devices: Devices) -> Server:
        """Return the listener for operators, who read the devices on a connection of their own."""
        catalog, telemetry, options = maintenance.catalog, maintenance.telemetry, self.options
        context = OperatorContext(
            catalog=catalog,
            fleet=Fleet(catalog, devices, maintenance.recorder, maintenance.clock, ProofKeys(self.secrets)),
            access=Access(TokenFile(catalog.store.directory), telemetry),
            telemetry=telemetry,
            endpoint=DeviceEndpoint(self.device_socket.getsockname()[1], options.device_ca is not None),
            chain=options.chain,
            names=options.names,
        )
        inspect = options.client_check("operator", telemetry) or _no_certificate
        return make_listener(make_app(context), self.operator_socket, self.contexts[1], inspect)


class _SharedDeviceListener(DeviceListener):
    """The devices' listener of a worker: its connections come from the socket that all of them share."""

    def __init__(
        self, handover: HandOverListener, protocol: Callable[..., asyncio.Protocol], connections: Connections
    ) -> None:
        super().__init__(handover.listening, protocol, connections)
        self._handover = handover

    async def open(self) -> HandOverListener:
        return await self._handover.open(self.protocol, BACKLOG)


def _no_certificate(connection: Any) -> None:
    """Inspect a connection of a listener that asks for no certificate."""


def _noting_session(inspect: Inspect, sessions: SessionTable, worker: int) -> Inspect:
    """Return an `inspect` that also notes whose the session of a full handshake is."""

    def note(connection: Any) -> ClientCertificate | None:
        if not connection.session_reused and (session := connection.session) is not None:
            sessions.note(session.id, worker)
        return inspect(connection)

    return note


def _reporter(telemetry: Telemetry) -> Callable[[str], None]:
    return lambda message: telemetry.alarm("devices", message=message)
