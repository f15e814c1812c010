"""Counts and lists of devices: each count is the total of the list with that filter, whatever devices say."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.protocol.answers import REASONS
from otaseal.release.channels import Pointer
from otaseal.server.catalog import Catalog
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.operator_api.device_list import Query, counts, page
from otaseal.server.operator_api.fleet import Fleet
from otaseal.server.operator_api.rollout_options import UptimeClock
from otaseal.server.operator_api.room import Room
from otaseal.store.backend import open_new
from otaseal.store.device_rows import Device
from otaseal.store.enrolments import Enrolments
from otaseal.store.labels import NO_LABEL, Label
from otaseal.store.tag_rules import TagRule
from support.filled_store import BACKENDS, FIRST, SECOND, fill, new_location
from support.releases import make_release

LARGE = b"for an ESP32" * 1000
NOW = 1_800_000_000.0
MACS = tuple(f"5C:CF:7F:00:00:{number:02X}" for number in range(6))
TAGS = ("indoor", "old")


@pytest.fixture(params=BACKENDS)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with open_new(new_location(request.param, tmp_path)) as backend:
        fill(backend.store)
        catalog = Catalog(backend.store)
        keys = backend.start(print, lambda: None)
        backend.labels.facts = catalog.facts
        with Recorder(backend.notes, print) as recorder:
            yield Fleet(
                catalog, backend.devices, recorder, UptimeClock(lambda jump: None), keys, Enrolments(backend.secrets),
                backend.labels, Room(catalog),
            )  # fmt: skip


@pytest.fixture
def open_fleet(fleet: Fleet) -> Callable[[], Fleet]:
    """Return what returns the fleet: hypothesis would show all of it."""
    return lambda: fleet


MAYBE = st.one_of(st.none(), st.floats(1e9, 2e9))
ROWS = st.fixed_dictionaries(
    {
        "product": st.just("blink"),
        "device": st.sampled_from([f"{kind}:{mac}" for kind in ("mac", "cert", "unproven") for mac in MACS]),
        "channel": st.sampled_from(["stable", "beta"]),
        "md5": st.sampled_from([FIRST.sketch_md5[0], SECOND.sketch_md5[0], "f" * 32, ""]),
        "version": st.sampled_from(["", "1.1.0", "1.0.0", "0.9", "no version|"]),
        "mac": st.sampled_from(MACS),
        "first_seen": st.just(1e9),
        "last_seen": st.floats(NOW - 1e6, NOW),
        "offered": st.sampled_from([None, "1.1.0"]),
        "deliveries": st.integers(0, 4),
        "delivered_at": MAYBE,
        "confirmed_at": MAYBE,
        "failed_at": MAYBE,
        "counter": st.sampled_from([None, 0]),
        "board": st.sampled_from(["", FIRST.board_key or "", "ab" * 8]),
        "chip": st.sampled_from(["", "esp8266", "esp32"]),
        "free_space": st.sampled_from([None, 0, 4096, 1 << 20, 0xFFFFFFFF]),
        "sketch_size": st.sampled_from([None, 300_000]),
        "answered": st.sampled_from(["", *REASONS]),
        "pace": st.one_of(st.none(), st.floats(60, 1e6)),
    }
).map(lambda told: Device(**told))
LABELS = st.builds(
    Label,
    name=st.sampled_from(["", "Kitchen", "hall"]),
    note=st.sampled_from(["", "5C by the door"]),
    tags=st.frozensets(st.sampled_from(TAGS)),
    pinned=st.booleans(),
)
RULES = st.builds(
    TagRule, st.sampled_from([*TAGS, "by-rule"]), st.sampled_from(["", "nodemcu*"]), st.sampled_from(["", "esp*"]),
    st.sampled_from(["1.*", "*"]), st.sampled_from(["", "b*"]), st.sampled_from(["", "k*"]),
)  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROWS, max_size=12, unique_by=lambda row: row.device),
    labels=st.dictionaries(st.sampled_from([f"mac:{mac}" for mac in MACS]), LABELS, max_size=4),
    rules=st.lists(RULES, max_size=2),
    channel=st.sampled_from(["", "stable"]),
)
def test_each_count_is_the_total_of_its_list(
    open_fleet: Callable[[], Fleet], rows: list[Device], labels: dict[str, Label], rules: list[TagRule], channel: str
) -> None:
    fleet = open_fleet()
    with fleet.devices.transaction() as transaction:
        transaction.execute("DELETE FROM devices")
    fleet.devices.take(rows)
    edits = {**dict.fromkeys(fleet.labels.of("blink"), NO_LABEL), **labels}
    fleet.labels.change("blink", {device: lambda _, label=label: label for device, label in edits.items()})  # type: ignore[misc]
    for tag in list(fleet.labels.rules.of("blink")):
        fleet.labels.rules.drop("blink", tag)
    for rule in rules:
        fleet.labels.rules.set("blink", rule)

    def found(**query: Any) -> list[dict[str, Any]]:
        answer = page(fleet, "blink", Query(**{"channel": channel, **query}), "", 500, NOW)
        assert answer["total"] == len(answer["devices"])
        devices: list[dict[str, Any]] = answer["devices"]
        return devices

    told = counts(fleet, "blink", channel, NOW)
    everybody = found()
    assert told["total"] == len(everybody) == sum(not channel or row.channel == channel for row in rows)
    for name, field in (("late", "late"), ("pinned", "pinned")):
        assert told[name] == len(found(**{name: True})) == sum(row[field] for row in everybody)
    for name in ("late", "no_room", "pinned"):
        assert len(found(**{name: True})) + len(found(**{name: False})) == told["total"]
    assert told["no_room"] == len(found(no_room=True))
    for kind, name, field in (
        *(("states", "state", "state"), ("answered", "answered", "answered"), ("versions", "version", "running")),
        *(("boards", "board", "board_name"), ("channels", "channel", "channel")),
    ):
        for value, count in told[kind].items():
            if kind != "channels" or not channel or value == channel:
                assert count == len(found(**{name: value})) == sum(row[field] == value for row in everybody), value
    assert set(told["states"]) == {row["state"] for row in everybody}
    assert set(told["tags"]) == set(fleet.labels.tags("blink"))
    for tag, count in told["tags"].items():
        assert count == len(found(tag=(tag,))) == sum(tag in row["tags"] for row in everybody), tag
        both = [row for row in everybody if {tag, "old"} <= set(row["tags"])]
        assert found(tag=(tag, "old")) == found(tag=("old", tag), state="") == both
    for text in ("kitchen", "5c:cf", "DOOR", "%", "no such"):
        wanted = {
            row["device"]
            for row in everybody
            if text.lower() in f"{row['device']} {row['mac']}\n{row['name']}\n{row['note']}".lower()
        }
        assert {row["device"] for row in found(text=text)} == wanted


def test_room_is_what_the_server_would_answer(fleet: Fleet) -> None:
    """By the release of the channel that the device asks for, as soon as it points at it."""
    new = replace(make_release("3.0.0", LARGE), chip="esp32", embedded_keys=())
    new = replace(new, sketch_md5=(hashlib.md5(LARGE).hexdigest(),))
    row = Device("blink", "mac:A", "stable", "f" * 32, "1.0.0", "A", NOW, NOW, chip="esp32", free_space=100)
    fleet.devices.take([row, row._replace(device="mac:B", free_space=1 << 20)])
    fleet.devices.take([row._replace(device="mac:C", free_space=None), row._replace(device="mac:D", channel="beta")])
    assert counts(fleet, "blink", now=NOW)["no_room"] == 0, "what it points at is for other chips"
    fleet.catalog.store.publish(new, [LARGE], by="test")
    fleet.catalog.store.point("blink", "stable", Pointer("3.0.0", 0, "salt"), expected=2, by="test")
    assert [one["device"] for one in page(fleet, "blink", Query(no_room=True), "", 9, NOW)["devices"]] == ["mac:A"]
    assert counts(fleet, "blink", now=NOW)["no_room"] == 1
    fleet.devices.take([row._replace(md5=new.sketch_md5[0])])
    assert counts(fleet, "blink", now=NOW)["no_room"] == 0, "it runs it already"


def test_news_are_found_since_a_look(fleet: Fleet) -> None:
    now = time.time()
    row = Device("blink", "mac:A", "stable", "", "1.0.0", "A", now - 100, now - 100)
    fleet.devices.take(
        [row, row._replace(device="mac:B", delivered_at=now), row._replace(device="mac:C", last_seen=now)]
    )
    news = page(fleet, "blink", Query(since=now - 1), "", 9)
    assert [one["device"] for one in news["devices"]] == ["mac:B", "mac:C"]
    assert page(fleet, "blink", Query(since=news["now"]), "", 9)["devices"] == []
