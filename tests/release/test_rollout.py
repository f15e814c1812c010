"""Who is in stays in, the share is the share, and a rollout stops when devices don't come back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.release.rollout import MIN_OUTCOMES, Counts, too_many_failed
from support.rollouts import includes

FLEET = [f"mac:5C:CF:7F:{number >> 16:02X}:{number >> 8 & 255:02X}:{number & 255:02X}" for number in range(10_000)]
names = st.text(max_size=30)


@settings(max_examples=300)
@given(names, names, st.integers(0, 100), st.integers(0, 100))
def test_a_higher_percentage_keeps_everyone(device: str, salt: str, first: int, second: int) -> None:
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
    assert includes("dev1", "salt", math.ceil(share))
    assert not includes("dev1", "salt", math.floor(share))


@pytest.mark.parametrize(
    ("counts", "halted"),
    [
        (Counts(), False),
        (Counts(eligible=50, offered=9, delivered=9, failed=9), False),  # too few to tell
        (Counts(eligible=50, offered=10, delivered=10, failed=10), True),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=20, failed=1), False),  # 4.8 %
        (Counts(eligible=50, offered=50, delivered=50, confirmed=19, failed=1), False),  # just the limit
        (Counts(eligible=50, offered=50, delivered=50, confirmed=18, failed=1), True),  # 5.3 %
        (Counts(eligible=50, offered=50, delivered=50, confirmed=45, failed=5), True),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=50), False),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=48, failed=2), False),
        (Counts(eligible=50, offered=50, delivered=50, confirmed=49), False),
        (Counts(eligible=2, offered=2, delivered=2, confirmed=1, failed=1), True),  # a small group, all heard
        (Counts(eligible=2, offered=2, delivered=2, failed=1), False),
        (Counts(eligible=1, offered=1, delivered=1, confirmed=1), False),
    ],
)
def test_when_to_halt(counts: Counts, halted: bool) -> None:
    assert too_many_failed(counts, 5) is halted


def test_the_very_share_that_may_fail_is_no_reason_to_halt() -> None:
    for percent in range(100):
        assert not too_many_failed(Counts(eligible=500, confirmed=100 - percent, failed=percent), percent)
        assert too_many_failed(Counts(eligible=500, confirmed=99 - percent, failed=percent + 1), percent)


counts = st.builds(Counts, *[st.integers(0, 600)] * 5)


@settings(max_examples=300)
@given(counts, st.integers(0, 100), st.integers(1, 600))
def test_more_failures_never_let_it_go_on(group: Counts, max_failed: int, more: int) -> None:
    if too_many_failed(group, max_failed):
        assert too_many_failed(replace(group, failed=group.failed + more), max_failed)
    if max_failed < 100 and not group.confirmed and group.failed >= MIN_OUTCOMES:
        assert too_many_failed(group, max_failed)
    if not group.failed:
        assert not too_many_failed(group, max_failed)


@pytest.mark.parametrize("share", [0.10, 0.0])
def test_a_fleet_whose_tenth_fails_is_halted_in_its_first_group(share: float) -> None:
    group = [device for device in FLEET[:500] if includes(device, "blink 1.2.3", 10)]
    failing = set(group[:: round(1 / share)]) if share else set()
    confirmed, failed, halted = 0, 0, False
    for device in group:
        confirmed, failed = confirmed + (device not in failing), failed + (device in failing)
        outcomes = confirmed + failed
        halted = too_many_failed(Counts(len(group), outcomes, outcomes, confirmed, failed), 5)
        if halted:
            break
    assert halted is bool(share)
