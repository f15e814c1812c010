"""`otaseal certs sign` and `certs deploy`: certificates that devices with the OtaSeal library take over the air."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..certs import ar
from ..errors import ConfigError
from ..image.manifest import Claim
from ..keys.public import fingerprint
from ..protocol.request import ARCHIVE_FILE
from ..release import signed_archive
from ..release.archive_record import MAX_SIGNED_ARCHIVE
from . import common, remote

if TYPE_CHECKING:
    from ..client.client import Client
    from ..rehearsal import Renewal


def register(actions: common.Subparsers) -> None:
    """Declare the two among the actions of `certs`."""
    sign = common.command(
        actions,
        "sign",
        _sign,
        summary="sign an archive, so that devices with the OtaSeal library take it over the air",
        example="otaseal certs sign data/certs.ar --product blink --key ~/keys/signing.key",
    )
    sign.add_argument("archive", type=common.path, help="a certs.ar, as otaseal certs pack makes it")
    sign.add_argument("--product", help="whose devices may take it; else OTASEAL_PRODUCT")
    sign.add_argument("--security-counter", help="devices with a higher one refuse it; else OTASEAL_SECURITY_COUNTER")
    common.add_signing_key(sign)
    sign.add_argument(
        "-o", "--output", type=common.path, default=Path(ARCHIVE_FILE), metavar="FILE", help=f"default: {ARCHIVE_FILE}"
    )

    deploy = remote.command(
        actions,
        "deploy",
        _deploy,
        summary="publish a signed archive, for devices to take it over the air",
        example=f"otaseal certs deploy {ARCHIVE_FILE} --server https://update.local:8444 --product blink",
    )
    deploy.add_argument("archive", type=common.path, help=f"{ARCHIVE_FILE}, as otaseal certs sign makes it")
    deploy.add_argument("--no-rehearse", action="store_true", help="publish without a rehearsal, which is recorded")
    deploy.add_argument(
        "--layout", metavar="NAME", help="of the flash, as in 4m2m, or partitions.bin; for the rehearsal"
    )


def _sign(arguments: argparse.Namespace) -> int:
    output: Path = arguments.output
    given = common.options(product=arguments.product, security_counter=arguments.security_counter)
    if given.product is None:
        raise ConfigError("no product is given", "use --product <name>, or set OTASEAL_PRODUCT")
    common.remove_stale(
        output, arguments.archive, limit=ar.ARCHIVE_LIMIT, kind="signed archive", is_kind=signed_archive.looks_signed
    )
    data = files.read_bounded(arguments.archive, ar.ARCHIVE_LIMIT, "archive")
    signer = common.signer(arguments.key, arguments.passphrase_file)
    now = datetime.now(timezone.utc)
    claim = Claim(
        given.product, version=f"{now:%Y-%m-%d}", counter=given.security_counter, build_time=int(now.timestamp())
    )
    signed = signed_archive.sign(data, claim, signer, now)
    files.write_atomic(output, signed)
    key = fingerprint(signer.public_key)
    return common.show(
        arguments,
        {"output": str(output), "size": len(signed), "product": given.product, "key": key},
        f"{output}: {len(signed)} bytes, signed for the devices of {given.product} with key {key}, and verified",
    )


def _deploy(arguments: argparse.Namespace) -> int:
    if arguments.no_rehearse and arguments.layout:
        raise ConfigError("--layout is for the rehearsal", "leave it out, or --no-rehearse")
    from .. import rehearsal
    from ..client import archives

    connected, product, channel = remote.connect(arguments)
    signed = files.read_bounded(arguments.archive, MAX_SIGNED_ARCHIVE, "signed archive")
    with remote.interruptible(lambda: archives.standing(connected, signed, product, channel)):
        note = _rehearsed(arguments, connected, rehearsal.Renewal(signed, product=product, channel=channel))
        done = archives.deploy_archive(connected, signed, product, channel, note)
    return common.show(arguments, asdict(done), *done.lines())


def _rehearsed(arguments: argparse.Namespace, connected: Client, renewal: Renewal) -> str:
    """Rehearse before anything is published, and return what the server keeps of it; raises when it fails."""
    if arguments.no_rehearse:
        return "skipped"
    from .. import rehearsal
    from ..rehearsal import sources

    layout = sources.named_layout(arguments.layout)
    report = rehearsal.before_renewing(connected, replace(renewal, layout=layout))
    return remote.rehearsed(report, arguments.json)
