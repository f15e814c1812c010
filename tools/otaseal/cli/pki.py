"""`otaseal pki`: issue, list, renew, revoke, rotate and export what the authorities of a product made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from ..errors import ConfigError, InputError, counted
from ..pki import KeyType, Role
from ..pki.authority import CERTIFICATE_FILE, KEY_FILE
from ..pki.index import Entry
from ..pki.profile import check_holder
from ..pki.scope import parse_scope
from ..pki.store import CHAIN_FILE, CRL_FILE, RETIRED, REVOKED_FILE, SLOTS, Slot, Store
from ..project import setup
from . import common, pki_check, pki_enroll, pki_import, stores

KEYS = {"rsa": KeyType.RSA_2048, "p256": KeyType.P_256}
PASSPHRASE_FREE = ("list", "export")
"""Actions that open no authority's key."""


def register(subparsers: common.Subparsers) -> None:
    """Declare `pki` and its actions."""
    issued = "server main --name update.local --name 192.168.178.123"
    actions = common.group(subparsers, "pki", f"otaseal pki {issued}")
    parsers = {
        name: common.command(actions, name, run, summary=summary, example=f"otaseal pki {example}")
        for name, run, summary, example in (
            ("server", _issue_server, "issue a server certificate", issued),
            ("device", _issue_devices, "issue device certificates", "device esp-0042"),
            ("operator", _issue_operators, "issue operator certificates", "operator alice@example.org"),
            ("list", _list, "list what was issued, and where it is", "list"),
            ("renew", _renew, "renew what is due, or what is named, with the same key", "renew"),
            ("revoke", _revoke, "revoke every certificate of a name", "revoke esp-0042"),
            ("rotate", _rotate, "put the server's next authority in the place of the current", "rotate"),
            ("export", _export, "put the CA certificates that devices need into a folder", "export certs"),
        )
    }
    _add_names(parsers)
    for name in ("renew", "revoke"):
        parsers[name].add_argument("--role", choices=[x.value for x in Role], help="needed if several have that name")
    parsers["rotate"].add_argument(
        "--yes", action="store_true", help="all devices carry the next authority's certificate"
    )
    parsers["export"].add_argument("folder", type=common.path, metavar="DIR", help="the project's certs")
    for name, parser in parsers.items():
        stores.add_options(parser, passphrase=name not in PASSPHRASE_FREE)
    pki_check.register(actions)
    pki_import.register(actions)
    pki_enroll.register(actions)


def _add_names(parsers: dict[str, argparse.ArgumentParser]) -> None:
    server = parsers["server"]
    server.add_argument("names", nargs="+", metavar="NAME", help="what it is called here; a host name without --name")
    server.add_argument("--name", action="append", default=[], metavar="HOST", help="a host name or address it is for")
    server.add_argument(
        "--key", choices=tuple(KEYS), default="rsa", help="default: rsa, which is half the work on a chip"
    )
    for name in ("device", "operator"):
        help_text = "the common name, by which the server knows it"
        parsers[name].add_argument("names", nargs="+", metavar="NAME", help=help_text)
    parsers["operator"].add_argument(
        "--scope", type=parse_scope, action="append", default=[], metavar="PRODUCT[/CHANNEL]",
        help="what it is for, more than once if need be; default: everything",
    )  # fmt: skip
    parsers["renew"].add_argument("names", nargs="*", metavar="NAME", help="default: all that is due")
    parsers["revoke"].add_argument("name", metavar="NAME")


def _issue_server(arguments: argparse.Namespace) -> int:
    if arguments.name and len(arguments.names) > 1:
        raise ConfigError(f"--name is given for {len(arguments.names)} certificates", "issue them one by one")
    for name in arguments.names:
        try:
            check_holder(name)
        except ConfigError as error:
            hint = f"call it something else: otaseal pki server main --name '{name}'"
            raise ConfigError(error.message, hint) from error
    store = stores.opened(stores.choose(arguments), Slot.SERVER, passphrase_file=arguments.passphrase_file)
    key, now = KEYS[arguments.key], stores.now()
    issued = [store.issue_server(name, arguments.name or [name], now=now, key=key) for name in arguments.names]
    return _show_issued(arguments, issued)


def _issue_devices(arguments: argparse.Namespace) -> int:
    store = stores.opened(stores.choose(arguments), Slot.DEVICE, passphrase_file=arguments.passphrase_file)
    return _show_issued(arguments, [store.issue_device(name, now=stores.now()) for name in arguments.names])


def _issue_operators(arguments: argparse.Namespace) -> int:
    store = stores.opened(stores.choose(arguments), Slot.OPERATOR, passphrase_file=arguments.passphrase_file)
    now, scopes = stores.now(), arguments.scope
    return _show_issued(arguments, [store.issue_operator(name, now=now, scopes=scopes) for name in arguments.names])


def _show_issued(arguments: argparse.Namespace, folders: Iterable[Path]) -> int:
    rows = [{"name": x.name, "chain": str(x / CHAIN_FILE), "key": str(x / KEY_FILE)} for x in folders]
    return common.show(
        arguments,
        rows,
        *(f"{row['name']}\n  certificate  {row['chain']}\n  private key  {row['key']} (not encrypted)" for row in rows),
    )


def _list(arguments: argparse.Namespace) -> int:
    store, now = stores.opened(stores.choose(arguments)), stores.now()
    due = {entry.serial for entry in store.due(now)}
    latest = {(entry.role, entry.name): entry.serial for entry in store.list() if entry.revoked is None}
    rows = [
        {
            "role": entry.role,
            "name": entry.name,
            "serial": entry.serial,
            "not_after": entry.not_after,
            "state": _state(entry, due, now, latest.get((entry.role, entry.name))),
        }
        for entry in store.list()
    ]
    certificates = {slot.value: store.certificate(slot) for slot in Slot}
    roots = [
        {"authority": name, "subject": root.title, "not_after": root.fields.not_after.isoformat()}
        for name, root in certificates.items()
    ]
    return common.show(
        arguments,
        {"store": str(store.directory), "product": store.product, "authorities": roots, "issued": rows},
        f"{store.product}: {store.directory}",
        *(f"{x['not_after'][:10]}  authority     {x['authority']:<15}  {x['subject']}" for x in roots),
        *(f"{x['not_after'][:10]}  {x['state']:<12}  {x['role']:<15}  {x['name']} ({x['serial']})" for x in rows),
    )


def _state(entry: Entry, due: set[str], now: datetime, latest: str | None) -> str:
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
    enrolled: list[str] = []
    if arguments.names:
        wanted = [_find(plain, name, arguments.role) for name in arguments.names]
    else:
        wanted = [(Role(entry.role), entry.name) for entry in plain.due(stores.now())]
        wanted = [holder for holder in wanted if arguments.role in (None, holder[0].value)]
        enrolled = [name for role, name in wanted if plain.is_enrolled(role, name)]
        wanted = [(role, name) for role, name in wanted if name not in enrolled or role is not Role.DEVICE]
    slots = dict.fromkeys(SLOTS[role] for role, _ in wanted)
    store = stores.opened(directory, *slots, passphrase_file=arguments.passphrase_file)
    renewed = [store.renew(role, name, now=stores.now()) for role, name in wanted]
    lines = [f"renewed  {folder.name}  {folder / CHAIN_FILE}" for folder in renewed] or ["nothing is due"]
    if any(role is Role.SERVER for role, _ in wanted):
        lines.append("a web server reads the new certificate when it is reloaded")
    lines += [f"due      {name}, which has its own key: otaseal pki enroll signs what it asks for" for name in enrolled]
    rows = [{"name": folder.name, "chain": str(folder / CHAIN_FILE)} for folder in renewed]
    return common.show(arguments, rows, *lines)


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
    common.show(
        arguments,
        {"name": name, "role": role.value, "serials": [entry.serial for entry in revoked], **lists},
        f"revoked {counted(len(revoked), 'certificate')} of the {role.value} '{name}'",
        f"  for nginx and OpenSSL  {lists['crl']}\n  serial numbers         {lists['revoked']}",
    )
    if role is Role.SERVER:
        _warn(arguments, "devices ask no revocation list: if the key is in other hands, rotate the authority")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    directory = stores.choose(arguments)
    begun = not all((directory / slot.value / CERTIFICATE_FILE).exists() for slot in (Slot.SERVER, Slot.SERVER_NEXT))
    slot = Slot.SERVER_NEXT if (directory / Slot.SERVER_NEXT.value / CERTIFICATE_FILE).exists() else Slot.SERVER
    store = stores.opened(directory, slot, passphrase_file=arguments.passphrase_file)
    if not begun and not arguments.yes:
        _confirm(store, ask=not arguments.json)
    now = stores.now()
    store.rotate(now)
    current, successor = (store.certificate(authority).title for authority in (Slot.SERVER, Slot.SERVER_NEXT))
    common.show(
        arguments,
        {"current": current, "successor": successor, "due": [entry.name for entry in store.due(now)]},
        f"current    {current}\nsuccessor  {successor}\nnext:",
        "  otaseal pki export certs     # the new successor, for devices that are written from now on",
        "  otaseal pki renew            # then reload the web server: devices with both roots take it at once",
    )
    rest = "(pio run -t uploadfs) do not survive another rotation"
    return _warn(arguments, f"devices that are not given the new successor by cable {rest}")


def _confirm(store: Store, *, ask: bool) -> None:
    """Have it confirmed that devices carry the successor, unless they have carried it from the first day."""
    if not any(store.directory.glob(f"{RETIRED}*")):
        return
    created = store.certificate(Slot.SERVER_NEXT).fields.not_before
    what = f"the next authority dates from a rotation, about {created:%Y-%m-%d}: devices written before do not trust it"
    if not (ask and sys.stdin is not None and sys.stdin.isatty()):
        raise ConfigError(what, "say --yes if every device was written again since then, or may be locked out")
    print(what)
    if input("type 'yes' if every device was written again since then: ").strip() != "yes":
        raise ConfigError("not confirmed, and nothing is changed", "write the devices first: pio run -t uploadfs")


def _export(arguments: argparse.Namespace) -> int:
    store = stores.opened(stores.choose(arguments))
    written, removed = setup.export_roots(store, arguments.folder, stores.now())
    rows = {"written": [str(file) for file in written], "removed": [str(file) for file in removed]}
    lines = [f"written  {path}" for path in written]
    lines += [f"removed  {path}, which no server uses any more" for path in removed]
    return common.show(
        arguments,
        {"store": str(store.directory), "folder": str(arguments.folder), **rows},
        *(lines or [f"kept     {arguments.folder}"]),
    )


def _warn(arguments: argparse.Namespace, message: str) -> int:
    if not arguments.json:
        print(f"otaseal: warning: {message}", file=sys.stderr)
    return 0
