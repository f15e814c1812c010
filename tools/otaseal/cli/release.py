"""`otaseal notes` and `otaseal delete`: what is said of a release that is published, and its end."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlencode

from .. import files
from ..client.client import product_path
from ..errors import ConfigError, InputError, counted
from ..release.notes import MAX_NOTES, SEVERITIES
from . import common, remote


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    notes = remote.command(
        subparsers,
        "notes",
        _notes,
        example="otaseal notes 1.2.0 --notes NOTES.txt --severity security --server https://update.local:8444 "
        "--product blink",
        channel=None,
    )
    notes.add_argument("version", help="of the release")
    add_notes(notes)
    delete = remote.command(
        subparsers,
        "delete",
        _delete,
        example="otaseal delete 1.2.0 --server https://update.local:8444 --product blink",
        channel=None,
    )
    delete.add_argument("version", help="of the release")
    delete.add_argument(
        "--even-if-run", action="store_true",
        help="even if devices run it: the server forgets what they run, and makes them no patches from it",
    )  # fmt: skip


def add_notes(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what a release is for."""
    parser.add_argument("--notes", type=common.path, metavar="FILE", help="what is new in it, as text for people")
    parser.add_argument("--severity", choices=SEVERITIES, help="what it is for")
    parser.add_argument("--cve", action="append", metavar="NUMBER", help="what it closes; may be given several times")
    parser.add_argument("--advisory", type=common.path, metavar="FILE", help="what that is, and who is affected")


def given_notes(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what is said of a release, of that which the options say; raises InputError for what is no text."""
    said = {} if arguments.severity is None else {"severity": str(arguments.severity)}
    if arguments.cve is not None:
        said["cves"] = " ".join(arguments.cve)
    for name, path in (("notes", arguments.notes), ("advisory", arguments.advisory)):
        if path is not None:
            said[name] = _text(path)
    return said


def _text(path: Path) -> str:
    try:
        return files.read_bounded(path, 4 * MAX_NOTES, "text for people").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not text in UTF-8", "save it as such") from error


def _notes(arguments: argparse.Namespace) -> int:
    said = given_notes(arguments)
    if not said:
        raise ConfigError("nothing is said of the release", "give --notes, --severity, --cve or --advisory")
    connected, product, _ = remote.connect(arguments)
    answer = connected.set_notes(product, arguments.version, said)
    line = f"release  {answer['version']}: {answer['severity'] or 'no severity'}, {len(answer['notes'])} characters"
    return common.show(arguments, answer, line)


def _delete(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    query = f"?{urlencode({'even_if_run': 1})}" if arguments.even_if_run else ""
    answer = connected.delete(product_path(product, "releases", arguments.version) + query)
    left = f", which {counted(answer['devices'], 'device')} run" if answer["devices"] else ""
    return common.show(arguments, answer, f"deleted  {answer['version']}{left}")
