"""`otaseal pki`: issue, list, renew, revoke, rotate and export what the authorities of a product made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from ..errors import ConfigError, InputError, counted
from ..pki import KeyType, Role
from ..pki.authority import CERTIFICATE_FILE
from ..pki.index import Entry
from ..pki.profile import check_holder
from ..pki.scope import parse_scope
from ..pki.store import CRL_FILE, RETIRED, REVOKED_FILE, Slot, Store
from ..project import setup
from . import common, pki_check, pki_import, stores

__all__ = ["register"]

KEYS = {"rsa": KeyType.RSA_2048, "p256": KeyType.P_256}
SLOTS = {Role.SERVER: Slot.SERVER, Role.DEVICE: Slot.DEVICE, Role.OPERATOR: Slot.OPERATOR}


def register(subparsers: common.Subparsers) -> None:
    """Declare `pki` and its actions."""
    actions = common.group(subparsers, "pki", "otaseal pki server main --name update.local --name 192.168.178.123")
    _register_issuing(actions)
    pki_check.register(actions)
    pki_import.register(actions)
    listing = common.command(
        actions, "list", _list, summary="list what was issued, and where it is", example="otaseal pki list"
    )
    stores.add_options(listing)
    renew = common.command(
        actions,
        "renew",
        _renew,
        summary="renew what is due, or what is named, with the same key",
        example="otaseal pki renew",
    )
    renew.add_argument("names", nargs="*", metavar="NAME", help="default: all that is due")
    _add_role(renew)
    revoke = common.command(
        actions, "revoke", _revoke, summary="revoke every certificate of a name", example="otaseal pki revoke esp-0042"
    )
    revoke.add_argument("name", metavar="NAME")
    _add_role(revoke)
    rotate = common.command(
        actions,
        "rotate",
        _rotate,
        summary="put the server's next authority in the place of the current",
        example="otaseal pki rotate",
    )
    rotate.add_argument("--yes", action="store_true", help="all devices carry the next authority's certificate")
    stores.add_options(rotate, passphrase=True)
    export = common.command(
        actions,
        "export",
        _export,
        summary="put the CA certificates that devices need into a folder",
        example="otaseal pki export certs",
    )
    export.add_argument("folder", type=common.path, metavar="DIR", help="the project's certs")
    stores.add_options(export)


def _register_issuing(actions: common.Subparsers) -> None:
    server = common.command(
        actions,
        "server",
        _issue_server,
        summary="issue a server certificate",
        example="otaseal pki server main --name update.local --name 192.168.178.123",
    )
    server.add_argument("names", nargs="+", metavar="NAME", help="what it is called here; a host name without --name")
    server.add_argument("--name", action="append", default=[], metavar="HOST", help="a host name or address it is for")
    server.add_argument(
        "--key", choices=tuple(KEYS), default="rsa", help="default: rsa, which is half the work on a chip"
    )
    for role, example in ((Role.DEVICE, "esp-0042"), (Role.OPERATOR, "alice@example.org")):
        parser = common.command(
            actions,
            role.value,
            _issue_clients,
            summary=f"issue {role.value} certificates",
            example=f"otaseal pki {role.value} {example}",
        )
        parser.add_argument("names", nargs="+", metavar="NAME", help="the common name, by which the server knows it")
        parser.set_defaults(role=role)
        if role is Role.OPERATOR:
            parser.add_argument(
                "--scope", type=parse_scope, action="append", default=[], metavar="PRODUCT[/CHANNEL]",
                help="what it is for, more than once if need be; default: everything",
            )  # fmt: skip
        stores.add_options(parser, passphrase=True)
    stores.add_options(server, passphrase=True)


def _add_role(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", choices=[role.value for role in Role], help="needed if several have that name")
    stores.add_options(parser, passphrase=True)


def _issue_server(arguments: argparse.Namespace) -> int:
    if arguments.name and len(arguments.names) > 1:
        raise ConfigError(f"--name is given for {len(arguments.names)} certificates", "issue them one by one")
    for name in arguments.names:
        _check_title(name)
    store = stores.opened(stores.choose(arguments), Slot.SERVER, passphrase_file=arguments.passphrase_file)
    key, now = KEYS[arguments.key], stores.now()
    issued = [store.issue_server(name, arguments.name or [name], now=now, key=key) for name in arguments.names]
    return _report_issued(issued, arguments)


def _check_title(name: str) -> None:
    try:
        check_holder(name)
    except ConfigError as error:
        raise ConfigError(error.message, f"call it something else: otaseal pki server main --name '{name}'") from error


def _issue_clients(arguments: argparse.Namespace) -> int:
    role: Role = arguments.role
    store = stores.opened(stores.choose(arguments), SLOTS[role], passphrase_file=arguments.passphrase_file)
    now, names = stores.now(), arguments.names
    if role is Role.DEVICE:
        return _report_issued([store.issue_device(name, now=now) for name in names], arguments)
    return _report_issued([store.issue_operator(name, now=now, scopes=arguments.scope) for name in names], arguments)


def _report_issued(folders: Iterable[Path], arguments: argparse.Namespace) -> int:
    rows = [
        {"name": folder.name, "chain": str(folder / "chain.pem"), "key": str(folder / "key.pem")} for folder in folders
    ]
    if arguments.json:
        common.show(arguments, rows)
        return 0
    for row in rows:
        print(
            f"{row['name']}", f"  certificate  {row['chain']}", f"  private key  {row['key']} (not encrypted)", sep="\n"
        )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    store, now = stores.opened(stores.choose(arguments)), stores.now()
    due = {entry.serial for entry in store.due(now)}
    latest = {(entry.role, entry.name): entry.serial for entry in store.list()}
    rows: list[dict[str, str]] = [
        {
            "role": entry.role,
            "name": entry.name,
            "serial": entry.serial,
            "not_after": entry.not_after,
            "state": _state(entry, due, now, latest[entry.role, entry.name]),
        }
        for entry in store.list()
    ]
    roots = [
        {
            "authority": slot.value,
            "subject": store.certificate(slot).title,
            "not_after": store.certificate(slot).fields.not_after.isoformat(),
        }
        for slot in Slot
    ]
    if arguments.json:
        common.show(
            arguments, {"store": str(store.directory), "product": store.product, "authorities": roots, "issued": rows}
        )
        return 0
    print(f"{store.product}: {store.directory}")
    for root in roots:
        print(f"{root['not_after'][:10]}  {'authority':<12}  {root['authority']:<15}  {root['subject']}")
    for row in rows:
        print(f"{row['not_after'][:10]}  {row['state']:<12}  {row['role']:<15}  {row['name']} ({row['serial']})")
    return 0


def _state(entry: Entry, due: set[str], now: datetime, latest: str) -> str:
    if entry.revoked:
        return "revoked"
    if entry.serial != latest:
        return "replaced"
    if not entry.valid_at(now):
        return "expired"
    return "renewal due" if entry.serial in due else "valid"


def _renew(arguments: argparse.Namespace) -> int:
    directory = stores.choose(arguments)
    plain = stores.opened(directory)
    if arguments.names:
        wanted = [_find(plain, name, arguments.role) for name in arguments.names]
    else:
        wanted = [(Role(entry.role), entry.name) for entry in plain.due(stores.now())]
        wanted = [holder for holder in wanted if arguments.role in (None, holder[0].value)]
    slots = dict.fromkeys(SLOTS[role] for role, _ in wanted)
    store = stores.opened(directory, *slots, passphrase_file=arguments.passphrase_file)
    renewed = [store.renew(role, name, now=stores.now()) for role, name in wanted]
    if arguments.json:
        common.show(arguments, [{"name": issued.name, "chain": str(issued / "chain.pem")} for issued in renewed])
        return 0
    for folder in renewed:
        print(f"renewed  {folder.name}  {folder / 'chain.pem'}")
    if any(role is Role.SERVER for role, _ in wanted):
        print("a web server reads the new certificate when it is reloaded")
    if not renewed:
        print("nothing is due")
    return 0


def _find(store: Store, name: str, role: str | None) -> tuple[Role, str]:
    """Return role and name of what was issued to `name`; raises InputError, or ConfigError where it is not clear."""
    live = [
        entry for entry in store.list() if entry.name == name and entry.revoked is None and role in (None, entry.role)
    ]
    roles = list(dict.fromkeys(entry.role for entry in live))
    if not roles:
        what = f"the {role} '{name}'" if role else f"'{name}'"
        raise InputError(f"nothing is issued to {what}", "otaseal pki list shows what is")
    if len(roles) > 1:
        raise ConfigError(f"'{name}' has {len(roles)} roles: {', '.join(roles)}", f"say which: --role {roles[0]}")
    return Role(roles[0]), name


def _revoke(arguments: argparse.Namespace) -> int:
    directory = stores.choose(arguments)
    role, name = _find(stores.opened(directory), arguments.name, arguments.role)
    store = stores.opened(directory, SLOTS[role], passphrase_file=arguments.passphrase_file)
    revoked = store.revoke(role, name, now=stores.now())
    lists = {"crl": str(directory / SLOTS[role].value / CRL_FILE), "revoked": str(directory / REVOKED_FILE)}
    if arguments.json:
        common.show(
            arguments, {"name": name, "role": role.value, "serials": [entry.serial for entry in revoked], **lists}
        )
        return 0
    print(f"revoked {counted(len(revoked), 'certificate')} of the {role.value} '{name}'")
    print(f"  for nginx and OpenSSL  {lists['crl']}\n  serial numbers         {lists['revoked']}")
    if role is Role.SERVER:
        _warn("devices ask no revocation list: if the key is in other hands, rotate the authority")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    directory = stores.choose(arguments)
    begun = not all((directory / slot.value / CERTIFICATE_FILE).exists() for slot in (Slot.SERVER, Slot.SERVER_NEXT))
    slot = Slot.SERVER_NEXT if (directory / Slot.SERVER_NEXT.value / CERTIFICATE_FILE).exists() else Slot.SERVER
    store = stores.opened(directory, slot, passphrase_file=arguments.passphrase_file)
    if not begun and not arguments.yes:
        _confirm(store)
    now = stores.now()
    store.rotate(now)
    following = [
        "otaseal pki export certs     # the new successor, for devices that are written from now on",
        "otaseal pki renew            # then reload the web server: devices with both roots take it at once",
    ]
    current, successor = (store.certificate(authority).title for authority in (Slot.SERVER, Slot.SERVER_NEXT))
    if arguments.json:
        common.show(
            arguments, {"current": current, "successor": successor, "due": [entry.name for entry in store.due(now)]}
        )
        return 0
    print(f"current    {current}\nsuccessor  {successor}\nnext:", *following, sep="\n  ")
    _warn("devices that are not given the new successor by cable (pio run -t uploadfs) do not survive another rotation")
    return 0


def _confirm(store: Store) -> None:
    """Have it confirmed that devices carry the successor, unless they have carried it from the first day."""
    if not any(store.directory.glob(f"{RETIRED}*")):
        return
    made = store.certificate(Slot.SERVER_NEXT).fields.not_before
    what = f"the next authority dates from a rotation, about {made:%Y-%m-%d}: devices written before do not trust it"
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise ConfigError(what, "say --yes if every device was written again since then, or may be locked out")
    print(what)
    if input("type 'yes' if every device was written again since then: ").strip() != "yes":
        raise ConfigError("not confirmed, and nothing is changed", "write the devices first: pio run -t uploadfs")


def _export(arguments: argparse.Namespace) -> int:
    store = stores.opened(stores.choose(arguments))
    written, removed = setup.export_roots(store, arguments.folder, stores.now())
    if arguments.json:
        rows = {"written": [str(file) for file in written], "removed": [str(file) for file in removed]}
        common.show(arguments, {"store": str(store.directory), "folder": str(arguments.folder), **rows})
        return 0
    for path in written:
        print(f"written  {path}")
    for path in removed:
        print(f"removed  {path}, which no server uses any more")
    if not written and not removed:
        print(f"kept     {arguments.folder}")
    return 0


def _warn(message: str) -> None:
    print(f"otaseal: warning: {message}", file=sys.stderr)
