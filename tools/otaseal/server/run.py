"""The server as a process: what it is given, its two listeners, its housekeeping, and its end.

It says what a device will think of its certificate before the first one asks, looks for a renewed certificate every
second, halts a rollout that goes wrong, and on a signal lets the downloads that run come to their end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files, rollout
from ..channels import Pointer
from ..devices import Devices
from ..errors import ConfigError, ConflictError, InputError, OtasealError
from ..release import check_name
from ..store import DEVICES_FILE, Store
from ..store_check import sweep
from .access import Access
from .app import DeviceApp
from .archives import Archives, names_in
from .catalog import Catalog
from .connections import Connections, DeviceListener
from .device_http import make_device_protocol
from .limits import raise_open_files
from .listener import bind, make_listener, require_packages
from .operator import Facts, Operators
from .telemetry import Telemetry
from .tls import ClientCertificate, Credentials, Revocations, client_certificate, server_context
from .tokens import TokenFile

if TYPE_CHECKING:
    import socket
    import ssl

    from uvicorn import Server


__all__ = ["Plan", "halt_failing", "open_store", "parse_product", "self_test", "serve"]

RENEWAL_SECONDS = 1.0
ROLLOUT_SECONDS = 10.0
PATIENCE = 3600.0
"""Seconds within which a device has to come back after an update."""
MAX_KEY_BYTES = 64 * 1024
MAX_CA_BYTES = 256 * 1024
MARKER = "store.json"


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
    products: tuple[tuple[str, Path], ...] = ()
    names: tuple[str, ...] = ()
    trusted: Path | None = None


@dataclass
class _Running:
    """The parts of a server that runs, for its housekeeping."""

    catalog: Catalog
    devices: Devices
    telemetry: Telemetry
    credentials: Credentials
    contexts: tuple[ssl.SSLContext, ...]
    complained: str = field(default="", repr=False)


def serve(plan: Plan, telemetry: Telemetry, ready: Callable[[str, str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once with both addresses when connections are taken.

    Raises ConfigError, InputError and SystemFaultError for what keeps it from starting.
    """
    require_packages()
    raise_open_files()
    store = open_store(plan)
    report = sweep(store)
    for problem in report.problems:
        telemetry.alarm("store", message=problem)
    credentials = Credentials(plan.chain, plan.key)
    contexts = (
        server_context(credentials, plan.device_ca),
        server_context(credentials, plan.operator_ca, required=False),
    )
    for line in self_test(plan, datetime.now(timezone.utc)):
        (telemetry.event if line["verdict"] != "refused" else telemetry.alarm)("certificate", **line)
    with (
        Devices(store.directory / DEVICES_FILE) as devices,
        bind(plan.listen) as first,
        bind(plan.operator_listen) as second,
    ):
        running = _Running(Catalog(store), devices, telemetry, credentials, contexts)
        listeners = _listeners(plan, running, first, second)
        addresses = _address(first), _address(second)
        _event_loop()(_main(listeners, running, lambda: ready(*addresses)))


def open_store(plan: Plan) -> Store:
    """Return the store, made if there is none, with the plan's products and their keys."""
    exists = (plan.store / MARKER).exists()
    store = Store.open(plan.store) if exists else Store.create(plan.store)
    for product, path in plan.products:
        pem = files.read_bounded(path, MAX_KEY_BYTES, "public key")
        if pem not in store.keys(check_name(product, "product")).values():
            store.add_key(product, path.stem.lower(), pem)
    return store


def self_test(plan: Plan, now: datetime) -> list[dict[str, Any]]:
    """Return what the stacks will say to the server's certificate, one mapping for each name that devices use.

    The names are the plan's, else those in the certificate. Without the authority that devices trust nothing can be
    said; it is the plan's, else that of the PKI store in which the chain lies.
    """
    from ..pki.chain import parse_certificates
    from ..pki.check import examine

    chain = parse_certificates(files.read_bounded(plan.chain, MAX_CA_BYTES, "chain"))
    beside = plan.chain.resolve().parents[3:4]
    trusted = plan.trusted or next((one / "server-ca" / "certificate.pem" for one in beside), None)
    if trusted is None or not trusted.is_file():
        return [{"verdict": "unknown", "findings": "give --trusted, the authority that devices trust"}]
    anchors = [one.der for one in parse_certificates(files.read_bounded(trusted, MAX_CA_BYTES, "authority"))]
    lines: list[dict[str, Any]] = []
    for name in plan.names or names_in(chain[0].der):
        report = examine([one.der for one in chain], anchors, name, now)
        refusing = sorted(stack.value for stack, verdict in report.verdicts.items() if not verdict.accepted)
        lines.append(
            {
                "server": name,
                "verdict": "accepted" if report.good else "refused",
                "by": ",".join(refusing) or None,
                "findings": "; ".join(f"{one.message} ({one.fact})" for one in report.findings) or None,
                "expires": next((one.not_after.isoformat() for one in report.expiring), None),
            }
        )
    return lines


def _listeners(
    plan: Plan, running: _Running, first: socket.socket, second: socket.socket
) -> list[Server | DeviceListener]:
    device_lists = None if plan.device_ca is None else _revocations(plan, plan.device_ca, "device")
    operator_lists = None if plan.operator_ca is None else _revocations(plan, plan.operator_ca, "operator")
    telemetry = running.telemetry
    devices = DeviceApp(running.catalog, running.devices, telemetry)
    connections = Connections()
    facts = Facts(first.getsockname()[1], plan.device_ca is not None)
    access = Access(TokenFile(running.catalog.store.directory), telemetry)
    archives = Archives(running.catalog, plan.chain, plan.names)
    operators = Operators(running.catalog, running.devices, access, telemetry, facts, archives).app()
    return [
        DeviceListener(
            first,
            make_device_protocol(devices, running.contexts[0], _inspector(device_lists, telemetry), connections),
            connections,
        ),
        make_listener(operators, second, running.contexts[1], _inspector(operator_lists, telemetry)),
    ]


def _revocations(plan: Plan, authority: Path, role: str) -> Revocations:
    """Return the list for an authority: the one that was named, else that of the store the authority lies in."""
    path = plan.revoked or authority.resolve().parent.parent / "revoked.json"
    if plan.revoked is not None and not path.is_file():
        raise InputError(f"'{path}' is not a file", "give the revoked.json of the store, or leave --revoked out")
    return Revocations(path, role)


def _inspector(lists: Revocations | None, telemetry: Telemetry) -> Callable[[Any], ClientCertificate | None]:
    def inspect(connection: Any) -> ClientCertificate | None:
        if lists is None:
            return None
        certificate = client_certificate(connection)
        if certificate is None:
            return None
        try:
            revoked = lists.holds(certificate)
        except OtasealError as error:
            telemetry.alarm("revocations", message=error.message)
            raise
        if revoked:
            telemetry.event("revoked", name=certificate.name, serial=f"{certificate.serial:x}")
            raise InputError(f"the certificate of '{certificate.name}' is revoked", "issue it a new one")
        return certificate

    return inspect


async def _main(listeners: list[Server | DeviceListener], running: _Running, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: _note(running, context))

    def stop() -> None:
        for one in listeners:
            one.force_exit = one.should_exit  # a second signal ends at once
            one.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has its own way to end a process
            loop.add_signal_handler(number, stop)
    for one in listeners:
        await one.startup()
    keeping = loop.create_task(_keep_house(running))
    ready()
    try:
        await asyncio.gather(*(one.main_loop() for one in listeners))
    finally:
        keeping.cancel()
        running.telemetry.event("stopping")
        await asyncio.gather(*(one.shutdown() for one in listeners))
        running.telemetry.event("stopped")


async def _keep_house(running: _Running) -> None:
    judged = time.monotonic()
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        _renew(running)
        if time.monotonic() - judged >= ROLLOUT_SECONDS:
            judged = time.monotonic()
            try:
                await asyncio.to_thread(halt_failing, running.catalog, running.devices, running.telemetry, time.time())
            except OtasealError as error:
                running.telemetry.alarm("rollout", message=error.message)


def _renew(running: _Running) -> None:
    """Take a certificate that was renewed into use; a bad one is named once, and the old one stays."""
    try:
        before = running.credentials.stamps
        for context in running.contexts:
            # Each context asks by what was there before this round: the first must not hide the change from the second.
            running.credentials.stamps = before
            if running.credentials.renew(context) and context is running.contexts[-1]:
                running.telemetry.event("renewed", chain=str(running.credentials.chain))
        running.complained = ""
    except OtasealError as error:
        running.credentials.stamps = before
        if error.message != running.complained:
            running.complained = error.message
            running.telemetry.alarm("certificate", message=error.message)


def halt_failing(catalog: Catalog, devices: Devices, telemetry: Telemetry, now: float) -> None:
    """Halt every rollout of which too many devices did not come back with the new release."""
    for product in catalog.store.products():
        for name in catalog.store.channels(product):
            state = catalog.channel(product, name)
            if state is None or state.pointer.halted:
                continue
            version = state.pointer.version
            counts = devices.counts(product, name, version, now, PATIENCE)
            if rollout.judge(counts, rollout.Limits()) != "halt":
                continue
            pointer: Pointer = replace(state.pointer, halted=True)
            with contextlib.suppress(ConflictError):  # somebody changed it just now, and it is judged anew
                catalog.store.point(product, name, pointer, expected=state.generation, by="server")
                telemetry.alarm("halted", product=product, channel=name, version=version, failed=counts.failed)


def _event_loop() -> Callable[[Any], Any]:
    """Return what runs a coroutine: uvloop where it is installed, which costs less per request."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run
    run: Callable[[Any], Any] = uvloop.run
    return run


def _note(running: _Running, context: dict[str, Any]) -> None:
    """Write down what asyncio would print: a client that breaks off in the handshake is no error of ours."""
    error = context.get("exception")
    if not isinstance(error, OSError):
        running.telemetry.event("trouble", message=str(context.get("message")), kind=type(error).__name__)


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def parse_product(text: str) -> tuple[str, Path]:
    """Return name and key file of `blink=signing.pub`; raises ConfigError."""
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"'{text}' names no product and key", "write blink=~/keys/blink/signing.pub")
    return check_name(name, "product"), files.resolve_path(path, Path())
