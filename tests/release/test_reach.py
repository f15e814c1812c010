"""How fast a release reached its devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.release.reach import SHARES, reach
from otaseal.release.standards import POINTS

RELEASED = 1000.0


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], {50: None, 90: None, 99: None}),
        ([None], {50: None, 90: None, 99: None}),
        ([1060.0], {50: 60.0, 90: 60.0, 99: 60.0}),
        ([1060.0, None], {50: 60.0, 90: None, 99: None}),
        ([1010.0 + n for n in range(9)] + [None], {50: 14.0, 90: 18.0, 99: None}),
        ([500.0, 1001.0], {50: 0.0, 90: 1.0, 99: 1.0}),
    ],
)
def test_shares(times: list[float | None], expected: dict[int, float | None]) -> None:
    assert reach(times, RELEASED).seconds == expected


@given(st.lists(st.none() | st.floats(900, 2000)))
def test_each_share_had_it_by_then_and_not_before(times: list[float | None]) -> None:
    found = reach(times, RELEASED)
    assert (found.devices, found.reached) == (len(times), len([time for time in times if time is not None]))
    for share in SHARES:
        after = found.seconds[share]
        had = [max(0.0, time - RELEASED) for time in times if time is not None]
        if after is None:
            assert not times or len(had) * 100 < share * len(times)
        else:
            assert sum(time <= after for time in had) * 100 >= share * len(times)
            assert sum(time < after for time in had) * 100 < share * len(times)


def test_every_point_of_the_clauses_is_there_once() -> None:
    numbers = [number for point in POINTS for number in point.number.split(", ")]
    assert numbers == [f"5.3-{n}" for n in range(1, 17)] + ["SUM-1", "SUM-2", "SUM-3"]
