"""Counts are remembered as long as they are dear, and no longer than what operators have changed."""

from __future__ import annotations

from typing import Any

from otaseal.server.operator_page.remembered import MAX_KEPT, TIMES, Remembered

KEY = ("blink", "stable")


class Counting:
    """Counts, which takes `cost` seconds each time."""

    def __init__(self, cost: float) -> None:
        self.now = self.spent = 0.0
        self.times = 0
        self.remembered = Remembered(lambda: self.now, lambda: self.spent)
        self._cost = cost

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        self.spent += self._cost
        return {"total": self.times}

    def ask(self, stamp: object = 1, key: tuple[str, str] = KEY) -> int:
        return int(self.remembered.counts(key, stamp, self)["total"])


def test_what_took_long_is_kept_ten_times_as_long() -> None:
    counting = Counting(0.5)
    assert counting.ask() == 1
    counting.now += TIMES * 0.5 - 0.1
    assert counting.ask() == 1
    counting.now += 0.1
    assert counting.ask() == 2


def test_what_is_quick_is_not_kept() -> None:
    counting = Counting(0.0)
    assert [counting.ask(), counting.ask()] == [1, 2]


def test_a_change_is_seen_at_once() -> None:
    counting = Counting(9.0)
    assert [counting.ask(1), counting.ask(2), counting.ask(2)] == [1, 2, 2]


def test_it_is_bounded() -> None:
    counting = Counting(9.0)
    for number in range(3 * MAX_KEPT):
        counting.ask(key=("blink", str(number)))
    assert len(counting.remembered._kept) <= MAX_KEPT
