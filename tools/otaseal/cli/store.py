"""`otaseal store`: make a release store, check it whole, prune it, back it up, restore it; on the server's own disk."""

from __future__ import annotations

import argparse
import getpass
from dataclasses import asdict
from pathlib import Path

from ..errors import VerificationError, counted
from ..store import backup as store_backup
from ..store import check as store_check
from ..store import prune as store_prune
from ..store.files import Store
from . import common

__all__ = ["register"]

STORE_HELP = "the directory of the release store"
BACKUP_HELP = "the backup, a tar file"


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    group = subparsers.add_parser(
        "store",
        help="make, check, prune, back up and restore a release store",
        description="Make, check, prune, back up and restore a release store.",
        epilog="example: otaseal store check /srv/otaseal",
    )
    actions = group.add_subparsers(metavar="<action>", required=True)
    create = common.command(actions, "create", _create, "make an empty store", "otaseal store create /srv/otaseal")
    create.add_argument("store", type=common.path, help=STORE_HELP)
    _add_json(create)
    check = common.command(
        actions, "check", _check, "read and hash everything in a store", "otaseal store check /srv/otaseal --json"
    )
    check.add_argument("store", type=common.path, help=STORE_HELP)
    check.add_argument("--sweep", action="store_true", help="also remove what a killed process left, as a start does")
    _add_json(check)
    prune = common.command(
        actions,
        "prune",
        _prune,
        "remove releases that no channel, rollback or device seen needs",
        "otaseal store prune /srv/otaseal --dry-run",
    )
    prune.add_argument("store", type=common.path, help=STORE_HELP)
    prune.add_argument(
        "--keep", type=int, default=store_prune.KEEP, metavar="N",
        help=f"the latest releases of each product to keep in any case; default: {store_prune.KEEP}",
    )  # fmt: skip
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    _add_json(prune)
    backup = common.command(
        actions,
        "backup",
        _backup,
        "write a snapshot of a store, which may be in use, to a new file",
        "otaseal store backup /srv/otaseal otaseal.tar",
    )
    backup.add_argument("store", type=common.path, help=STORE_HELP)
    backup.add_argument("backup", type=common.path, help=BACKUP_HELP)
    _add_json(backup)
    restore = common.command(
        actions,
        "restore",
        _restore,
        "verify a backup and make its store in a new directory",
        "otaseal store restore otaseal.tar /srv/otaseal",
    )
    restore.add_argument("backup", type=common.path, help=BACKUP_HELP)
    restore.add_argument("store", type=common.path, help="a directory that is missing or empty")
    _add_json(restore)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _say(arguments: argparse.Namespace, line: str, **paths: Path) -> int:
    if arguments.json:
        common.print_json({name: str(path) for name, path in paths.items()})
    else:
        print(line)
    return 0


def _create(arguments: argparse.Namespace) -> int:
    Store.create(arguments.store)
    return _say(arguments, f"an empty release store is in '{arguments.store}'", store=arguments.store)


def _check(arguments: argparse.Namespace) -> int:
    store = Store.open(arguments.store)
    report = store_check.sweep(store) if arguments.sweep else store_check.check(store)
    if arguments.json:
        common.print_json({"whole": report.whole, **asdict(report)})
    else:
        print(
            f"{counted(report.releases, 'release')}, {counted(report.channels, 'channel')}, "
            f"{counted(report.blobs, 'blob')} that they need"
        )
        for title, lines in (
            ("damaged", report.problems),
            ("not needed", report.orphans),
            ("left by a kill" + (", removed" if arguments.sweep else ""), report.temporaries),
        ):
            for line in lines:
                print(f"{title}: {line}")
    if not report.whole:
        raise VerificationError(
            f"the store '{arguments.store}' is not whole: {len(report.problems)} damaged",
            "restore it from a backup, or deploy the damaged releases again",
        )
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    store, dry = Store.open(arguments.store), bool(arguments.dry_run)
    done = store_prune.prune(store, arguments.keep, by=f"local:{getpass.getuser()}", dry_run=dry)
    if arguments.json:
        common.print_json({"dry_run": dry, **asdict(done)})
        return 0
    for product, version in done.releases:
        print(f"{'would remove' if dry else 'removed'}  {product} {version}")
    print(
        f"{counted(len(done.releases), 'release')} and {counted(len(done.blobs), 'file')} of {done.size} bytes "
        f"{'would go' if dry else 'are gone'}, {counted(done.kept, 'release')} {'would be kept' if dry else 'kept'}"
    )
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    store_backup.backup(Store.open(arguments.store), arguments.backup)
    line = f"'{arguments.store}' is backed up in '{arguments.backup}'"
    return _say(arguments, line, store=arguments.store, backup=arguments.backup)


def _restore(arguments: argparse.Namespace) -> int:
    store_backup.restore(arguments.backup, arguments.store)
    line = f"'{arguments.store}' is restored, and whole"
    return _say(arguments, line, store=arguments.store, backup=arguments.backup)
