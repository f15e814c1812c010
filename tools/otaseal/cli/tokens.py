"""`otaseal token`: who may deploy to a server, on the server itself."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import datetime, timezone

from .. import files
from ..errors import OtasealError
from ..pki.scope import ANY, NONE
from ..release.windows import local_time
from ..store.backend import open_backend
from ..store.token_uses import TokenUses
from ..store.tokens import USUAL_DAYS, Token, TokenFile
from . import common


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    actions = common.group(subparsers, "token", "otaseal token new ci --store /var/lib/otaseal/store --product blink")
    new = common.command(
        actions,
        "new",
        _new,
        example="otaseal token new ci --store /var/lib/otaseal/store --product blink",
        summary="make a token, which is shown once",
    )
    new.add_argument("name", help="whose it is, for the log")
    new.add_argument("--product", default=ANY, help="the one product that it is for; default: any")
    changes = new.add_mutually_exclusive_group()
    changes.add_argument("--channel", default=ANY, help="the one channel that it may change; default: any")
    changes.add_argument(
        "--read-only", dest="channel", action="store_const", const=NONE, help="it may look, and change nothing"
    )
    new.add_argument("--days", type=int, default=USUAL_DAYS, help=f"how long it lasts; default: {USUAL_DAYS}")
    new.add_argument(
        "--out", type=common.path, metavar="FILE", help="write it to a new file, which only its owner reads"
    )
    listed = common.command(
        actions,
        "list",
        _list,
        example="otaseal token list --store /var/lib/otaseal/store",
        summary="list the tokens",
    )
    revoke = common.command(
        actions,
        "revoke",
        _revoke,
        example="otaseal token revoke 1a2b3c4d --store /var/lib/otaseal/store",
        summary="end a token at once",
    )
    revoke.add_argument("id", help="as otaseal token list shows it")
    for parser in (new, listed, revoke):
        parser.add_argument("--store", type=common.location, metavar="DIR", required=True, help="the server's store")


def _new(arguments: argparse.Namespace) -> int:
    now = datetime.now(timezone.utc)
    out = arguments.out
    with open_backend(arguments.store) as backend:
        if out is not None:
            files.refuse_existing(out, "give the token's file a new name")
        file = TokenFile(backend.store.documents)
        token, secret = file.issue(arguments.name, arguments.product, arguments.channel, arguments.days, now)
        if out is not None:
            try:
                files.write_new(out, f"{secret}\n".encode(), files.PRIVATE_MODE)
            except OtasealError:  # nobody has the token now
                file.revoke(token.id)
                raise
        known = backend.store.products()
    value = {**({"token": secret} if out is None else {"file": str(out)}), **_shown(token)}
    common.show(arguments, value, *([secret] if out is None else []))
    if not arguments.json:
        where = "it is not shown again" if out is None else f"it is in '{out}'"
        common.note_unknown([token.product], known)
        print(f"otaseal: token {token.id} for {_scope(token)}, until {token.expires}; {where}", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    now = datetime.now(timezone.utc)
    with open_backend(arguments.store) as backend:
        rows, uses = TokenFile(backend.store.documents).list(), TokenUses(backend.secrets).all()
    lines = [
        f"{token.id}  {token.name}  {_scope(token)}  {'until' if token.valid_at(now) else 'expired'} {token.expires}  "
        + (f"used {local_time(uses[token.id])}" if token.id in uses else "not used yet")
        for token in rows
    ]
    shown = [{**_shown(token), "valid": token.valid_at(now), "used": uses.get(token.id)} for token in rows]
    return common.show(arguments, shown, *(lines or ["there is no token"]))


def _revoke(arguments: argparse.Namespace) -> int:
    with open_backend(arguments.store) as backend:
        token = TokenFile(backend.store.documents).revoke(arguments.id)
    return common.show(arguments, _shown(token), f"revoked  {token.id}  {token.name}")


def _scope(token: Token) -> str:
    product = "any product" if token.product == ANY else f"product '{token.product}'"
    if token.channel == NONE:
        return f"{product}, to read"
    return product + ("" if token.channel == ANY else f", channel '{token.channel}'")


def _shown(token: Token) -> dict[str, str]:
    return {key: value for key, value in asdict(token).items() if key != "sha256"}
