"""`otaseal devices name ...`: what an operator says of devices, and the rules by which they have tags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..client.client import Client, product_path
from ..errors import ConfigError, counted
from . import common, device_lines

MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
MAX_CSV = 16 * 1024 * 1024
PARTS = ("board", "chip", "version", "channel", "name")
"""Of a rule, by which option each is given."""
SAYS: Mapping[str, Callable[[Sequence[str]], dict[str, Any]]] = {
    "name": lambda words: {"name": " ".join(words)},
    "note": lambda words: {"note": " ".join(words)},
    "tag": lambda words: {"tag": list(words)},
    "untag": lambda words: {"untag": list(words)},
    "pin": lambda words: {"pinned": True},
    "unpin": lambda words: {"pinned": False},
}
"""What is sent for an action with the words behind the device."""
ACTIONS = (*SAYS, "import", "rules")


def listed_name(device: str) -> str:
    """Return the name of a device as it is listed, for one that may be named by its MAC address alone."""
    return f"mac:{device.upper().replace('-', ':')}" if MAC.fullmatch(device) else device


def run(arguments: argparse.Namespace, connected: Client, product: str, globs: Mapping[str, str]) -> int:
    """Do one of ACTIONS; `globs` are the parts of a rule that are given. Raises ConfigError, InputError."""
    if arguments.action == "rules":
        return _rules(arguments, connected, product, globs)
    if arguments.action == "import":
        return _import(arguments, connected, product)
    said = SAYS[arguments.action](arguments.words)
    answer = connected.post(
        product_path(product, "devices", "label"), {"device": listed_name(arguments.device), **said}
    )
    return common.show(arguments, answer, _line(answer))


def check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError where an action lacks an argument, or has one too many."""
    action, words = arguments.action, arguments.words
    wanted = {"name": "a name", "note": "a note", "tag": "a tag", "untag": "a tag"}.get(action)
    if action == "import" and arguments.device is None:
        raise ConfigError("no file to import is named", "otaseal devices import devices.csv")
    if wanted and arguments.device is not None and not words:
        raise ConfigError(f"{wanted} is missing", f"otaseal devices {action} DEVICE {action.upper()}")
    if words and not wanted:
        raise ConfigError(f"'{words[0]}' is one word too many", f"otaseal devices {action} takes one at most")
    if arguments.remove and (action != "rules" or arguments.device is None):
        raise ConfigError("--remove is for a rule", "otaseal devices rules TAG --remove")


def _import(arguments: argparse.Namespace, connected: Client, product: str) -> int:
    path = Path(common.path(arguments.device))
    answer = connected.put(product_path(product, "labels"), files.read_bounded(path, MAX_CSV, "file of devices"))
    return common.show(arguments, answer, f"{counted(answer['devices'], 'device')} imported from '{path}'")


def _rules(arguments: argparse.Namespace, connected: Client, product: str, globs: Mapping[str, str]) -> int:
    path, tag = product_path(product, "tag-rules"), arguments.device
    if tag is None:
        if globs:
            raise ConfigError("no tag is named", "otaseal devices rules TAG --version '1.*'")
        answer = connected.get(path)
    elif arguments.remove:
        answer = connected.post(f"{path}/remove", {"tag": tag})
    else:
        answer = connected.post(path, {"tag": tag, **globs})
    lines = [_rule(rule) for rule in answer["rules"]]
    return common.show(arguments, answer, *(lines or ["no rules: otaseal devices rules TAG --version '1.*' makes one"]))


def _rule(rule: Mapping[str, str]) -> str:
    parts = [f"{part} {rule[part]}" for part in PARTS if rule[part]]
    return f"{rule['tag']}  {', '.join(parts)}"


def _line(answer: Mapping[str, Any]) -> str:
    """Return in one line all that is said of a device."""
    line = f"{answer['device']}"
    line += f"  '{answer['name']}'" if answer["name"] else ""
    line += f"  {device_lines.tagged(answer['tags'])}" if answer["tags"] else ""
    line += "  pinned: it gets no release" if answer["pinned"] else ""
    line += f"  note: {answer['note']}" if answer["note"] else ""
    return line if line != answer["device"] else f"{line}: nothing is said of it any more"
