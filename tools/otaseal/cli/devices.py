"""`otaseal devices`: what an update server knows of the devices that asked it."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from ..client.client import Client, product_path
from ..errors import ConfigError
from ..protocol.answers import REASONS
from ..release.evidence import Evidence
from ..store.device_rows import STATES
from . import common, device_labels, device_lines, remote
from .device_labels import PARTS

DONE = {
    "accept": "its key is accepted",
    "forget": "forgotten; when it asks again, it is a new device",
    "retry": "gets its release again when it asks next",
}
FILTERS = ("state", "version", "board", "tag", "answered", "text")
FLAGS = ("late", "no_room", "pinned")
"""What the list can be asked for, as the server's parameters and our options are called."""
_LISTED = re.compile(r"(?:[a-z]+:)?([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5})")


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = remote.command(
        subparsers,
        "devices",
        _devices,
        example="otaseal devices --channel beta --state stuck --server https://update.local:8444 --product blink",
        channel="only the devices of this channel; else OTASEAL_CHANNEL, else of all channels",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "show", *DONE, *device_labels.ACTIONS),
        default="list",
        help="show one device, its key and its history; accept the key that it shows, forget it, or retry: give one "
        "that is stuck or loops its release again; name, note, tag, untag, pin or unpin it: a pinned device gets no "
        "release; import names, tags and notes from a CSV file; rules for tags; default: list",
    )
    parser.add_argument(
        "device", nargs="?", help="which one, as it is listed or by MAC address; of import the file, of rules the tag"
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="the name or note, or tags; '' takes it away")
    parser.add_argument("--key", metavar="FINGERPRINT", help="accept this key, where two are shown, as show lists it")
    _add_filters(parser)
    parser.add_argument("--chip", help="of a rule: the family of the chip, as all parts with * and ?")
    parser.add_argument("--name", help="of a rule: the name, beside --board, --chip, --version and --channel")
    parser.add_argument("--remove", action="store_true", help="remove a rule")
    parser.add_argument(
        "--limit",
        type=common.number(1, 999_999_999, "is not a valid number of devices"),
        help="so many devices at most",
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare FILTERS and FLAGS."""
    parser.add_argument("--state", choices=STATES, help="only the devices in this state")
    parser.add_argument("--version", help="only the devices that run this version")
    parser.add_argument("--board", help="only those with this board")
    parser.add_argument("--tag", action="append", help="only those with this tag; more than once: with all of them")
    parser.add_argument(
        "--answered", choices=REASONS, metavar="WHY", help=f"only those that are told: {', '.join(REASONS)}"
    )
    parser.add_argument("--text", help="only those with this in name, note or MAC address")
    parser.add_argument("--late", action="store_true", help="only those that should have asked long ago")
    parser.add_argument(
        "--no-room", action="store_true", help="only those with too little room for the channel's release"
    )
    parser.add_argument("--pinned", action="store_true", help="only those that are pinned")


def _devices(arguments: argparse.Namespace) -> int:
    _check(arguments)
    globs = _globs(arguments) if arguments.action == "rules" else {}
    connected, product, _ = remote.connect(arguments)
    path = product_path(product, "devices")
    if arguments.action == "show":
        return _show_one(arguments, connected, product)
    if arguments.action in device_labels.ACTIONS:
        return device_labels.run(arguments, connected, product, globs)
    if arguments.action != "list":
        return _change(arguments, connected, product, path)
    query = _query(arguments)
    devices = islice(_seen(connected, path, query), arguments.limit)
    if arguments.json:
        common.show(arguments, {"product": product, "devices": list(devices)})
    else:
        _show(devices, query)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options and words that an action does not have."""
    action, listing = arguments.action, arguments.action == "list"
    if listing and arguments.device is not None:
        raise ConfigError(
            f"'{arguments.device}' is one device, and all are listed", "say show, accept, forget or retry before it"
        )
    if not listing and arguments.device is None and action not in ("import", "rules"):
        raise ConfigError(f"no device to {action} is named", "otaseal devices lists them")
    filters = {name: getattr(arguments, name) for name in (*FILTERS, *FLAGS, "limit")}
    used = {name for name, value in filters.items() if value} - (set(PARTS) if action == "rules" else set())
    if not listing and used:
        wrong = f"--{sorted(used)[0].replace('_', '-')}"
        raise ConfigError(
            f"{wrong} is one of the options that are for the list", f"leave it out: otaseal devices {action}"
        )
    if action != "rules" and (arguments.name or arguments.chip):
        raise ConfigError("--name and --chip are for rules", "--text finds devices by name")
    if arguments.key is not None and action != "accept":
        raise ConfigError("--key is for accept", "leave it out")
    device_labels.check(arguments)


def _query(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what is asked of the server's list."""
    chosen = {"channel": remote.named_channel(arguments), **{name: getattr(arguments, name) for name in FILTERS}}
    chosen["tag"] = None if arguments.tag is None else ",".join(arguments.tag)
    flags = {name: "1" for name in FLAGS if getattr(arguments, name)}
    return {name: value for name, value in chosen.items() if value is not None} | flags


def _globs(arguments: argparse.Namespace) -> dict[str, str]:
    """Take the parts of a rule out of the arguments: they are patterns, and no version and no channel to work with."""
    globs = {part: glob for part in PARTS if (glob := getattr(arguments, part))}
    arguments.version = arguments.channel = None
    return globs


def _change(arguments: argparse.Namespace, connected: Client, product: str, path: str) -> int:
    device, more = arguments.device, ""
    if arguments.action == "accept":
        answer = connected.accept(product, device, arguments.key)
        more = f": {answer['key']}" + (f", shown from {answer['address']}" if answer.get("address") else "")
    else:
        answer = connected.post(f"{path}/{arguments.action}", {"device": device_labels.listed_name(device)})
    return common.show(arguments, answer, f"{answer['device']}: {DONE[arguments.action]}{more}")


def _show_one(arguments: argparse.Namespace, connected: Client, product: str) -> int:
    listed = _LISTED.fullmatch(arguments.device)
    answer = connected.get(product_path(product, "devices", listed[1] if listed else arguments.device))
    lines = []
    for row in answer["rows"]:
        lines += [device_lines.line(row, with_channel=True), *device_lines.details(row)]
    for key in filter(None, (answer["key"], answer["waiting"])):
        line = f"key {key['key']}  {key['how']}  {device_lines.words_of(time.time() - key['since'])} ago"
        line += f"  from {key['address']}" if key["address"] else ""
        lines.append(line + ("" if key["accepted"] else "  waits for otaseal devices accept"))
    lines += map(device_lines.event, answer.get("history", ()))  # an older server has none
    return common.show(arguments, answer, *lines)


def _show(devices: Iterable[dict[str, Any]], query: Mapping[str, str]) -> None:
    counts: Counter[str] = Counter()
    newcomers = 0
    for device in devices:
        counts[device["state"]] += 1
        newcomers += device.get("evidence") == Evidence.NEWCOMER.value
        print(device_lines.line(device, with_channel="channel" not in query))
    for state, count in sorted(counts.items()):
        print(f"devices  {count} {state}")
    if newcomers:
        print(f"devices  {newcomers} of them newcomers since the rollout began: what they say halts nothing")
    if not counts:
        print("no such device was seen yet" if query else "no device was seen yet")


def _seen(connected: Client, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the devices that `query` selects, page by page as the server gives them out."""
    after: dict[str, str] = {}
    while True:
        answer = connected.get(f"{path}?{urlencode({**query, **after})}")
        yield from answer["devices"]
        if answer["next"] is None:
            return
        after = {"after": answer["next"]}
