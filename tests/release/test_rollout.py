"""Who is in stays in, the share is the share, and a rollout stops when devices don't come back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.release.rollout import COMPLETE, CONTINUE, HALT, Counts, Limits, includes, judge

FLEET = [f"mac:5C:CF:7F:{number >> 16:02X}:{number >> 8 & 255:02X}:{number & 255:02X}" for number in range(10_000)]
names = st.text(max_size=30)


@settings(max_examples=300)
@given(names, names, st.floats(0, 100), st.floats(0, 100))
def test_a_higher_percentage_keeps_everyone(device: str, salt: str, first: float, second: float) -> None:
    low, high = sorted([first, second])
    assert includes(device, salt, low) <= includes(device, salt, high)
    assert includes(device, salt, low) == includes(device, salt, low)
    assert includes(device, salt, 100)
    assert not includes(device, salt, 0)


def test_ten_to_fifty_keeps_the_first_ten() -> None:
    ten = {device for device in FLEET if includes(device, "blink 1.2.3", 10)}
    fifty = {device for device in FLEET if includes(device, "blink 1.2.3", 50)}
    assert ten < fifty
    assert 900 < len(ten) < 1100
    assert 4800 < len(fifty) < 5200


def test_another_rollout_begins_with_other_devices() -> None:
    first, second = ({d for d in FLEET if includes(d, salt, 10)} for salt in ("blink 1.2.3", "blink 1.2.4"))
    assert len(first & second) < 200


def test_the_place_of_a_device_is_the_same_in_every_version_of_this_code() -> None:
    digest = "be0df293007be2ba5f57c121a1172a6f3ad5be998350594604747f896877a9ed"  # printf 4:saltdev1 | sha256sum
    share = int(digest[:16], 16) / 2**64 * 100
    assert includes("dev1", "salt", share + 0.001)
    assert not includes("dev1", "salt", share - 0.001)


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan"), float("inf")])
def test_what_is_no_percentage_is_refused(percent: float) -> None:
    with pytest.raises(InputError, match="not 0 to 100"):
        includes("device", "salt", percent)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (Counts(), CONTINUE),
        (Counts(eligible=50, offered=9, delivered=9, failed=9), CONTINUE),  # too few to tell
        (Counts(eligible=50, offered=10, delivered=10, failed=10), HALT),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=20, failed=1), CONTINUE),  # 4.8 %
        (Counts(eligible=50, offered=50, delivered=50, confirmed=19, failed=1), CONTINUE),  # just the limit
        (Counts(eligible=50, offered=50, delivered=50, confirmed=18, failed=1), HALT),  # 5.3 %
        (Counts(eligible=50, offered=50, delivered=50, confirmed=45, failed=5), HALT),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=50), COMPLETE),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=48, failed=2), COMPLETE),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=49), CONTINUE),
        (Counts(eligible=2, offered=2, delivered=2, confirmed=1, failed=1), HALT),  # a small group, all heard
        (Counts(eligible=2, offered=2, delivered=2, failed=1), CONTINUE),
        (Counts(eligible=1, offered=1, delivered=1, confirmed=1), COMPLETE),
    ],
)
def test_when_to_halt(counts: Counts, verdict: str) -> None:
    assert judge(counts, Limits()) == verdict


def test_the_very_share_that_may_fail_is_no_reason_to_halt() -> None:
    for percent in range(100):
        limits = Limits(percent / 100)
        assert judge(Counts(eligible=500, confirmed=100 - percent, failed=percent), limits) == CONTINUE
        assert judge(Counts(eligible=500, confirmed=99 - percent, failed=percent + 1), limits) == HALT


counts = st.builds(Counts, *[st.integers(0, 600)] * 5)


@settings(max_examples=300)
@given(counts, st.floats(0, 1), st.integers(1, 50), st.integers(1, 600))
def test_more_failures_never_let_it_go_on(found: Counts, share: float, least: int, more: int) -> None:
    limits = Limits(share, least)
    worse = Counts(found.eligible, found.offered, found.delivered, found.confirmed, found.failed + more)
    if judge(found, limits) == HALT:
        assert judge(worse, limits) == HALT
    if share < 1 and not found.confirmed and found.failed >= least:
        assert judge(found, limits) == HALT
    if not found.failed:
        assert judge(found, limits) != HALT


def test_counts_and_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="below zero"):
        judge(Counts(failed=-1), Limits())
    for limits in (Limits(max_failed_share=1.1), Limits(max_failed_share=float("nan")), Limits(min_outcomes=0)):
        with pytest.raises(InputError, match="mean nothing"):
            judge(Counts(), limits)


@pytest.mark.parametrize(("share", "expected"), [(0.10, HALT), (0.0, COMPLETE)])
def test_a_fleet_whose_tenth_fails_is_halted_in_its_first_group(share: float, expected: str) -> None:
    group = [device for device in FLEET[:500] if includes(device, "blink 1.2.3", 10)]
    failing = set(group[:: round(1 / share)]) if share else set()
    confirmed, failed, verdict = 0, 0, CONTINUE
    for device in group:
        confirmed, failed = confirmed + (device not in failing), failed + (device in failing)
        outcomes = confirmed + failed
        verdict = judge(Counts(len(group), outcomes, outcomes, confirmed, failed), Limits())
        if verdict != CONTINUE:
            break
    assert verdict == expected
