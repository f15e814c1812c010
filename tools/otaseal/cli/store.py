"""`otaseal store`: make a release store, check it whole, prune it, back it up, restore it; on the server's own disk."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from dataclasses import asdict

from ..errors import LaterFormatError, VerificationError, counted
from ..names import is_database
from ..store import check as store_check
from ..store import copying
from ..store import prune as store_prune
from ..store.backend import open_backend, open_new
from . import common

STORE_HELP = "the directory of the release store, or the address of its database"
EMPTY_HELP = "a directory that is missing or empty, or the address of an empty database"
FILES = "/srv/otaseal"
"""The store of the examples."""
BACKUP_HELP = "the backup, a tar file"


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    actions = common.group(subparsers, "store", f"otaseal store check {FILES}")
    _add(actions, "create", _create, "make an empty store", FILES)
    check = _add(actions, "check", _check, "read and hash everything in a store", f"{FILES} --json")
    check.add_argument("--sweep", action="store_true", help="also remove what a killed process left, as a start does")
    _add_prune(actions)
    written = "write a snapshot of a store, which may be in use, to a new file"
    backup = _add(actions, "backup", _backup, written, f"{FILES} otaseal.tar")
    backup.add_argument("backup", type=common.path, help=BACKUP_HELP)
    restore = common.command(
        actions,
        "restore",
        _restore,
        summary="verify a backup and make its store in a new directory or database",
        example=f"otaseal store restore otaseal.tar {FILES}",
    )
    restore.add_argument("backup", type=common.path, help=BACKUP_HELP)
    restore.add_argument("store", type=common.location, help=EMPTY_HELP)
    given = "give a database the schema of this otaseal, as the owner of its tables"
    _add(actions, "upgrade", _upgrade, given, "postgresql://owner@db.example/otaseal")
    copied = "copy a store, which may be in use, with devices and secrets, from a directory to a database or back"
    copy = _add(actions, "copy", _copy, copied, f"{FILES} postgresql://otaseal@db.example/otaseal")
    copy.add_argument("to", type=common.location, help=EMPTY_HELP)


def _add(
    actions: common.Subparsers, name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    """Declare an action on a store, whose place comes first; `example` is what follows the action's name."""
    parser = common.command(actions, name, run, summary=summary, example=f"otaseal store {name} {example}")
    parser.add_argument("store", type=common.location, help=STORE_HELP)
    return parser


def _add_prune(actions: common.Subparsers) -> None:
    removed = "remove releases that no channel, rollback or device seen needs"
    prune = _add(actions, "prune", _prune, removed, f"{FILES} --dry-run")
    prune.add_argument(
        "--keep", type=int, default=store_prune.KEEP, metavar="N",
        help=f"the latest releases of each product to keep in any case; default: {store_prune.KEEP}",
    )  # fmt: skip
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")


def _upgrade(arguments: argparse.Namespace) -> int:
    with open_backend(arguments.store, upgrade=True):
        pass
    what = "has the schema of this otaseal" if is_database(arguments.store) else "is in files, and needs no upgrade"
    return common.show(arguments, {"store": arguments.store}, f"the store in '{arguments.store}' {what}")


def _create(arguments: argparse.Namespace) -> int:
    open_new(arguments.store).close()
    shown = {"store": str(arguments.store)}
    return common.show(arguments, shown, f"an empty release store is in '{arguments.store}'")


def _check(arguments: argparse.Namespace) -> int:
    with open_backend(arguments.store) as backend:
        report = (store_check.sweep if arguments.sweep else store_check.check)(backend.store)
    findings = {
        "damaged": report.problems,
        "of a newer otaseal": report.later,
        "not needed": report.orphans,
        "left by a kill" + (", removed" if arguments.sweep else ""): report.temporaries,
    }
    common.show(
        arguments,
        {"whole": report.whole, **asdict(report)},
        f"{counted(report.releases, 'release')}, {counted(report.channels, 'channel')}, "
        f"{counted(report.blobs, 'blob')} that they need",
        *(f"{title}: {line}" for title, lines in findings.items() for line in lines),
    )
    if report.problems:
        raise VerificationError(
            f"the store '{arguments.store}' is not whole: {len(report.problems)} damaged",
            "restore it from a backup, or deploy the damaged releases again",
        )
    if report.later:
        raise LaterFormatError(f"a part of the store '{arguments.store}'")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    dry = bool(arguments.dry_run)
    with open_backend(arguments.store) as backend:
        pruned = store_prune.prune(backend, arguments.keep, by=f"local:{getpass.getuser()}", dry_run=dry)
    return common.show(
        arguments,
        {"dry_run": dry, **asdict(pruned)},
        *(f"{'would remove' if dry else 'removed'}  {product} {version}" for product, version in pruned.releases),
        f"{counted(len(pruned.releases), 'release')} and {counted(len(pruned.blobs), 'file')} of {pruned.size} bytes "
        f"{'would go' if dry else 'are gone'}, {counted(pruned.kept, 'release')} {'would be kept' if dry else 'kept'}",
    )


def _backup(arguments: argparse.Namespace) -> int:
    copying.backup(arguments.store, arguments.backup)
    shown = {"store": str(arguments.store), "backup": str(arguments.backup)}
    return common.show(arguments, shown, f"'{arguments.store}' is backed up in '{arguments.backup}'")


def _restore(arguments: argparse.Namespace) -> int:
    copying.restore(arguments.backup, arguments.store)
    shown = {"store": str(arguments.store), "backup": str(arguments.backup)}
    return common.show(arguments, shown, f"'{arguments.store}' is restored, and whole")


def _copy(arguments: argparse.Namespace) -> int:
    with open_backend(arguments.store) as source:
        copied = copying.copy(source, arguments.to)
    line = (
        f"copied {counted(copied.documents, 'document')}, {counted(copied.blobs, 'blob')} of {copied.size} bytes, "
        f"{counted(copied.audit_lines, 'audit line')}, {counted(copied.secrets, 'secret')} and "
        f"{counted(copied.devices, 'device')} into '{arguments.to}', and compared them"
    )
    return common.show(arguments, {"store": arguments.store, "to": arguments.to, **copied._asdict()}, line)
