"""`otaseal claim`: codes with which devices ask for their first certificate, on the server itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from ..errors import ConfigError, NotFoundError, counted
from ..pki.profile import MAC_ADDRESS
from ..store.backend import open_backend
from ..store.claims import USUAL_DAYS, Claim
from ..store.enrolments import Enrolments
from ..store.hashed_secrets import valid_at
from . import common


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    example = "otaseal claim new --store /var/lib/otaseal/store --product blink --uses 20"
    actions = common.group(subparsers, "claim", example)
    new = common.command(actions, "new", _new, example=example, summary="make a claim code, which is shown once")
    new.add_argument("--product", required=True, help="the product whose devices it is for")
    new.add_argument("--device", type=_device, metavar="MAC", help="the one device that it is for, enrolled or not")
    new.add_argument("--days", type=int, default=USUAL_DAYS, help=f"how long it lasts; default: {USUAL_DAYS}")
    new.add_argument("--uses", type=int, default=1, metavar="N", help="how many new devices it is for; default: 1")
    example = "otaseal claim list --store /var/lib/otaseal/store"
    listed = common.command(actions, "list", _list, example=example, summary="list the claim codes")
    example = "otaseal claim revoke 1a2b3c4d --store /var/lib/otaseal/store"
    summary = "end a claim code, and the requests that wait by it"
    revoke = common.command(actions, "revoke", _revoke, example=example, summary=summary)
    revoke.add_argument("id", help="as otaseal claim list shows it")
    for parser in (new, listed, revoke):
        parser.add_argument("--store", type=common.location, metavar="DIR", required=True, help="the server's store")


def _new(arguments: argparse.Namespace) -> int:
    product = arguments.product
    with open_backend(arguments.store) as backend:
        if product not in backend.store.products():
            raise NotFoundError(
                f"the store has no product '{product}'", f"give it its key: otaseal serve --product {product}=..."
            )
        enrolments = Enrolments(backend.secrets)
        now = datetime.now(timezone.utc)
        claim, code = enrolments.claims.issue(product, arguments.device or "", arguments.days, arguments.uses, now)
    common.show(arguments, {"claim": code, **claim._asdict()}, code)
    if not arguments.json:
        print(f"otaseal: claim {claim.id} for {_whom(claim)}, until {claim.expires}; not shown again", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    now = datetime.now(timezone.utc)
    with _enrolments(arguments.store) as enrolments:
        claims = enrolments.claims.list()
    lines = [f"{claim.id}  {_whom(claim)}  {claim.used} used  {_end(claim, now)}" for claim in claims]
    rows = [{**claim._asdict(), "valid": valid_at(claim.expires, now)} for claim in claims]
    return common.show(arguments, rows, *(lines or ["there is no claim code"]))


def _revoke(arguments: argparse.Namespace) -> int:
    with _enrolments(arguments.store) as enrolments:
        claim, dropped = enrolments.revoke(arguments.id)
    line = f"revoked  {claim.id}  {_whom(claim)}; {counted(dropped, 'request')} that waited by it dropped"
    return common.show(arguments, {**claim._asdict(), "dropped": dropped}, line)


@contextmanager
def _enrolments(location: str) -> Iterator[Enrolments]:
    with open_backend(location) as backend:
        yield Enrolments(backend.secrets)


def _device(text: str) -> str:
    if not MAC_ADDRESS.fullmatch(text.upper()):
        raise ConfigError(f"'{text}' is not a MAC address", "write it as in 5C:CF:7F:F0:04:CB")
    return text.upper()


def _whom(claim: Claim) -> str:
    devices = f"device {claim.device}" if claim.device else counted(claim.uses, "device")
    return f"{devices} of '{claim.product}'"


def _end(claim: Claim, now: datetime) -> str:
    return f"{'until' if valid_at(claim.expires, now) else 'expired'} {claim.expires}"
