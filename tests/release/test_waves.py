"""Nobody gets a release outside of his wave and window, who had his turn keeps it, and nobody is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import ConfigError
from otaseal.release.rollout import Counts
from otaseal.release.waves import (
    MAX_WAIT,
    MIN_WAIT,
    Plan,
    Standing,
    Turn,
    Wave,
    gate,
    is_named,
    openings,
    pending,
    turn,
    wait,
    wave_of,
)
from otaseal.release.windows import Opening, Window, parse_window
from support.rollouts import NAMES, TAGS, devices, plans

DAY = 86400.0
fleets = st.dictionaries(devices, st.sets(st.sampled_from(TAGS)), min_size=1)


@settings(max_examples=150, deadline=None)
@given(plans(), fleets, st.text(max_size=8), st.integers(1_700_000_000, 1_800_000_000))
def test_a_turn_comes_once_and_does_not_pass(plan: Plan, fleet: dict[str, set[str]], salt: str, now: int) -> None:
    had: set[str] = set()
    for current in range(len(plan.waves)):
        opened = openings(plan.waves, float(now)).is_open
        turns = {
            device: turn(current, wave_of(plan.waves, device, tags, salt), opened) for device, tags in fleet.items()
        }
        always = {
            device: turn(current, wave_of(plan.waves, device, tags, salt), [True] * len(plan.waves))
            for device, tags in fleet.items()
        }
        now_in = {device for device, one in always.items() if one is Turn.NOW}
        assert had <= now_in, "who had his turn keeps it"
        had = now_in
        for device, tags in fleet.items():
            first = next(wave for wave in plan.waves if wave_of([wave], device, tags, salt) is not None)
            number = plan.waves.index(first)
            is_open = first.window is None or first.window.is_open(float(now))
            meant = Turn.CLOSED if not is_open else Turn.NOW if number <= current else Turn.LATER
            assert turns[device] is meant, "the release in wave and window alone"
    assert had == set(fleet), "nobody is forgotten"


@settings(max_examples=100, deadline=None)
@given(plans(), st.integers(1_700_000_000, 1_800_000_000), st.integers(0, 200_000))
def test_what_is_known_of_windows_holds_as_long_as_it_says(plan: Plan, now: int, later: int) -> None:
    known = openings(plan.waves, float(now))
    assert known.holds(now)
    if known.holds(now + later):
        assert openings(plan.waves, float(now + later)).is_open == known.is_open
    assert not known.holds(now - 1), "a clock that was set back"


def test_a_share_is_of_those_that_nothing_else_names() -> None:
    waves = (Wave(tags=("beta",)), Wave(percent=10), Wave(percent=100))
    fleet = [f"mac:{number}" for number in range(4000)]
    by_wave = [wave_of(waves, name, ("beta",) if number < 1000 else (), "salt") for number, name in enumerate(fleet)]
    assert by_wave[:1000] == [0] * 1000
    assert 240 < by_wave.count(1) < 360
    assert by_wave.count(2) == 3000 - by_wave.count(1)
    assert wave_of(waves[:2], fleet[by_wave.index(2)], (), "salt") is None


def test_a_device_is_named_by_its_address_whatever_proves_that() -> None:
    assert is_named("cert:5C:CF:7F:00:00:01", ["mac:5C:CF:7F:00:00:01"])
    assert is_named("cert:kitchen", ["cert:kitchen"])
    assert not is_named("unproven:5C:CF:7F:00:00:01", ["mac:5C:CF:7F:00:00:01"])
    assert not is_named("mac:5C:CF:7F:00:00:01", ["cert:5C:CF:7F:00:00:01"])


def standing(confirmed: int, failed: int = 0, eligible: int = 20, unheard: int = 0) -> Standing:
    heard = Counts(eligible, eligible, eligible, confirmed, failed)
    return Standing(replace(heard, eligible=eligible + unheard), heard)


OURS = Plan((Wave(tags=("ours",)), Wave(percent=100)))
RAMP = Plan((Wave(percent=10, soak=120), Wave(percent=100)), began=1000)


@pytest.mark.parametrize(
    ("plan", "found", "now", "passed", "reason"),
    [
        (RAMP, standing(12), 1000 + 7200, True, "12 of 12 came back"),
        (RAMP, standing(12), 999 + 7200, False, "soaks until 1970-01-01 02:16 UTC"),
        (RAMP, standing(9), 1e6, False, "9 of 10 answers"),
        (RAMP, standing(3, eligible=3), 1e6, True, "3 of 3 came back"),
        (RAMP, standing(2, eligible=3), 1e6, False, "2 of 3 answers"),
        (RAMP, standing(0, eligible=0), 1e6, True, "no device is in it"),
        (OURS, Standing(Counts(), Counts(), unmet=True), 1e6, False, "no device to update has the tag 'ours'"),
        (OURS, standing(0, eligible=0), 1e6, True, "no device is in it"),  # all who have the tag are in earlier waves
        (RAMP, standing(0, eligible=0, unheard=2), 1e6, False, "0 of 2 answers"),  # whose word does not count
        (RAMP, standing(2, eligible=2, unheard=5), 1e6, True, "2 of 2 came back"),
        (RAMP, standing(19, 1), 1e6, True, "19 of 20 came back"),  # the very share that may fail
        (RAMP, standing(18, 1, 19), 1e6, False, "1 of 19 failed, and at most 5 % may"),
        (replace(RAMP, current=1), standing(20), 1e6, False, "all waves have begun"),
    ],
)
def test_when_the_next_wave_begins(plan: Plan, found: Standing, now: float, passed: bool, reason: str) -> None:
    verdict = gate(plan, found, 5, now)
    assert verdict.passed is passed
    assert reason in verdict.reasons


def test_a_gate_has_its_own_limits_and_a_person() -> None:
    waves = (Wave(percent=10, answers=2, max_failed=0, approval=("alice", "bob")), Wave(percent=100))
    asked = Plan(waves)
    assert gate(asked, standing(2), 5, 0).reasons == ("waits for the approval of alice or bob",)
    assert not pending(asked, 0).passed
    approved = replace(asked, approved="token:alice")
    assert pending(approved, 0).passed
    assert gate(approved, standing(2), 5, 0) == (True, ("2 of 2 came back", "approved by token:alice"), None)
    assert gate(approved, standing(19, 1), 5, 0).reasons == ("1 of 20 failed, and at most 0 % may",)
    assert approved.next(7.9) == Plan(waves, 1, 7), "the next one wants an approval of its own"


NIGHT = parse_window("02:00-04:00", "UTC")
TEN, TWO, DAY = 10 * 3600, 2 * 3600, 24 * 3600  # of 1970-01-01, in UTC


@pytest.mark.parametrize(
    ("windows", "began", "now", "opened"),
    [
        ((None, None), TEN, TEN, True),
        ((None, NIGHT), TEN, DAY + TWO - 1, False),
        ((None, NIGHT), TEN, DAY + TWO, True),
        ((None, NIGHT), TEN, DAY + TEN, True),  # it is shut again, and who was away comes later
        ((None, NIGHT), TWO, TWO, True),
        ((NIGHT, None), TEN, TEN, False),  # somebody began the second wave before the first had its turn
    ],
)
def test_a_plan_says_whether_each_window_was_open(
    windows: tuple[Window | None, ...], began: int, now: float, opened: bool
) -> None:
    plan = Plan(tuple(Wave(percent=50 * n, window=one) for n, one in enumerate(windows, 1)), current=1, began=began)
    assert plan.has_opened(now) is opened


@pytest.mark.parametrize(
    ("waves", "wrong"),
    [
        ((), "0 waves"),
        ((Wave(percent=1),) * 17, "17 waves"),
        ((Wave(),), "wave 1 has no devices"),
        ((Wave(percent=50), Wave(percent=50)), "wave 2 has 50 %, and one before it 50 %"),
        ((Wave(percent=100), Wave(tags=("beta",))), "wave 2 comes after one that has all"),
        ((Wave(devices=NAMES), Wave(devices=NAMES * 3)), "more than 64"),
    ],
)
def test_what_is_no_plan(waves: tuple[Wave, ...], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        Plan(waves)


@settings(max_examples=200)
@given(st.floats(1, DAY), st.floats(120, DAY), st.floats(0, 1), st.floats(60, 2 * DAY), devices)
def test_who_waits_as_told_comes_into_the_window(
    away: float, lasts: float, late: float, pace: float, device: str
) -> None:
    opening, now, asked = Opening(away, away + lasts), 0.0, -pace
    while now < opening.opens:
        seconds = wait(opening, now, device, now - asked)
        if seconds is None:  # it comes once more before
            assert opening.opens - now > min(1.25 * (now - asked), MAX_WAIT)
            return
        assert MIN_WAIT <= seconds <= MAX_WAIT + 1800 + 1
        now, asked = now + seconds * (1 + late / 8), now  # as the library does
    assert opening.opens <= now < opening.closes


def test_a_fleet_that_waits_does_not_come_at_once() -> None:
    waits = {wait(Opening(3600.0, 7200.0), 0.0, f"mac:{number}", 3600.0) for number in range(2000)}
    assert len(waits) > 1000
    assert min(filter(None, waits)) >= 3600
    assert max(filter(None, waits)) <= 3600 + 1800 + 1


def test_a_device_that_comes_again_in_time_is_told_nothing() -> None:
    assert wait(Opening(7200.0, 9000.0), 0.0, "mac:1", 3600.0) is None
    assert wait(Opening(7200.0, 9000.0), 0.0, "mac:1", 7200.0) is not None
