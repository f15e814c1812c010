"""What Home Assistant is told, held against its own rules, and no text of a device's is more than text.

The rules are those of Home Assistant 2025.4: `MQTT_JSON_UPDATE_SCHEMA` and `PLATFORM_SCHEMA_MODERN` of
`components/mqtt/update.py`, `MQTT_ENTITY_DEVICE_INFO_SCHEMA` of `schemas.py` and `TOPIC_MATCHER` of `discovery.py`. A
state with any other field is dropped as a whole.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from otaseal.release.channels import Pointer
from otaseal.release.notes import Notes
from otaseal.server.mqtt.broker import Broker
from otaseal.server.mqtt.home_assistant import (
    MAX_SUMMARY,
    Told,
    config_topic,
    device_of,
    entity,
    identifier,
    state_topic,
)
from otaseal.store.device_rows import Device
from otaseal.store.labels import Label

STATE = {
    "installed_version": str,
    "latest_version": str,
    "title": str,
    "release_summary": str,
    "in_progress": bool,
}
CONFIG = {
    *("name", "unique_id", "object_id", "state_topic", "availability_topic", "device_class", "entity_category", "qos"),
    *("device", "origin", "command_topic", "payload_install", "retain"),
}
DEVICE = {"identifiers", "name", "manufacturer", "model", "connections"}
DISCOVERY = re.compile(r"homeassistant/update/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config")
BROKER = Broker("localhost", 8883, None, install=True)
MAC = "5C:CF:7F:00:00:01"
ROW = Device("blink", f"mac:{MAC}", "stable", "0" * 32, "1.0", MAC, 1.0, 2.0, board="nodemcuv2")
TOLD = Told(ROW, "1.0", Label(), Pointer("2.0"))


def config(told: Told, broker: Broker = BROKER) -> dict[str, Any]:
    made, name = entity(broker, told), identifier(told.row.device)
    assert DISCOVERY.fullmatch(config_topic(broker, told.row.product, name))
    found: dict[str, Any] = json.loads(made.config)
    assert set(found) <= CONFIG
    assert set(found["device"]) <= DEVICE
    assert found["state_topic"] == state_topic(broker, told.row.product, name)
    if broker.install:
        assert device_of(found["command_topic"]) == (told.row.product, name)
    return found


def state(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entity(BROKER, told).state)
    assert {name: type(value) for name, value in found.items()} == STATE
    return found


def test_a_device_is_one_entity_of_its_own_device() -> None:
    found = config(TOLD)
    name = identifier(ROW.device)
    assert found["command_topic"] == f"otaseal/blink/{name}/install"
    assert (found["device_class"], found["retain"], found["payload_install"]) == ("firmware", False, "install")
    assert found["device"]["connections"] == [["mac", MAC.lower()]]
    assert (found["device"]["name"], found["device"]["model"]) == (ROW.device, "nodemcuv2")
    assert config(TOLD._replace(label=Label(name="kitchen")))["device"]["name"] == "kitchen"
    assert "command_topic" not in config(TOLD, replace(BROKER, install=False)), "nothing can be asked for"
    dotted = TOLD._replace(row=ROW._replace(product="my.lamp"))
    assert config(dotted)["state_topic"].startswith("otaseal/my.lamp/"), "its topic of discovery has no dot"


def test_two_products_whose_names_differ_in_a_dot_have_entities_of_their_own() -> None:
    products = ("my.lamp", "my_lamp", "my__lamp", "my._lamp", "my-lamp")
    said = [config(TOLD._replace(row=ROW._replace(product=product))) for product in products]
    topics = {config_topic(BROKER, product, identifier(ROW.device)) for product in products}
    assert len({one["unique_id"] for one in said}) == len({one["object_id"] for one in said}) == len(topics) == 5
    assert said[1]["unique_id"] == f"otaseal_my_lamp_{identifier(ROW.device)}", "as it was before"


@pytest.mark.parametrize("topic", ["", "state", "/state", "a/b"])
def test_a_topic_that_no_device_has(topic: str) -> None:
    assert device_of(topic) == ("", "")


@pytest.mark.parametrize(
    ("told", "latest", "in_progress"),
    [
        (TOLD, "2.0", False),
        (TOLD._replace(pointer=Pointer("2.0", percent=0)), "2.0", False),
        (TOLD._replace(pointer=Pointer("2.0", halted=True)), "1.0", False),
        (TOLD._replace(pointer=Pointer("2.0", paused=True)), "1.0", False),
        (TOLD._replace(pointer=None), "1.0", False),
        (TOLD._replace(label=Label(pinned=True)), "1.0", False),
        (TOLD._replace(row=ROW._replace(offered="2.0", deliveries=1, delivered_at=3.0)), "2.0", True),
        (TOLD._replace(row=ROW._replace(offered="2.0", deliveries=1, delivered_at=3.0, failed_at=4.0)), "2.0", False),
        (TOLD._replace(running="2.0", pointer=Pointer("2.0")), "2.0", False),
    ],
)
def test_what_is_to_be_installed_is_what_the_channel_would_give(told: Told, latest: str, in_progress: bool) -> None:
    found = state(told)
    assert (found["latest_version"], found["in_progress"]) == (latest, in_progress)
    assert found["installed_version"] == told.running


def test_a_summary_is_as_long_as_it_is_shown_and_only_of_what_is_to_be_installed() -> None:
    told = TOLD._replace(notes=Notes("security", "x" * 300))
    summary = state(told)["release_summary"]
    assert summary.startswith("[security] xxx")
    assert len(summary) == MAX_SUMMARY
    assert state(told._replace(running="2.0"))["release_summary"] == ""
    assert state(TOLD._replace(running=None))["installed_version"] == "unknown"


HOSTILE = ["mac:../../#", "cert:a/+/b", "mac:" + "é\0\n\"'{{ 1 }}" * 9, "cert:\ud800", "", "mac:x" * 50]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(name: str) -> None:
    told = TOLD._replace(row=ROW._replace(device=name, mac=name, version=name, board=name), running=name)
    found = config(told)
    for topic in (found["state_topic"], found["command_topic"]):
        assert re.fullmatch(r"otaseal/blink/[0-9A-Za-z_-]{1,49}/(state|install)", topic)
    assert "connections" not in found["device"], "that is no address"
    assert state(told)["installed_version"] == (name or "unknown")
    assert identifier(name) != identifier(name + " ")
