"""`otaseal log`: what publishers signed of each release, and whether a server still has all of it."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..client import release_log as client_log
from ..client.client import Client, product_path
from ..errors import InputError, VerificationError, counted
from ..formats import refuse_later
from ..release import record_json, release_log
from ..release.release_log import Entry, Head
from . import common, remote

MAX_LOG = 256 * 1024 * 1024
"""Bytes of a log in a file."""
_KEPT_FORMAT = 1


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    actions = common.group(
        subparsers, "log", "otaseal log verify --key signing.pub --server https://update.local:8444 --product blink"
    )
    remote.command(
        actions,
        "list",
        _list,
        example="otaseal log list --server https://update.local:8444 --product blink",
        summary="list the log; with --json, for who verifies it elsewhere",
        channel=None,
    )
    verify = remote.command(
        actions,
        "verify",
        _verify,
        example="otaseal log verify --key signing.pub --seen blink.log-head --server https://update.local:8444 "
        "--product blink",
        summary="check that the log is whole and signed, and that what the server has is in it",
        channel=None,
    )
    verify.add_argument(
        "log", nargs="?", type=common.path, help="what otaseal log list --json printed; default: ask the server"
    )
    verify.add_argument(
        "--key", action="append", required=True, metavar="FILE", help="a public key of the product; each that signed"
    )
    verify.add_argument("--image", type=common.path, metavar="FILE", help="a signed image: check that it is in the log")
    verify.add_argument(
        "--seen", type=common.path, metavar="FILE",
        help="where it ended the last time: check that it still leads there, and keep where it ends now",
    )  # fmt: skip


def _list(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    envelopes = list(client_log.entries(connected, product))
    entries = [release_log.parse(envelope) for envelope in envelopes]
    shown = {"product": product, "entries": [envelope.decode() for envelope in envelopes]}
    lines = [
        f"{entry.number}  {entry.version}  {entry.created}  {counted(len(entry.files), 'file')}" for entry in entries
    ]
    return common.show(arguments, shown, *(lines or [f"the log of '{product}' has no entry yet"]))


def _verify(arguments: argparse.Namespace) -> int:
    keys = [common.load_key(key) for key in arguments.key]
    connected = None
    if arguments.log is None:
        connected, product, _ = remote.connect(arguments)
        envelopes: Iterator[bytes] = client_log.entries(connected, product)
    else:
        envelopes = _read(arguments.log)
    verified = list(release_log.verify(envelopes, keys))
    entries, head = [entry for entry, _ in verified], verified[-1][1] if verified else Head()
    if arguments.seen is not None:
        _compare_seen(arguments.seen, [head for _, head in verified])
    if connected is not None:
        _require_product(product, entries)
    lines = [f"the log is whole: {counted(len(entries), 'release')}, up to {head.sha256[:16]}"]
    if arguments.image is not None:
        lines.append(_find_image(arguments.image, entries))
    if connected is not None:
        lines += _compare_releases(connected, product, entries)
    if arguments.seen is not None:
        kept = {"format": _KEPT_FORMAT, **head._asdict()}
        files.write_atomic(arguments.seen, json.dumps(kept).encode() + b"\n")
    return common.show(arguments, {"entries": len(entries), "head": head._asdict()}, *lines)


def _read(path: Path) -> Iterator[bytes]:
    """Yield the entries in a file; raises InputError."""
    try:
        value: Any = json.loads(files.read_bounded(path, MAX_LOG, "log"))
        entries = [entry.encode() for entry in value["entries"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{path}' is no log", "make it with otaseal log list --json") from error
    yield from entries


def _require_product(product: str, entries: Sequence[Entry]) -> None:
    """Raise VerificationError for an entry of another product, whose publishers may have the same key."""
    for entry in entries:
        if entry.product != product:
            raise VerificationError(
                f"entry {entry.number} of the log of '{product}' is of '{entry.product}'",
                "the server shows the log of another product: ask who keeps it",
            )


def _compare_seen(path: Path, heads: Sequence[Head]) -> None:
    """Raise VerificationError unless the log still has the entry with which it ended when `path` was written."""
    if not path.exists():
        return
    try:
        value = json.loads(files.read_bounded(path, MAX_LOG, "head of a log"))
        refuse_later(value["format"], _KEPT_FORMAT, f"'{path}'")
        seen = Head(value["number"], value["sha256"])
        if type(seen.number) is not int or seen.number < 0 or not isinstance(seen.sha256, str):
            raise ValueError("no number of an entry")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"'{path}' does not say where a log ended", "name the file that --seen wrote") from error
    if seen.number and seen not in heads:
        raise VerificationError(
            f"the log had an entry {seen.number} ({seen.sha256[:16]}) that is gone, or another one by now",
            "releases were taken out of it, or it was begun anew: ask who keeps the server",
        )


def _find_image(path: Path, entries: Sequence[Entry]) -> str:
    """Return in words which release a signed image is of; raises VerificationError where it is not in the log."""
    digest = hashlib.sha256(files.read_bounded(path, MAX_IMAGE_SIZE, "image")).hexdigest()
    found = next((entry for entry in entries if digest in entry.files), None)
    if found is None:
        raise VerificationError(
            f"'{path}' is no file of a release in the log", "it was never published by who signed the log"
        )
    return f"'{path}' is of {found.product} {found.version}, entry {found.number}"


def _compare_releases(connected: Client, product: str, entries: Sequence[Entry]) -> list[str]:
    """Return in words how the releases on the server compare with the log.

    Raises VerificationError for one that is not in it, or has other files.
    """
    answer = connected.get(product_path(product, "releases"))
    logged = {entry.version: entry.files for entry in entries}
    begun = min((entry.created for entry in entries), default="")
    releases = [record_json.from_json(document) for document in answer["releases"]]
    for release in releases:
        known = logged.get(release.version)
        held = tuple(sorted({form.blob for form in release.files}))
        if known is None and entries and release.created > begun:  # of one second with the first: before it
            raise VerificationError(
                f"the server has a release '{release.version}', of {release.created}, that is not in the log",
                "it was not published by who signed the log",
            )
        if known is not None and known != held:
            raise VerificationError(
                f"the server has other files for '{release.version}' than the log", "restore its store from a backup"
            )
    before = [release.version for release in releases if release.version not in logged]
    gone = sorted(set(logged) - {release.version for release in releases})
    of_log = counted(len(releases) - len(before), "release")
    lines = [f"on the server: {of_log} of the log, with the very same files"]
    lines += [f"from before the log: {', '.join(before)}"] if before else []
    return [*lines, *([f"no longer on the server: {', '.join(gone)}"] if gone else [])]
