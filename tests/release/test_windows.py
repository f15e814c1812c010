"""A window is open by the clock on the wall, whichever way daylight saving sets that."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otaseal.errors import ConfigError
from otaseal.release.windows import DAYS, Window, parse_window

BERLIN = "Europe/Berlin"
ZONES = (BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia", "UTC")
CLOCK_CHANGES = (1774746000, 1792890000, 1772953200, 1793512800, 1775314800, 1791039600, 1771120800, 1325239200)
"""Of these zones, in 2026; the last one is when Samoa had no 30 December."""


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


quarters = st.integers(0, 95).map(lambda number: 15 * number)
windows = st.builds(
    lambda hours, zone, days: Window(*hours, zone, tuple(sorted(days))),
    st.tuples(quarters, quarters).filter(lambda hours: hours[0] != hours[1]),
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 6), min_size=1),
)
moments = st.builds(lambda at, by: at + by, st.sampled_from(CLOCK_CHANGES), st.integers(-90_000, 90_000))


@settings(max_examples=60, deadline=None)
@given(windows, moments)
def test_between_two_changes_nothing_changes(window: Window, now: float) -> None:
    change, state = window.next_change(now), window.is_open(now)
    assert window.is_open(change) is not state
    first = now - now % 300 + 300
    assert all(window.is_open(time) is state for time in range(int(first), int(change), 300))


@settings(max_examples=60, deadline=None)
@given(windows, moments)
@example(Window(120, 180, BERLIN, (6,)), 1774745999)  # the only hour of the week does not exist
def test_whoever_waits_comes_in(window: Window, now: float) -> None:
    opening = window.next_opening(now)
    assert now <= opening.opens < opening.closes
    assert window.is_open(opening.opens)
    assert not window.is_open(opening.closes)


@pytest.mark.parametrize(
    ("hours", "opens", "closes"),
    [
        ("02:00-04:00", "2026-03-29T01:00", "2026-03-29T02:00"),  # from three o'clock, which two has become
        ("02:30-02:45", "2026-03-30T00:30", "2026-03-30T00:45"),  # there is no such time that night
        ("01:30-02:30", "2026-03-29T00:30", "2026-03-29T01:00"),
    ],
)
def test_the_night_that_lacks_an_hour(hours: str, opens: str, closes: str) -> None:
    opening = parse_window(hours, BERLIN).next_opening(utc("2026-03-28T23:30"))
    assert opening == (utc(opens), utc(closes))


def test_the_night_that_has_an_hour_twice() -> None:
    window = parse_window("02:30-03:30", BERLIN)
    first = window.next_opening(utc("2026-10-24T23:00"))
    assert first == (utc("2026-10-25T00:30"), utc("2026-10-25T01:00"))  # until it is two o'clock again
    assert window.next_opening(first.closes) == (utc("2026-10-25T01:30"), utc("2026-10-25T02:30"))


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    window = parse_window("22:00-04:00", "UTC", "fri")
    assert [window.is_open(utc(f"2026-11-{day}T{hour}:00")) for day, hour in ((27, 21), (27, 22), (28, "03"))] == [
        False,
        True,
        True,
    ]
    assert not window.is_open(utc("2026-11-27T03:00"))
    assert not window.is_open(utc("2026-11-28T22:00"))


@pytest.mark.parametrize(("days", "meant"), [("mon-fri", range(5)), (["sat", "sun"], (5, 6)), ("sat-mon", (0, 5, 6))])
def test_days_by_name(days: object, meant: object) -> None:
    window = parse_window("02:00-04:00", BERLIN, days)
    assert window.days == tuple(meant)  # type: ignore[arg-type]
    assert parse_window(window.hours, window.zone, window.day_names) == window
    assert set(window.day_names) <= set(DAYS)


@pytest.mark.parametrize(
    ("hours", "zone", "days", "wrong"),
    [
        ("2-4", BERLIN, (), "'2-4' is no window"),
        ("02:00-02:00", BERLIN, (), "'02:00-02:00' is no window"),
        ("02:00-24:00", BERLIN, (), "'02:00-24:00' is no window"),
        ("02:60-03:00", BERLIN, (), "'02:60-03:00' is no window"),
        (7, BERLIN, (), "'7' is no window"),
        ("02:00-04:00", None, (), "has no time zone"),
        ("02:00-04:00", "Europe/Atlantis", (), "no time zone 'Europe/Atlantis'"),
        ("02:00-04:00", "../../etc/passwd", (), "no time zone"),
        ("02:00-04:00", "Europe", (), "no time zone 'Europe'"),
        ("02:00-04:00", "", (), "no time zone ''"),
        ("02:00-04:00", BERLIN, "monday", "'monday' is no day"),
        ("02:00-04:00", BERLIN, [3], "are no days"),
        ("02:00-04:00", BERLIN, "mon-", "'mon-' is no day"),
    ],
)
def test_what_is_no_window(hours: object, zone: object, days: object, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        parse_window(hours, zone, days)
