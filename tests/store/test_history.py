"""What became of a device, told by its rows; how often it asks; and why it is answered as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.store.device_rows import Asking, Hardware, Sighting
from otaseal.store.history import EVENTS, MAX_EVENTS
from otaseal.store.row_changes import seen, touched
from support.devices import OneByOne, Open, open_devices

__all__ = ["open_devices"]

OLD, NEW = "0" * 32, "1" * 32
HOUR = 3600.0
FIRST = Sighting("blink", "stable", "mac:A", OLD, "1.0", "A", address="home")
ASKING = Asking("blink", "mac:A", "home")
ESP = Hardware("ab" * 8, "esp8266", 500_000, 300_000, 4_194_304, "2.2.2-dev")


def told(devices: OneByOne) -> list[tuple[object, ...]]:
    """Return what became of the device, the oldest first, without the times."""
    return [event[1:] for event in reversed(devices.history("blink", "mac:A"))]


def answered(devices: OneByOne, reason: str, now: float, who: Asking = ASKING) -> None:
    with devices.batch() as rows:
        rows.answer(who, reason, now)


def test_an_update_that_fails_and_one_that_works(open_devices: Open) -> None:
    with open_devices() as devices:
        devices.see(FIRST, 1.0)
        answered(devices, "not-included", 1.0)
        for number, claim in enumerate((replace(FIRST, error=12), replace(FIRST, md5=NEW, version="2.0", error=0))):
            now = HOUR * (1 + number)
            devices.offer("blink", "mac:A", f"2.{number}", NEW, now, "home")
            devices.deliver("blink", "mac:A", f"2.{number}", now + 1.0, "home")
            devices.see(claim, now + 60.0)
        answered(devices, "current", 2 * HOUR + 60.0)
        assert told(devices) == [
            ("first", "1.0", OLD),
            ("answered", "", "not-included"),
            ("offered", "2.0", ""),
            ("took", "2.0", ""),
            ("failed", "2.0", "12"),
            ("offered", "2.1", ""),
            ("took", "2.1", ""),
            ("runs", "2.0", NEW),
            ("back", "2.1", ""),
            ("answered", "", "current"),
        ]
        assert {event for event, *_ in told(devices)} < set(EVENTS)
        assert [event.at for event in devices.history("blink", "mac:A")][:2] == [2 * HOUR + 60.0] * 2
        with devices.batch() as rows:
            rows.forget("blink", "mac:A")
        assert told(devices) == []
        devices.see(FIRST, 1.0)
        assert told(devices) == [("first", "1.0", OLD)]


def test_since_when_devices_have_a_release(open_devices: Open) -> None:
    with open_devices() as devices:
        for name, seen_first, version in (("updated", 1.0, "1.0"), ("by cable", 2.0, "2.0"), ("old", 3.0, "1.0")):
            devices.see(replace(FIRST, device=name, version=version, md5=OLD if version == "1.0" else NEW), seen_first)
        for now, md5 in ((HOUR, NEW), (2 * HOUR, OLD), (3 * HOUR, NEW)):  # it had the release twice
            devices.offer("blink", "updated", "2.0" if md5 == NEW else "1.0", md5, now, "home")
            devices.deliver("blink", "updated", "2.0" if md5 == NEW else "1.0", now, "home")
            devices.see(replace(FIRST, device="updated", md5=md5, version="2.0" if md5 == NEW else "1.0"), now + 60.0)
        active = devices.active("blink", 0.0)
        assert sorted(active) == [(OLD, "1.0", 1), (NEW, "2.0", 2)]
        new = [one for one in active if one.version == "2.0"]
        assert sorted(devices.had("blink", 0.0, new, ["2.0", "2.1"])) == [2.0, HOUR + 60.0]
        assert devices.had("blink", HOUR, new, ["2.0"]) == (HOUR + 60.0,)
        assert devices.had("blink", HOUR, new, ["2.1"]) == (1.0,)
        assert devices.had("blink", 0.0, [], ["2.0"]) == ()


def test_the_newest_are_kept_and_a_poll_that_says_nothing_new_makes_none(open_devices: Open) -> None:
    with open_devices() as devices:
        for number in range(MAX_EVENTS + 10):
            devices.see(replace(FIRST, md5=f"{number:032}", version=str(number)), HOUR * number)
            devices.see(replace(FIRST, md5=f"{number:032}", version=str(number)), HOUR * number + 1.0)
        events = devices.history("blink", "mac:A")
        assert [event.version for event in events] == [str(number) for number in range(MAX_EVENTS + 9, 9, -1)]
        with devices.batch() as rows:
            rows.touch("blink", "mac:A", HOUR * 100, None)
        answered(devices, "", HOUR * 101)
        assert devices.history("blink", "mac:A") == events
        assert devices.history("blink", "mac:B") == devices.history("other", "mac:A") == ()


def test_why_a_poll_was_answered_is_kept_when_it_changes_and_not_from_elsewhere(open_devices: Open) -> None:
    with open_devices() as devices:
        devices.see(FIRST, 1.0)
        for reason in ("pinned", "pinned", "current"):
            answered(devices, reason, 2.0)
        answered(devices, "looping", 3.0, ASKING._replace(address="away"))
        answered(devices, "current", 3.0, ASKING._replace(device="mac:B"))
        assert told(devices)[1:] == [("answered", "", "pinned"), ("answered", "", "current")]
        known = devices.get("blink", "mac:A")
        assert known is not None
        assert known.answered == "current"
        devices.offer("blink", "mac:A", "2.0", NEW, 4.0, "home")
        answered(devices, "pinned", 5.0)
        devices.offer("blink", "mac:A", "2.0", NEW, 6.0, "home")
        assert told(devices)[3:] == [("offered", "2.0", ""), ("answered", "", "pinned"), ("answered", "", "offered")]


def test_what_a_chip_says_of_itself_is_kept_from_home(open_devices: Open) -> None:
    with open_devices() as devices:
        devices.see(replace(FIRST, hardware=ESP), 1.0)
        devices.see(replace(FIRST, hardware=ESP._replace(sdk="x" * 200), address="away"), 2.0)
        row = devices.get("blink", "mac:A")
        assert row is not None
        assert (row.board, row.chip, row.free_space, row.sketch_size, row.chip_size, row.sdk) == ESP
        devices.see(replace(FIRST, hardware=ESP._replace(sdk="x" * 200, free_space=0xFFFFFFFF)), 2.0)
        row = devices.get("blink", "mac:A")
        assert row is not None
        assert (row.sdk, row.free_space) == ("x" * 128, 0xFFFFFFFF), "news, however soon"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(waits=st.lists(st.floats(0.0, 30 * 24 * HOUR), min_size=1, max_size=8))
def test_a_pace_is_the_same_in_sql_and_within_what_was_waited(open_devices: Open, waits: list[float]) -> None:
    with open_devices() as devices:
        with devices.batch() as rows:
            rows.forget("blink", "mac:A")
        row, now = devices.see(FIRST, 1e9), 1e9
        for waited in waits:
            now += waited
            with devices.batch() as rows:
                rows.touch("blink", "mac:A", now, None)
            row = touched(row, now, None)
            assert devices.get("blink", "mac:A") == row
        counted = [after for after in waits if after >= 61.0]
        if counted and row.pace is not None:
            assert 60.0 <= row.pace <= 1.0 + max(waits)
            assert row.is_late(now + 3.1 * row.pace)
            assert not row.is_late(now + 2.9 * row.pace)


def test_a_pace_follows_a_device_and_not_its_holidays() -> None:
    row, now = seen(None, FIRST, 0.0), 0.0
    assert (row.next_poll, row.is_late(24 * HOUR), row.is_late(24 * HOUR + 1)) == (None, False, True)
    for waited in (*[HOUR] * 20, 1.0, 30 * 24 * HOUR):
        now += waited
        row = seen(row, FIRST, now)
    assert row.pace == pytest.approx(1.75 * HOUR)
    assert row.next_poll == now + row.pace
    for _ in range(30):
        now += HOUR / 2
        row = seen(row, FIRST, now)
    assert row.pace == pytest.approx(HOUR / 2, rel=0.01)
