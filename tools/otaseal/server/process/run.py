"""How the server starts: options are checked, and then its one process serves.

What a device will make of the server's certificate is reported before the first one asks.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ... import files
from ...errors import ConfigError, OtasealError, SystemFaultError, from_checkout, naming
from ...keys.public import load_public_key
from ...names import check_name
from ...store.backend import Backend, open_backend
from ...store.contents import MAX_KEY_BYTES
from ...store.proof_keys import ProofKeys
from ...store.store import Store
from ...store.tokens import TokenFile
from ...store.trusts import TrustFile
from ..catalog import Catalog
from ..device_api.listener import BACKLOG
from ..device_api.tls_transport import KERNEL_BUFFER
from ..limits import raise_open_files
from ..log import Log
from ..operator_api.handlers.certs import presented_chain
from ..telemetry import Telemetry
from ..tls import Credentials, server_context
from .authorities import check_roles
from .maintenance import StoreCheck
from .service import MAX_CA_BYTES, ServerOptions, Service

OPEN = (
    "devices are asked for no certificate (--device-ca) and no proof (--require-proof): who reaches their port can "
    "read the firmware, and the Wi-Fi passwords in it, and can say anything in the name of a device without a key"
)
CERTIFIED = "only devices with a certificate of --device-ca can read the firmware, and the Wi-Fi passwords in it"
PROVEN = (
    "only devices that prove their names, by {}, can read the firmware, and the Wi-Fi passwords in it; who reaches "
    "their port can read the certificates that devices trust"
)


def serve(options: ServerOptions, log: Log, ready: Callable[[str, str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` gets both addresses. Raises ConfigError, InputError, SystemFaultError."""
    _require_packages()
    telemetry = Telemetry(log.write)
    _check_options(options)
    raise_open_files()
    credentials = Credentials(options.chain, options.key)
    contexts = (
        server_context(credentials, options.device_ca, required=not options.require_proof),
        server_context(credentials, options.operator_ca, required=False),
    )
    check_roles(options)
    keys = _read_keys(options.products)
    findings = self_test(options, datetime.now(timezone.utc))
    _load_revoked(options, telemetry)
    with contextlib.ExitStack() as stack:
        stack.enter_context(log.running())
        sockets = stack.enter_context(_bind(options.listen)), stack.enter_context(_bind(options.operator_listen))
        # A store is made only for a server that starts.
        backend = stack.enter_context(open_backend(options.store, _name(sockets[0]), create=True))
        _add_keys(backend.store, keys)
        store_check = StoreCheck(backend.store)
        store_check.tidy()
        catalog, proof_keys = _start(backend, telemetry)
        _report(backend.store, findings, telemetry)
        service = Service(
            options=options,
            telemetry=telemetry,
            credentials=credentials,
            contexts=contexts,
            device_socket=sockets[0],
            operator_socket=sockets[1],
            store_check=store_check,
            backend=backend,
            catalog=catalog,
            keys=proof_keys,
        )
        _report_open_secrets(options, telemetry)
        service.run(lambda: _announce(service, ready))


def _announce(service: Service, ready: Callable[[str, str], None]) -> None:
    service.telemetry.event("open", message=who_can_read(service.options))
    ready(_address(service.device_socket), _address(service.operator_socket))


def _load_revoked(options: ServerOptions, telemetry: Telemetry) -> None:
    """Read the lists of revoked certificates once before anybody connects; raises as `ClientCheck.load`."""
    for role in ("device", "operator"):
        if (check := options.client_check(role, telemetry)) is not None:
            check.load()


def _start(backend: Backend, telemetry: Telemetry) -> tuple[Catalog, ProofKeys]:
    """Read into memory what devices ask for: once, and not by the first device."""
    catalog = Catalog(backend.store)
    proof_keys = backend.start(lambda message: telemetry.alarm("devices", message=message), catalog.warm)
    backend.labels.facts = catalog.facts
    catalog.warm()
    return catalog, proof_keys


def _require_packages() -> None:
    """Raise SystemFaultError, with the command that installs them, unless the packages of the server are there."""
    try:
        import httptools  # noqa: F401
        import jwt  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise SystemFaultError(
            f"the package '{error.name}' is missing", from_checkout("server", f'"{sys.executable}"')
        ) from error


def _report(store: Store, findings: Sequence[dict[str, Any]], telemetry: Telemetry) -> None:
    """Report what devices will think of the certificate, and what operators will miss."""
    for kind, file in (("tokens", TokenFile(store.documents)), ("trusts", TrustFile(store.documents))):
        try:
            file.list()
        except OtasealError as error:
            telemetry.alarm(kind, message=error.message)
    for line in findings:
        (telemetry.event if line["verdict"] != "refused" else telemetry.alarm)("certificate", **line)
    if not store.products():
        telemetry.event("empty", message="there is no product yet: otaseal serve --product <name>=signing.pub")


def _report_open_secrets(options: ServerOptions, telemetry: Telemetry) -> None:
    """Say once which secrets others on this machine can read, which is no reason not to serve."""
    hooks = (hook.file for hook in options.webhooks if hook.file is not None)
    for path in (options.key, *hooks, *(options.broker.secrets if options.broker else ())):
        if (mode := files.open_secret(path)) is not None:
            message = f"others on this machine can read this secret (mode {mode}): chmod 600 it"
            telemetry.event("readable", file=str(path), message=message)


def who_can_read(options: ServerOptions) -> str:
    """Return in words who can read the firmware from the devices' port."""
    if options.require_proof:
        return PROVEN.format("a key" if options.device_ca is None else "a certificate or a key")
    return OPEN if options.device_ca is None else CERTIFIED


def _check_options(options: ServerOptions) -> None:
    """Raise ConfigError for options that contradict each other."""
    if options.strand_devices and not options.require_proof:
        raise ConfigError("--strand-devices is given, and no device is left behind", "give --require-proof, too")
    given = [f"--revoked '{options.revoked}'"] if options.revoked is not None else []
    given += ["--no-revocations"] if options.no_revocations else []
    if len(given) > 1:
        raise ConfigError(f"{given[0]} and {given[1]} contradict each other", "give one of them")
    if given and options.device_ca is None and options.operator_ca is None:
        raise ConfigError(
            f"{given[0]} is given, and no authority whose certificates it is about",
            "give --device-ca or --operator-ca, too",
        )


def _add_keys(store: Store, keys: Sequence[tuple[str, str, bytes]]) -> None:
    """Add public keys: each of a product, its name, its PEM."""
    for product, name, pem in keys:
        if pem not in store.keys(product).values():
            store.add_key(product, name, pem)


def _read_keys(products: Sequence[tuple[str, Path]]) -> list[tuple[str, str, bytes]]:
    keys = []
    for product, path in products:
        pem = files.read_bounded(path, MAX_KEY_BYTES, "public key")
        load_public_key(pem, f"public key '{path}'")
        keys.append((check_name(product, "product"), path.stem.lower(), pem))
    return keys


def self_test(options: ServerOptions, now: datetime) -> list[dict[str, Any]]:
    """Return the verdict of the TLS stacks on the server's certificate, one mapping for each name that devices use.

    It needs the authority that devices trust: that of the options, else that of the PKI store in which the chain lies.
    """
    from ...pki.certificate import parse_certificates
    from ...pki.check import examine

    presented = presented_chain(options.chain, options.names)
    beside = options.chain.resolve().parents[3:4]
    trusted = options.trusted or next((folder / "server-ca" / "certificate.pem" for folder in beside), None)
    if options.trusted is None and (trusted is None or not trusted.is_file()):
        return [{"verdict": "unknown", "findings": "give --trusted, the authority that devices trust"}]
    assert trusted is not None
    data = files.read_bounded(trusted, MAX_CA_BYTES, "authority")
    with naming(trusted):
        anchors = [certificate.der for certificate in parse_certificates(data)]
    lines: list[dict[str, Any]] = []
    for name in presented.names:
        report = examine(presented.chain, anchors, name, now)
        refusing = sorted(stack.value for stack, verdict in report.verdicts.items() if not verdict.accepted)
        lines.append(
            {
                "server": name,
                "verdict": "accepted" if report.good else "refused",
                "by": ",".join(refusing) or None,
                "findings": "; ".join(finding.message for finding in report.findings) or None,
                "expires": next((certificate.not_after.isoformat() for certificate in report.expiring), None),
            }
        )
    return lines


def _bind(address: str) -> socket.socket:
    """Return a listening socket for `host:port` or `[v6]:port`; raises ConfigError, SystemFaultError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"'{address}' is not an address to listen on", "write host:port, as in 127.0.0.1:8443")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)  # accepted connections inherit it
        return listening
    except OSError as error:
        reason = error.strerror or str(error)
        raise SystemFaultError(
            f"cannot listen on '{address}': {reason}", "choose a free port, and an own address"
        ) from (error)


def _name(listening: socket.socket) -> str:
    """Return what the other servers of a database call this one."""
    host, port = listening.getsockname()[:2]
    return f"{socket.gethostname()} {host}:{port}"


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def parse_product(text: str) -> tuple[str, Path]:
    """Return name and key file of `blink=signing.pub`; raises ConfigError."""
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"'{text}' names no product and key", "write blink=~/keys/blink/signing.pub")
    return check_name(name, "product", ConfigError), files.resolve_path(path, Path())
