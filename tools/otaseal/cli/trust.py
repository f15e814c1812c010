"""`otaseal trust`: whose short-lived tokens an update server takes, said on the server itself."""

from __future__ import annotations

import argparse
import getpass
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from .. import files
from ..errors import ConfigError
from ..store.backend import open_backend
from ..store.trusts import KNOWN, MAX_AUTHORITY, OWNERS, Trust, TrustFile, check_issuer
from . import common

NARROWING = ("ref", "environment", "ref_protected", "sub", "job_workflow_ref", "ref_path")
"""Claims that say more than whose a token is."""


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    example = (
        "otaseal trust add release --store /var/lib/otaseal/store --issuer github --audience https://update.local:8444 "
        "--claim repository=me/blink --claim environment=release --scope blink/stable"
    )
    actions = common.group(subparsers, "trust", example)
    add = common.command(actions, "add", _add, example=example, summary="trust tokens of an issuer that say all this")
    add.add_argument("name", help="what it is for, for people")
    add.add_argument(
        "--issuer", required=True, metavar="URL", help=f"as its tokens name it, https://...; or {' or '.join(KNOWN)}"
    )
    add.add_argument(
        "--audience", required=True, metavar="TEXT", help="what the token is for: the operators' address of the server"
    )
    add.add_argument(
        "--claim", type=_claim, action="append", default=[], metavar="NAME=VALUE", help="what it must say, exactly"
    )
    add.add_argument(
        "--claim-like", type=_claim, action="append", default=[], metavar="NAME=PATTERN",
        help="the same, where * stands for anything but a slash",
    )  # fmt: skip
    add.add_argument(
        "--scope", action="append", default=[], metavar="PRODUCT[/CHANNEL]", help="what may be done then; * for any"
    )
    add.add_argument("--issuer-ca", type=common.path, metavar="FILE", help="the authority of the issuer's own server")
    listed = common.command(
        actions, "list", _list, example="otaseal trust list --store /var/lib/otaseal/store", summary="list the trusts"
    )
    example = "otaseal trust remove 1a2b3c4d --store /var/lib/otaseal/store"
    remove = common.command(actions, "remove", _remove, example=example, summary="end a trust at once")
    remove.add_argument("id", help="as otaseal trust list shows it")
    for parser in (add, listed, remove):
        parser.add_argument("--store", type=common.location, metavar="DIR", required=True, help="the server's store")


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"'{text}' is no claim and its value", "write repository=me/blink")
    return name, value


def _add(arguments: argparse.Namespace) -> int:
    trust = Trust(
        id="",
        name=arguments.name,
        issuer=check_issuer(arguments.issuer),
        audience=arguments.audience,
        claims=_once(arguments.claim),
        patterns=_once(arguments.claim_like),
        scopes=tuple(arguments.scope),
        authority=_authority(arguments),
    )
    with open_backend(arguments.store) as backend:
        added = TrustFile(backend.store.documents).add(trust, f"local:{getpass.getuser()}")
        known = backend.store.products()
    common.show(arguments, _shown(added), *_lines(added))
    common.note_unknown((scope.product for scope in trust.allowed), known)
    if trust.audience.startswith("https://") and trust.audience.endswith("/"):
        print("otaseal: note: the audience ends with '/'; --oidc asks for tokens without one", file=sys.stderr)
    if trust.issuer in OWNERS and not {*trust.claims, *trust.patterns}.intersection(NARROWING):
        print(
            "otaseal: note: every branch and every workflow of it may do that; narrower is --claim environment=... or "
            "--claim ref=refs/heads/main",
            file=sys.stderr,
        )
    return 0


def _once(claims: list[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in claims]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the claim '{name}' is given twice", "add another trust for another value")
    return dict(claims)


def _authority(arguments: argparse.Namespace) -> str:
    if arguments.issuer_ca is None:
        return ""
    from ..pki.certificate import parse_certificates

    data = files.read_bounded(arguments.issuer_ca, MAX_AUTHORITY, "authority of the issuer")
    return "".join(ssl.DER_cert_to_PEM_cert(certificate.der) for certificate in parse_certificates(data))


def _list(arguments: argparse.Namespace) -> int:
    with _trusts(arguments.store) as trusts:
        found = trusts.list()
    lines = [line for trust in found for line in _lines(trust)]
    return common.show(arguments, list(map(_shown, found)), *(lines or ["no issuer is trusted"]))


def _remove(arguments: argparse.Namespace) -> int:
    with _trusts(arguments.store) as trusts:
        trust = trusts.remove(arguments.id, f"local:{getpass.getuser()}")
    return common.show(arguments, _shown(trust), f"removed  {trust.id}  {trust.name}")


@contextmanager
def _trusts(location: str) -> Iterator[TrustFile]:
    with open_backend(location) as backend:
        yield TrustFile(backend.store.documents)


def _shown(trust: Trust) -> dict[str, object]:
    return {**asdict(trust), "authority": bool(trust.authority)}


def _lines(trust: Trust) -> list[str]:
    claims = [f"{name} = {value}" for name, value in trust.claims.items()]
    claims += [f"{name} like {pattern}" for name, pattern in trust.patterns.items()]
    return [
        f"{trust.id}  {trust.name}  for {', '.join(trust.scopes)}",
        f"  issuer {trust.issuer}{', with its own authority' if trust.authority else ''}",
        f"  audience {trust.audience}",
        *(f"  {claim}" for claim in claims),
    ]
