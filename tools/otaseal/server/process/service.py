"""The server's one process: what its listeners share, and how they are put together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import files
from ...errors import InputError, counted
from ...release.provenance import Builders
from ...store.backend import Backend
from ...store.enrolments import Enrolments
from ...store.proof_keys import ProofKeys
from ...store.release_notes import ReleaseNotes
from ...store.token_uses import TokenUses
from ...store.tokens import TokenFile
from ...store.trusts import TrustFile
from ..catalog import Catalog
from ..changes import Changes
from ..device_api.app import DeviceApp
from ..device_api.connection import DeviceConnection
from ..device_api.enrolment import Enrolment
from ..device_api.listener import Connections, DeviceListener, ListenerContext
from ..device_api.proofs import ProofCheck
from ..device_api.proxy_protocol import Network
from ..device_api.recorder import Recorder
from ..limits import room
from ..mqtt.broker import Broker
from ..mqtt.publisher import Publisher
from ..operator_api.app import make_app
from ..operator_api.auth import Access
from ..operator_api.fleet import Fleet
from ..operator_api.handlers.context import DeviceEndpoint, OperatorContext
from ..operator_api.issuer_keys import IssuerKeys
from ..operator_api.listener import make_listener
from ..operator_api.oidc import Oidc
from ..operator_api.room import Room
from ..operator_page.app import make_page
from ..operator_page.visitors import PATH
from ..patches import Patches
from ..telemetry import Telemetry
from ..tls import ClientCheck, Credentials
from ..webhooks import Hook, Webhooks
from . import event_loop
from .maintenance import Maintenance, StoreCheck
from .mqtt_source import MqttSource
from .rollout_news import Notices

if TYPE_CHECKING:
    import socket
    import ssl

    from uvicorn import Server

    from ...pki.certificate import Certificate

LATELY_SECONDS = 30 * 86400.0
"""How long ago a device was seen at most that must not be left behind."""
SPARE = 250
"""Connections of operators that are for requests, however many listen to what changes."""
MAX_CA_BYTES = 256 * 1024


@dataclass(frozen=True)
class ServerOptions:
    """The options of `otaseal serve`; `products` are names with the file of a public key to add."""

    store: str
    chain: Path
    key: Path
    listen: str = "127.0.0.1:8443"
    operator_listen: str = "127.0.0.1:8444"
    device_ca: Path | None = None
    operator_ca: Path | None = None
    revoked: Path | None = None
    no_revocations: bool = False
    products: tuple[tuple[str, Path], ...] = ()
    require_proof: bool = False
    strand_devices: bool = False
    builders: Builders = field(default_factory=Builders)
    """Whose builds become releases."""
    names: tuple[str, ...] = ()
    trusted: Path | None = None
    forwarders: tuple[Network, ...] = ()
    webhooks: tuple[Hook, ...] = ()
    broker: Broker | None = None
    cache: Path | None = None
    """A folder for what can be made again, where the store has none."""

    def device_authorities(self) -> tuple[Certificate, ...]:
        """Return what is in --device-ca; raises InputError."""
        from ...pki.certificate import parse_certificates

        if self.device_ca is None:
            return ()
        return parse_certificates(files.read_bounded(self.device_ca, MAX_CA_BYTES, "device authority"))

    def client_check(self, role: str, telemetry: Telemetry) -> ClientCheck | None:
        """Return the check of clients in a role, "device" or "operator"; None where no certificate is asked for."""
        authority = self.device_ca if role == "device" else self.operator_ca
        if authority is None:
            return None
        path = self.revoked or authority.resolve().parent.parent / "revoked.json"
        return ClientCheck(None if self.no_revocations else path, role, telemetry)


@dataclass(frozen=True)
class Service:
    """What the server serves with: `contexts` are the TLS of devices and of operators."""

    options: ServerOptions
    telemetry: Telemetry
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    device_socket: socket.socket
    operator_socket: socket.socket
    store_check: StoreCheck
    backend: Backend
    catalog: Catalog
    keys: ProofKeys

    def run(self, ready: Callable[[], None]) -> None:
        """Serve devices and operators until a signal ends it; `ready` is called once."""
        report = partial(_alarm, self.telemetry)
        patches, changes = self._patches(), Changes(max(1, room() - SPARE))
        self.telemetry.alarms.watchers.append(lambda alarm: changes.tell("alarms", alarm.product, alarm.channel))
        with contextlib.ExitStack() as stack:
            webhooks = stack.enter_context(Webhooks(self.options.webhooks, self.telemetry))
            recorder = stack.enter_context(Recorder(self.backend.notes, report, self.backend.labels.keys))
            stack.enter_context(contextlib.closing(patches))
            notices = Notices(webhooks.tell, self.backend.leads())
            self.telemetry.alarms.watchers.append(notices.alarm)
            notes = ReleaseNotes(self.backend.secrets)
            notes.load()
            maintenance = Maintenance(
                catalog=self.catalog,
                recorder=recorder,
                telemetry=self.telemetry,
                credentials=self.credentials,
                contexts=self.contexts,
                keys=self.keys,
                devices=self.backend.devices,
                store_check=self.store_check,
                backend=self.backend,
                patches=patches,
                changes=changes,
                uses=TokenUses(self.backend.secrets),
                notes=notes,
                notices=notices,
            )
            self._require_proof(maintenance)
            context = self._operator_context(maintenance)
            listeners = self._device_listener(maintenance), self._operator_listener(context)
            self._publish(context, maintenance, stack)
            event_loop.run(listeners, maintenance, ready)
            maintenance.write_keys()
            maintenance.write_uses(now=True)

    def _publish(self, context: OperatorContext, maintenance: Maintenance, stack: contextlib.ExitStack) -> None:
        """Tell a broker of devices, if there is one, until `stack` ends."""
        if self.options.broker is not None:
            source = MqttSource(context, lambda: maintenance.loop)
            publisher = Publisher(self.options.broker, source, self.telemetry, lambda: maintenance.notices.leading)
            maintenance.changes.watchers.append(stack.enter_context(publisher).hint)

    def _patches(self) -> Patches:
        """Return the patches that are kept, and what makes more of them where its package is installed."""

        def report(message: str) -> None:
            self.telemetry.event("patches", message=message)

        patches = Patches(self.catalog, self.backend.cache or self.options.cache, report)
        if missing := patches.missing():
            report(missing)
            patches.close()
        return patches

    def _require_proof(self, maintenance: Maintenance) -> None:
        """Give firmware from now on to devices that prove their names alone, or to all again, as the options say.

        Raises InputError where that would leave devices behind that were seen lately.
        """
        keys, now = maintenance.keys, time.time()
        if not self.options.require_proof:
            if keys.closed is not None:
                self.catalog.store.record_event({"event": "proof", "required": False, "by": "server"})
                keys.reopen()
            return
        if keys.closed is not None:
            return  # who came since then is nobody that is left behind
        stranded = maintenance.devices.without_proof(now - LATELY_SECONDS)
        if stranded and not self.options.strand_devices:
            whose = "its name" if stranded == 1 else "their names"
            raise InputError(
                f"{counted(stranded, 'device')} seen in the last 30 days did not prove {whose}, and would get no "
                "firmware any more",
                "start without --require-proof: otaseal devices then shows who proves a name; give the others the "
                "OtaSeal library of this release, or a certificate; to leave them behind, add --strand-devices",
            )
        self.catalog.store.record_event({"event": "proof", "required": True, "stranded": stranded, "by": "server"})
        keys.close(now)

    def _device_listener(self, maintenance: Maintenance) -> DeviceListener:
        recorder = maintenance.recorder
        proofs = ProofCheck(maintenance.keys, recorder, self.telemetry)
        enrolment = Enrolment(self.catalog, Enrolments(self.backend.secrets), maintenance.keys, self.telemetry)
        app = DeviceApp(
            self.catalog,
            recorder,
            self.telemetry,
            proofs,
            enrolment,
            maintenance.patches,
            self.backend.labels,
            maintenance.notes,
        )
        inspect = self.options.client_check("device", self.telemetry) or _no_certificate
        context = ListenerContext(app, self.contexts[0], inspect, Connections(room()), self.options.forwarders)
        return DeviceListener(self.device_socket, partial(DeviceConnection, context), context.connections)

    def _operator_context(self, maintenance: Maintenance) -> OperatorContext:
        """Return what operators work with, who read the devices on a connection of their own."""
        options, catalog = self.options, self.catalog
        return OperatorContext(
            catalog=catalog,
            fleet=Fleet(
                catalog,
                maintenance.devices,
                maintenance.recorder,
                maintenance.clock,
                maintenance.keys,
                Enrolments(self.backend.secrets),
                self.backend.labels,
                Room(catalog),
            ),
            access=self._access(maintenance.uses),
            telemetry=self.telemetry,
            endpoint=DeviceEndpoint(self.device_socket.getsockname()[1], options.device_ca is not None),
            patches=maintenance.patches,
            changes=maintenance.changes,
            notes=maintenance.notes,
            chain=options.chain,
            names=options.names,
            builders=options.builders,
            proven_only=options.require_proof,
            device_authorities=options.device_authorities(),
        )

    def _operator_listener(self, context: OperatorContext) -> Server:
        inspect = self.options.client_check("operator", self.telemetry) or _no_certificate
        app = make_app(context, make_page(context), PATH)
        return make_listener(app, self.operator_socket, self.contexts[1], inspect)

    def _access(self, uses: TokenUses) -> Access:
        def report(message: str) -> None:
            self.telemetry.event("issuer", message=message)

        documents = self.catalog.store.documents
        return Access(TokenFile(documents), Oidc(TrustFile(documents), IssuerKeys(report)), uses, self.telemetry)


def _no_certificate(connection: Any) -> None:
    """Inspect a connection of a listener that asks for no certificate."""


def _alarm(telemetry: Telemetry, message: str) -> None:
    telemetry.alarm("devices", message=message)
