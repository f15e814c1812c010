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

from ..client.client import Client
from ..errors import ConfigError, counted
from ..release.evidence import Evidence, is_proven
from ..store.device_rows import STATES
from . import common, remote

UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
MEANINGS = {
    "seen": "",
    "offered": "offered {offered}, not downloaded yet",
    "updating": "has {offered}, to come back with it",
    "updated": "updated to {offered}",
    "stuck": "STUCK: came back without {offered}, delivered {deliveries} times",
    "looping": "LOOPING: {offered} was delivered {deliveries} times in vain",
}
"""What a device's state is in words."""
DONE = {
    "forget": "forgotten; when it asks again, it is a new device",
    "retry": "gets its release again when it asks next",
}
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


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
        choices=("list", "forget", "retry"),
        default="list",
        help="forget a device, or retry: give one that is stuck or loops its release again; default: list",
    )
    parser.add_argument("device", nargs="?", help="to forget or to retry: as it is listed, or its MAC address")
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
        raise ConfigError(f"'{arguments.device}' is one device, and all are listed", "say forget or retry before it")
    if not listing and arguments.device is None:
        raise ConfigError(f"no device to {arguments.action} is named", "otaseal devices lists them")
    if not listing and (arguments.state or arguments.version or arguments.limit):
        raise ConfigError("--state, --version and --limit are for the list", "leave them out")
    connected, product, _ = remote.connect(arguments)
    path = f"/v1/products/{quote(product, safe='')}/devices"
    if not listing:
        return _change(arguments, connected, path)
    channel = remote.named_channel(arguments)
    chosen = {"channel": channel, "state": arguments.state, "version": arguments.version}
    query = {name: value for name, value in chosen.items() if value is not None}
    devices = islice(_seen(connected, path, query), arguments.limit)
    if arguments.json:
        common.show(arguments, {"product": product, "devices": list(devices)})
    else:
        _show(devices, query)
    return 0


def _change(arguments: argparse.Namespace, connected: Client, path: str) -> int:
    device = arguments.device
    if _MAC.fullmatch(device):
        device = f"mac:{device.upper()}"
    answer = connected.post(f"{path}/{arguments.action}", {"device": device})
    common.show(arguments, answer, f"{answer['device']}: {DONE[arguments.action]}")
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
    if device["offered"]:
        line += f"  {MEANINGS[device['state']].format(**device)}"
    if device["state"] == "looping":  # ADR 0019
        line += ", and is not given any more" if is_proven(device["device"]) else ", and is given once an hour"
    if device.get("other_mac"):
        line += f"  CLONED: {device['other_mac']} showed its certificate, too"
    if device["error"]:
        line += f"  its last update ended with error {device['error']}"
    return line


def _ago(seconds: int) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= 2 * size), UNITS[-1])
    return counted(seconds // size, unit)
