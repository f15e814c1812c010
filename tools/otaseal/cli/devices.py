"""`otaseal devices`: what an update server knows of the devices that asked it."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from ..client.client import Client, product_path
from ..errors import ConfigError, counted
from ..release.evidence import Evidence, Proof, is_proven
from ..release.trial import GAVE_WAY
from ..store.device_rows import STATES
from . import common, remote

UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
MEANINGS = {
    "seen": "",
    "offered": "offered {offered}, not downloaded yet",
    "updating": "has {offered}, to come back with it",
    "updated": "updated to {offered}",
    "stuck": "STUCK: came back without {offered}, delivered {times}",
    "looping": "LOOPING: {offered} was delivered {times} in vain",
}
"""What a device's state is in words."""
PROOFS = {
    Proof.CERTIFICATE.value: "by certificate",
    Proof.ENROLLED.value: "by an enrolled key",
    Proof.AGREED.value: "by a key agreed at first contact",
    Proof.REFUSED.value: "says so without proof",
}
"""How a device proves its name, in words; an older server says nothing of it."""
DONE = {
    "accept": "its key is accepted",
    "forget": "forgotten; when it asks again, it is a new device",
    "retry": "gets its release again when it asks next",
}
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_LISTED = re.compile(rf"(?:[a-z]+:)?({_MAC.pattern})")


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
        choices=("list", "show", "accept", "forget", "retry"),
        default="list",
        help="show one device and its key, accept the key that it shows, forget it, or retry: give one that is stuck "
        "or loops its release again; default: list",
    )
    parser.add_argument("device", nargs="?", help="which one, for all but the list: as it is listed, or by MAC address")
    parser.add_argument("--key", metavar="FINGERPRINT", help="accept this key, where two are shown, as show lists it")
    parser.add_argument("--state", choices=STATES, help="only the devices in this state")
    parser.add_argument("--version", help="only the devices that run this version")
    parser.add_argument(
        "--limit",
        type=common.number(1, 999_999_999, "is not a valid number of devices"),
        help="so many devices at most",
    )


def _devices(arguments: argparse.Namespace) -> int:
    listing = arguments.action == "list"
    if listing and arguments.device is not None:
        raise ConfigError(
            f"'{arguments.device}' is one device, and all are listed", "say show, accept, forget or retry before it"
        )
    if not listing and arguments.device is None:
        raise ConfigError(f"no device to {arguments.action} is named", "otaseal devices lists them")
    if not listing and (arguments.state or arguments.version or arguments.limit):
        raise ConfigError("--state, --version and --limit are for the list", "leave them out")
    if arguments.key is not None and arguments.action != "accept":
        raise ConfigError("--key is for accept", "leave it out")
    connected, product, _ = remote.connect(arguments)
    path = f"/v1/products/{quote(product, safe='')}/devices"
    if arguments.action == "show":
        return _show_one(arguments, connected, product)
    if not listing:
        return _change(arguments, connected, product, path)
    channel = remote.named_channel(arguments)
    chosen = {"channel": channel, "state": arguments.state, "version": arguments.version}
    query = {name: value for name, value in chosen.items() if value is not None}
    devices = islice(_seen(connected, path, query), arguments.limit)
    if arguments.json:
        common.show(arguments, {"product": product, "devices": list(devices)})
    else:
        _show(devices, query)
    return 0


def _change(arguments: argparse.Namespace, connected: Client, product: str, path: str) -> int:
    device, more = arguments.device, ""
    if arguments.action == "accept":
        answer = connected.accept(product, device, arguments.key)
        more = f": {answer['key']}" + (f", shown from {answer['address']}" if answer.get("address") else "")
    else:
        device = f"mac:{device.upper()}" if _MAC.fullmatch(device) else device
        answer = connected.post(f"{path}/{arguments.action}", {"device": device})
    common.show(arguments, answer, f"{answer['device']}: {DONE[arguments.action]}{more}")
    return 0


def _show_one(arguments: argparse.Namespace, connected: Client, product: str) -> int:
    listed = _LISTED.fullmatch(arguments.device)
    answer = connected.get(product_path(product, "devices", listed[1] if listed else arguments.device))
    lines = [_line(row, with_channel=True) for row in answer["rows"]]
    for key in filter(None, (answer["key"], answer["waiting"])):
        line = f"key {key['key']}  {key['how']}  {_ago(max(0, int(time.time() - key['since'])))} ago"
        line += f"  from {key['address']}" if key["address"] else ""
        lines.append(line + ("" if key["accepted"] else "  waits for otaseal devices accept"))
    common.show(arguments, answer, *lines)
    return 0


def _show(devices: Iterable[dict[str, Any]], query: Mapping[str, str]) -> None:
    counts: Counter[str] = Counter()
    newcomers = 0
    for device in devices:
        counts[device["state"]] += 1
        newcomers += device.get("evidence") == Evidence.NEWCOMER.value
        print(_line(device, with_channel="channel" not in query))
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


def _line(device: dict[str, Any], *, with_channel: bool) -> str:
    ago = _ago(max(0, int(time.time() - device["last_seen"])))
    line = f"{device['device']}  runs {device['running'] or 'unknown'}  seen {ago} ago"
    if with_channel:
        line += f"  in {device['channel']}"
    if device.get("evidence") in (Evidence.PROVEN.value, Evidence.NEWCOMER.value):  # an older server says none
        line += f"  {device['evidence']}"
    if device.get("proof") in PROOFS:
        line += f"  {PROOFS[device['proof']]}"
    if device["offered"]:
        line += f"  {_meaning(device)}"
    if device["state"] == "looping":  # ADR 0019
        proven = is_proven(device["device"], device.get("enrolled"))
        line += ", and is not given any more" if proven else ", and is given once an hour"
    if device.get("other_mac"):
        line += f"  CLONED: {device['other_mac']} showed its certificate or key, too"
    if device["error"] in GAVE_WAY:
        line += f"  its last update gave way to what ran before: {GAVE_WAY[device['error']]}"
    elif device["error"]:
        line += f"  its last update ended with error {device['error']}"
    return line


def _meaning(device: Mapping[str, Any]) -> str:
    times = counted(device["deliveries"], "time")
    return MEANINGS[device["state"]].format(offered=device["offered"], times=times)


def _ago(seconds: int) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= 2 * size), UNITS[-1])
    return counted(seconds // size, unit)
