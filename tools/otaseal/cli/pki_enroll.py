"""`otaseal pki enroll`: sign what devices ask for, from files, over a serial line, or from an update server."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..commands import runnable
from ..errors import ConfigError, InputError, OtasealError, SystemFaultError, counted, describe, one_line
from ..pki.enrolment import ENROLLED_DAYS, MAX_REQUEST_BYTES, Request, check_request
from ..pki.profile import Role
from ..pki.store import CHAIN_FILE
from . import common, remote, stores

if TYPE_CHECKING:
    from ..client.client import Client
    from ..enrolment.waiting import Waiting
    from ..pki.store import Store
    from ..settings import Settings

BAUD = 115200
MAX_DAYS = 9131
"""As long as an authority is valid."""
SHOWN = {
    "claim": "with a claim code",
    "key": "with its enrolled key",
    "certificate": "a renewal, with its certificate",
}
"""What a device showed for its request, in words."""
_PERIOD = re.compile(r"([1-9][0-9]{0,3})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def register(actions: common.Subparsers) -> None:
    """Declare `pki enroll`."""
    parser = remote.command(
        actions,
        "enroll",
        _enroll,
        summary="sign a device's own certificate request: from a file, over serial, or from the update server",
        example="otaseal pki enroll --port /dev/ttyUSB0 --server https://update.local:8444 --product blink",
        channel=None,
    )
    parser.add_argument("requests", nargs="*", type=common.path, metavar="CSR", help="files of requests, PEM or DER")
    parser.add_argument("--out", type=common.path, metavar="DIR", help="of files: put the certificates there, in DER")
    parser.add_argument("--port", metavar="PORT", help="the serial port of a device whose sketch calls enroll(Serial)")
    parser.add_argument(
        "--baud", type=common.number(300, 4_000_000, "is not a speed"), default=BAUD, help=f"default: {BAUD}"
    )
    parser.add_argument(
        "--only", choices=("certificate", "key"), help="over serial: one of the two; default: what there is for it"
    )
    parser.add_argument("--every", type=_period, metavar="TIME", help="from a server: again and again, as in 10m")
    parser.add_argument("--renewals", action="store_true", help="from a server: nothing but renewals, without asking")
    parser.add_argument("--yes", action="store_true", help="from a server: sign without asking")
    parser.add_argument(
        "--days",
        type=common.number(2, MAX_DAYS, "is not a valid number of days"),
        default=ENROLLED_DAYS,
        help=f"how long it is valid; default: {ENROLLED_DAYS}",
    )
    parser.add_argument("--store", type=common.path, metavar="DIR", help="the authorities, where they lie elsewhere")
    parser.add_argument(
        "--passphrase-file", type=common.path, metavar="FILE", help="unlock the authority with the first line of FILE"
    )


def _enroll(arguments: argparse.Namespace) -> int:
    _refuse_mixed(arguments)
    if arguments.requests:
        return _from_files(arguments)
    if arguments.port is not None:
        return _over_serial(arguments)
    return _from_server(arguments)


def _refuse_mixed(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options of two ways at once."""
    if arguments.requests and arguments.port is not None:
        raise ConfigError(
            f"'{arguments.requests[0]}' and --port '{arguments.port}' are given: a file, and a device's serial port",
            "leave one out",
        )
    way = "files" if arguments.requests else "--port" if arguments.port is not None else "a server"
    given = {
        "--out": ("files", arguments.out is not None),
        "--only": ("--port", arguments.only is not None),
        "--every": ("a server", arguments.every is not None),
        "--renewals": ("a server", arguments.renewals),
        "--yes": ("a server", arguments.yes),
    }
    for option, (where, is_given) in given.items():
        if is_given and where != way:
            raise ConfigError(f"{option} is for requests from {where}, and these are from {way}", f"leave {option} out")


def _from_files(arguments: argparse.Namespace) -> int:
    from ..enrolment import means

    requests = []
    for path in arguments.requests:
        data = files.read_bounded(path, 2 * MAX_REQUEST_BYTES, "certificate request")
        try:
            requests.append(check_request(data))
        except InputError as error:
            raise InputError(f"'{path}': {error.message}", error.hint) from error
    store = means.open_store(_options(arguments), _base(arguments), os.environ)
    rows = []
    for request in requests:
        certificate = store.enroll(request, now=stores.now(), days=arguments.days)
        path = store.folder(Role.DEVICE, request.device) / CHAIN_FILE
        if arguments.out is not None:
            path = arguments.out / f"{request.device.replace(':', '-')}.crt"
            files.write_atomic(path, certificate.der)
        end = certificate.fields.not_after.isoformat()
        rows.append({"name": request.device, "serial": certificate.serial, "not_after": end, "certificate": str(path)})
    lines = [f"{row['name']}\n  certificate  {row['certificate']} (to {row['not_after'][:10]})" for row in rows]
    return common.show(arguments, rows, *lines)


def _over_serial(arguments: argparse.Namespace) -> int:
    from ..enrolment import bench, means
    from ..enrolment.port import Port

    signing, registry = means.of(_options(arguments), _base(arguments), os.environ, arguments.days)
    with Port(arguments.port, arguments.baud) as port:
        if not arguments.json:
            print(f"waiting for the device at {port.name}, {port.baud} baud", flush=True)
        done = bench.enroll(port, signing, registry)
    serial = None if done.certificate is None else done.certificate.serial
    return common.show(arguments, {"name": done.device, "serial": serial, "server": done.server}, *done.lines())


def _from_server(arguments: argparse.Namespace) -> int:
    from ..enrolment import means

    client, product, _ = remote.connect(arguments)
    if arguments.every is not None and not (arguments.yes or arguments.renewals):
        raise ConfigError("with --every nobody is asked", "say what may be signed: --renewals, or --yes for all of it")
    store = means.open_store(_options(arguments), _base(arguments), os.environ)
    if arguments.every is not None and not arguments.json:
        print(f"signing what waits at {client.url}, every {arguments.every} seconds", flush=True)
    code = _sign_waiting(arguments, client, product, store)
    while arguments.every is not None:
        time.sleep(arguments.every)
        try:
            _sign_waiting(arguments, client, product, store)
        except SystemFaultError as error:  # the next time it may be there again
            _print_error(error)
    return code


def _sign_waiting(arguments: argparse.Namespace, client: Client, product: str, store: Store) -> int:
    """Sign what waits, and return the exit status: 1 where anything is refused, here or by the server."""
    from ..enrolment import waiting

    entries, now = store.list(), stores.now()
    found = waiting.fetch(client, product, store, now)
    chosen = [
        one.request
        for one in found
        if one.request and (waiting.is_renewal(one, entries, now) or not arguments.renewals)
    ]
    if not arguments.json:
        _show_waiting(found, chosen, quiet=arguments.every is not None)
    if chosen and not (arguments.yes or arguments.renewals):
        _confirm(arguments, len(chosen))
    signed, refused = [], [{"name": one.device, "error": one.refusal} for one in found if one.request is None]
    for request in chosen:
        try:
            certificate = waiting.answer(client, product, store, request, now=stores.now(), days=arguments.days)
        except InputError as error:
            refused.append({"name": request.device, "error": error.message})
            if not arguments.json:
                _print_error(error)
            continue
        end = certificate.fields.not_after.isoformat()
        signed.append({"name": request.device, "serial": certificate.serial, "not_after": end})
        if not arguments.json:
            print(f"signed   {request.device}  {certificate.serial} (to {end[:10]})", flush=True)
    if arguments.json:
        print(json.dumps({"signed": signed, "refused": refused, "waiting": len(found) - len(signed)}), flush=True)
    return 1 if refused else 0


def _print_error(error: OtasealError) -> None:
    print(runnable(describe(error)), file=sys.stderr, flush=True)


def _show_waiting(found: Sequence[Waiting], chosen: Sequence[Request], *, quiet: bool) -> None:
    for one in found:
        proof = one.enrolment.proof
        if one.request is None:
            print(one_line(f"refused  {one.device}  {one.refusal}"), flush=True)
        elif one.request in chosen or not quiet:
            state = "waits" if one.request in chosen else "left"
            print(one_line(f"{state:<8} {one.device}  {SHOWN.get(proof, proof)}"), flush=True)
    if not found and not quiet:
        print("nothing waits")


def _confirm(arguments: argparse.Namespace, count: int) -> None:
    """Have it confirmed that what was shown is to be signed."""
    what = f"{counted(count, 'request')} to sign"
    if arguments.json or sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(f"{what}, and nobody to ask", "say --yes to sign them, or --renewals for renewals alone")
    if input(f"type 'yes' to sign {counted(count, 'request')}: ").strip() != "yes":
        raise ConfigError("not confirmed, and nothing is signed", "otaseal claim revoke removes requests of a code")


def _options(arguments: argparse.Namespace) -> Settings:
    """Return the options that count, and the only store there is where no product is named."""
    folder, options = remote.folder(arguments), remote.options(arguments)
    store: Path | None = arguments.store
    if store is None and options.pki is None and options.product is None and stores.available():
        store = stores.choose(arguments)
    given = {
        "enroll": arguments.only,
        "pki": common.absolute(store, folder),
        "passphrase_file": common.absolute(arguments.passphrase_file, folder),
    }
    return replace(options, **{name: value for name, value in given.items() if value is not None})


def _base(arguments: argparse.Namespace) -> Path:
    return remote.folder(arguments) or Path()


def _period(text: str) -> int:
    """Return a time as people write it, 90s, 10m, 2h or 1d, in seconds; raises ConfigError."""
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ConfigError(f"'{text}' is not a time", "write it as 90s, 10m, 2h or 1d")
    return int(match[1]) * _SECONDS[match[2]]
