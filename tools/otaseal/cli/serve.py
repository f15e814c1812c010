"""`otaseal serve`: the update server in the foreground."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from ..errors import ConfigError, SystemFaultError, from_checkout
from ..release.provenance import URI, Builders
from ..server.device_api.proxy_protocol import parse_network
from ..server.log import Log
from ..server.mqtt.broker import Broker, read_broker
from ..server.mqtt.publisher import is_installed
from ..server.process import run
from ..server.process.service import ServerOptions
from ..server.webhooks import Hook, read_hook
from . import common

ANY_BUILDER = "any"
DEVICES, OPERATORS = "127.0.0.1:8443", "127.0.0.1:8444"


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    serve = common.command(
        subparsers,
        "serve",
        _serve,
        example="otaseal serve --store /var/lib/otaseal/store --cert chain.pem --key key.pem "
        "--product blink=signing.pub",
        json_help="print where it listens as JSON",
    )
    serve.add_argument(
        "--store", type=common.location, metavar="DIR", required=True,
        help="the releases; made if missing: a directory, or the address of a database, postgresql://...",
    )  # fmt: skip
    serve.add_argument("--cert", type=common.path, metavar="FILE", required=True, help="the server's chain, PEM")
    serve.add_argument("--key", type=common.path, metavar="FILE", required=True, help="the private key of the chain")
    serve.add_argument(
        "--product", type=run.parse_product, action="append", default=[], metavar="NAME=FILE",
        help="a product, and a public key that signs its releases; kept in the store",
    )  # fmt: skip
    serve.add_argument("--listen", metavar="HOST:PORT", default=DEVICES, help=f"for devices; default: {DEVICES}")
    serve.add_argument(
        "--operator-listen", metavar="HOST:PORT", default=OPERATORS, help=f"for operators; default: {OPERATORS}"
    )
    _add_devices(serve)
    _add_operators(serve)
    _add_news(serve)
    serve.add_argument("--workers", type=_refuse_workers, help=argparse.SUPPRESS)
    serve.add_argument("--log-json", action="store_true", help="log JSON, one object a line")


def _add_devices(serve: argparse.ArgumentParser) -> None:
    """Declare which devices are served, and how they reach the server."""
    serve.add_argument(
        "--proxy-protocol-from", type=parse_network, action="append", default=[], metavar="ADDRESS",
        help="a forwarder, or a network of them: HAProxy with send-proxy-v2, that says whose connections it hands on",
    )  # fmt: skip
    serve.add_argument("--device-ca", type=common.path, metavar="FILE", help="only devices with its certificates")
    serve.add_argument(
        "--require-proof", action="store_true",
        help="firmware only for devices that prove their names, by a certificate or the library's key",
    )  # fmt: skip
    serve.add_argument(
        "--strand-devices", action="store_true",
        help="with --require-proof: even if devices seen lately cannot, and get no firmware any more",
    )  # fmt: skip
    serve.add_argument(
        "--name", action="append", default=[], help="what devices call this server, for the test at the start"
    )
    serve.add_argument(
        "--trusted", type=common.path, metavar="FILE", help="the authority that devices trust, for the same test"
    )


def _add_operators(serve: argparse.ArgumentParser) -> None:
    """Declare who may publish, and what."""
    serve.add_argument(
        "--require-provenance", action="append", type=_builder, metavar="BUILDER",
        help="releases only with provenance from this builder: its URI, the beginning of one and *, or any",
    )  # fmt: skip
    serve.add_argument(
        "--builder-key", type=common.path, action="append", default=[], metavar="FILE",
        help="a public key that builders sign provenance with; the keys of the product may, too",
    )  # fmt: skip
    serve.add_argument("--operator-ca", type=common.path, metavar="FILE", help="who may do what their certificates say")
    serve.add_argument("--revoked", type=common.path, metavar="FILE", help="default: revoked.json of the CA's store")
    serve.add_argument("--no-revocations", action="store_true", help="no certificate of these authorities is revoked")


def _add_news(serve: argparse.ArgumentParser) -> None:
    """Declare who is told what happens."""
    serve.add_argument(
        "--webhook", type=_hook, action="append", default=[], metavar="FILE",
        help="whom to tell what calls for a person: its first line is the address, https://..., its second the secret",
    )  # fmt: skip
    serve.add_argument(
        "--mqtt", type=_broker, metavar="FILE",
        help="tell a broker of devices and their updates, as Home Assistant reads them: the file's [mqtt] says which",
    )  # fmt: skip


def _serve(arguments: argparse.Namespace) -> int:
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    options = ServerOptions(
        store=arguments.store,
        chain=arguments.cert,
        key=arguments.key,
        listen=arguments.listen,
        operator_listen=arguments.operator_listen,
        device_ca=arguments.device_ca,
        require_proof=arguments.require_proof,
        strand_devices=arguments.strand_devices,
        builders=_builders(arguments),
        operator_ca=arguments.operator_ca,
        revoked=arguments.revoked,
        no_revocations=arguments.no_revocations,
        products=tuple(arguments.product),
        names=tuple(arguments.name),
        trusted=arguments.trusted,
        webhooks=tuple(arguments.webhook),
        broker=arguments.mqtt,
        forwarders=tuple(arguments.proxy_protocol_from),
        cache=Path(cache) if (cache := os.environ.get("CACHE_DIRECTORY")) else None,  # systemd's
    )

    def ready(devices: str, operators: str) -> None:
        # Only now: who started this may connect as soon as the line is there.
        line = f"otaseal: serving devices on {devices}, operators on {operators}"
        if arguments.json:
            line = json.dumps({"devices": devices, "operators": operators})
        with contextlib.suppress(OSError, AttributeError):  # nobody may be there to read it
            os.write(sys.stdout.fileno(), f"{line}\n".encode())

    log = Log(None if sys.stderr is None else sys.stderr.fileno(), as_json=arguments.log_json)
    run.serve(options, log, ready)
    return 0


def _builder(text: str) -> str:
    if text != ANY_BUILDER and not URI.fullmatch(text):
        hint = f"give the URI that its provenance names, the beginning of one and *, or {ANY_BUILDER}"
        raise ConfigError(f"'{text[:80]}' is no builder", hint)
    return text


def _builders(arguments: argparse.Namespace) -> Builders:
    names = arguments.require_provenance or []
    return Builders(
        required=bool(names),
        names=() if ANY_BUILDER in names else tuple(names),
        keys=tuple(map(common.load_key, arguments.builder_key)),
    )


def _hook(text: str) -> Hook:
    return read_hook(common.path(text))


def _broker(text: str) -> Broker:
    if not is_installed():
        raise SystemFaultError("--mqtt needs the package paho-mqtt", from_checkout("mqtt", f'"{sys.executable}"'))
    return read_broker(common.path(text))


def _refuse_workers(count: str) -> NoReturn:
    raise ConfigError(
        f"'{count}' processes are no longer possible: one answers devices and operators",
        "leave --workers out: one process answers thousands of polls a second",
    )
