"""What is published of a device, as Home Assistant's MQTT integration reads it: an entity `update`, by discovery.

Pure. Facts of Home Assistant are those of its source, `components/mqtt/update.py`, `schemas.py` and `discovery.py`; the
tests have them. What devices say is text in JSON values, and in a topic an identifier of our own.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from ... import __version__
from ...pki.profile import MAC_ADDRESS
from ...release.channels import Pointer
from ...release.notes import NO_NOTES, Notes
from ...store.device_rows import Device
from ...store.labels import Label
from .broker import Broker

INSTALL, STATE, ONLINE, OFFLINE = "install", "state", "online", "offline"
MAX_SUMMARY = 255
"""Characters that Home Assistant shows of a summary."""
UNKNOWN = "unknown"
_OTHER = re.compile(r"[^0-9A-Za-z-]+")


class Entity(NamedTuple):
    """One device as it is told: what is retained at its `config_topic` and its `state_topic`."""

    config: bytes
    state: bytes


GONE = Entity(b"", b"")
"""In place of one: nothing is retained any more."""


class Told(NamedTuple):
    """All that is known of a device: its row, the version that it runs, its label, and what its channel gives out."""

    row: Device
    running: str | None
    label: Label
    pointer: Pointer | None
    notes: Notes = NO_NOTES


def identifier(device: str) -> str:
    """Return a device's part of a topic: its name as far as that is one, and some digits that make it its own."""
    return f"{_OTHER.sub('_', device).strip('_')[:40]}_{_digits(device)}"


def status_topic(broker: Broker) -> str:
    """Return where it stands whether this server is there."""
    return f"{broker.topic}/status"


def poll_topic(broker: Broker, product: str, channel: str) -> str:
    """Return where devices of a channel hear that a poll is worth it."""
    return f"{broker.topic}/{product}/{channel}/poll"


def state_topic(broker: Broker, product: str, identifier: str) -> str:
    """Return where the state of a device is retained."""
    return f"{broker.topic}/{product}/{identifier}/{STATE}"


def config_topic(broker: Broker, product: str, identifier: str) -> str:
    """Return where Home Assistant discovers a device."""
    return f"{broker.discovery}/update/{_node(product)}/{identifier}/config"


def device_of(topic: str) -> tuple[str, str]:
    """Return product and identifier of the device whose state or command a topic is, nothing of one that is neither."""
    parts = topic.split("/")
    return (parts[-3], parts[-2]) if len(parts) > 2 else ("", "")


def _node(product: str) -> str:
    """Return a product's part of identifiers: with some digits where its name is changed, as another one's would be."""
    name = _OTHER.sub("_", product)
    return f"otaseal_{name}" if name == product else f"otaseal_{name}_{_digits(product)}"


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def install_topics(broker: Broker) -> str:
    """Return the filter of the topics of all devices' commands."""
    return f"{broker.topic}/+/+/{INSTALL}"


def state_topics(broker: Broker) -> str:
    """Return the filter of the topics of all devices' states."""
    return f"{broker.topic}/+/+/{STATE}"


def entity(broker: Broker, told: Told) -> Entity:
    """Return what is retained of a device."""
    row = told.row
    name = identifier(row.device)
    unique = f"{_node(row.product)}_{name}"
    config: dict[str, Any] = {
        "name": "Firmware",
        "unique_id": unique,
        "object_id": unique,
        "state_topic": state_topic(broker, row.product, name),
        "availability_topic": status_topic(broker),
        "device_class": "firmware",
        "entity_category": "config" if broker.install else "diagnostic",
        "qos": 1,
        "device": _device(told, unique),
        "origin": {"name": "otaseal", "sw_version": __version__},
    }
    if broker.install:
        command = f"{broker.topic}/{row.product}/{name}/{INSTALL}"
        config |= {"command_topic": command, "payload_install": INSTALL, "retain": False}
    return Entity(_json(config), _json(state(told)))


def state(told: Told) -> dict[str, Any]:
    """Return the state of an `update`: of a stopped rollout, and on a pinned device, nothing is to be installed."""
    row, pointer = told.row, told.pointer
    running = told.running or UNKNOWN
    stopped = pointer is None or pointer.halted or pointer.paused or told.label.pinned
    latest = running if pointer is None or stopped else pointer.version
    shown: dict[str, Any] = {
        "installed_version": running,
        "latest_version": latest,
        "title": row.product,
        "release_summary": summary(told.notes) if latest != running else "",
        "in_progress": latest != running and row.state == "updating" and row.offered == latest,
    }
    return shown


def summary(notes: Notes) -> str:
    """Return the notes of a release, as short as they are shown."""
    text = f"[{notes.severity}] {notes.notes}".strip() if notes.severity else notes.notes
    return text if len(text) <= MAX_SUMMARY else text[: MAX_SUMMARY - 1] + "…"


def _device(told: Told, unique: str) -> dict[str, Any]:
    row = told.row
    device: dict[str, Any] = {"identifiers": [unique], "name": told.label.name or row.device, "manufacturer": "otaseal"}
    if model := row.board or row.chip:
        device["model"] = model
    if MAC_ADDRESS.fullmatch(row.mac):
        device["connections"] = [["mac", row.mac.lower()]]
    return device


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
