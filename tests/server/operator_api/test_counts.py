"""Counts and lists of devices: each count is the total of the list with that filter, whatever devices say."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.release.channels import Pointer
from otaseal.server.operator_api.device_list import Query, counts, page
from otaseal.server.operator_api.fleet import Fleet
from otaseal.store.device_rows import Device
from otaseal.store.labels import Label
from otaseal.store.tag_rules import TagRule
from support.odd_fleet import LABELS, MACS, NOW, ROWS, RULES, fleet, open_fleet, put
from support.releases import make_release

__all__ = ["fleet", "open_fleet"]
LARGE = b"for an ESP32" * 1000


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
    put(fleet, rows, labels, rules)

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
