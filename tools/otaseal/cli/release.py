"""`otaseal releases`, `notes` and `delete`: which releases there are, what is said of them, and their end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .. import files
from ..client.client import product_path, release_path
from ..errors import ConfigError, InputError, counted
from ..release import record_json
from ..release.notes import MAX_NOTES, SEVERITIES, checked, from_json
from ..release.notes import lines as lines_of
from ..release.records import Release
from ..release.windows import local_time
from . import common, remote


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    remote.command(
        subparsers,
        "releases",
        _releases,
        example="otaseal releases --server https://update.local:8444 --product blink",
        channel=None,
    )
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
    """Return the notes that the options give, by field; raises InputError for what cannot be said."""
    said = {} if arguments.severity is None else {"severity": str(arguments.severity)}
    if arguments.cve is not None:
        said["cves"] = " ".join(arguments.cve)
    for name, path in (("notes", arguments.notes), ("advisory", arguments.advisory)):
        if path is not None:
            said[name] = _text(path)
    checked(from_json(said))  # before a deployment, whose release would be out by the time that a server refuses them
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
    parts = [answer["severity"] or "no severity", *answer["cves"].split()]
    parts += [f"{name} of {counted(len(answer[name]), 'character')}" for name in ("notes", "advisory") if answer[name]]
    line = f"release  {answer['version']}: {', '.join(parts)}"
    return common.show(arguments, answer, line)


def _delete(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    query = f"?{urlencode({'even_if_run': 1})}" if arguments.even_if_run else ""
    answer = connected.delete(release_path(product, arguments.version) + query)
    left = f", which {counted(answer['devices'], 'device')} run" if answer["devices"] else ""
    return common.show(arguments, answer, f"deleted  {answer['version']}{left}")


def _releases(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    answer = connected.get(product_path(product, "releases"))
    lines = [] if answer["releases"] else [f"product '{product}' has no release yet"]
    lines += [f"channel  {name}: {channel_state(state)}" for name, state in answer["channels"].items()]
    lines += map(_alarm_line, answer.get("alarms", []))
    for listed in answer["releases"]:
        release = record_json.from_json(listed)
        lines += _release_lines(release, answer.get("notes", {}).get(release.version, {}))
        if attached := answer.get("attachments", {}).get(release.version):  # an older server has none
            lines.append(f"  with {', '.join(attached)}")
        made = answer.get("patches", [])
        lines += [_patch_line(patch, release) for patch in made if patch["version"] == release.version]
    common.show(arguments, answer, *lines)
    for damage in () if arguments.json else answer.get("damaged", []):
        print(f"otaseal: warning: {damage}", file=sys.stderr)
    return 0


def _release_lines(release: Release, said: Mapping[str, str]) -> list[str]:
    counter = f"  security counter {release.security_counter}" if release.security_counter else ""
    dirty = "  (uncommitted changes)" if release.dirty else ""
    first, *notes = lines_of(f"release  {release.version}", from_json(said))
    head = f"{first}  {release.created}"
    if not release.others:
        return [f"{head}  {_sizes(release)}{counter}{dirty}", *notes]
    boards = [f"  {image.board or image.board_key}  {image.chip}  {_sizes(image)}" for image in release.images]
    return [f"{head}{counter}{dirty}", *notes, *boards]


def _alarm_line(alarm: Mapping[str, Any]) -> str:
    where = "".join(f"  {alarm[field]}" for field in ("channel", "device") if alarm[field])
    return f"alarm    since {local_time(alarm['since'])}{where}: {alarm['text']}"


def _patch_line(patch: Mapping[str, Any], release: Release) -> str:
    image = next((image for image in release.images if (image.board or image.board_key) == patch["board"]), release)
    raw = image.form("raw")
    share = f", {100 * patch['size'] / raw.size:.2g} % of the image" if raw else ""
    board = f"  {patch['board']}" if patch["board"] else ""
    return f"  from {patch['before']}{board}  patch {patch['size']} bytes{share}"


def _sizes(image: Release) -> str:
    return ", ".join(f"{form.kind} {form.size} bytes" for form in image.forms)


def channel_state(state: Mapping[str, Any]) -> str:
    """Return in words what a channel gives out, and to whom."""
    share = "" if state["percent"] == 100 else f" to {state['percent']} % of the devices"
    wave = f", wave {state['wave']} of {state['waves']}" if state.get("waves", 1) > 1 else ""
    stopped = ", HALTED" if state["halted"] else ", paused" if state.get("paused") else ""
    return f"{state['version']}{share}{wave}{stopped}"
