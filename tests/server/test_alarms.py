"""Alarms: each begins once, ends when what is wrong is gone, and never fills the memory."""

from __future__ import annotations

import pytest

from otaseal.server.alarms import MAX_ENDED, MAX_STANDING, MAX_TEXT, Alarm, Alarms, Problem
from otaseal.server.telemetry import Telemetry
from support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def alarms(clock: Clock) -> Alarms:
    return Alarms(clock)


def test_an_alarm_stands_from_its_first_report_to_the_first_without_it(alarms: Alarms, clock: Clock) -> None:
    told: list[Alarm] = []
    alarms.watchers.append(told.append)
    problem = Problem("two devices failed", "blink", "stable")
    for clock.now in (100.0, 105.0, 110.0):
        alarms.set("rollout", [problem])
    assert alarms.listed() == [Alarm("rollout", *problem, since=100.0, until=None)]
    clock.now = 115.0
    alarms.set("rollout", [])
    alarms.set("rollout", [])
    assert alarms.listed() == [Alarm("rollout", *problem, since=100.0, until=115.0)]
    clock.now = 120.0
    alarms.set("rollout", [problem])
    assert [(alarm.since, alarm.until) for alarm in alarms.listed()] == [(120.0, None), (100.0, 115.0)]
    assert [(alarm.since, alarm.until) for alarm in told] == [(100.0, None), (100.0, 115.0), (120.0, None)]


def test_what_is_of_no_product_is_everybodys(alarms: Alarms) -> None:
    alarms.set("disk", [Problem("the disk is full")])
    alarms.set("halted", [Problem("halted", "blink", "stable"), Problem("halted", "lamp", "stable")])
    assert [alarm.product for alarm in alarms.listed("lamp")] == ["", "lamp"]
    assert len(alarms.listed()) == 3


def test_it_is_bounded(alarms: Alarms) -> None:
    told: list[Alarm] = []
    alarms.watchers.append(told.append)
    many = [Problem(f"number {number} " + "x" * 2000) for number in range(2 * MAX_STANDING)]
    alarms.set("rollout", many)
    alarms.set("rollout", many)
    assert len(alarms.listed()) == len(told) == MAX_STANDING
    assert {len(alarm.text) for alarm in told} == {MAX_TEXT}
    for number in range(2 * MAX_ENDED):
        alarms.moment("fault", Problem(f"fault {number}"))
    assert len([alarm for alarm in alarms.listed() if alarm.until is not None]) == MAX_ENDED


def test_of_a_traceback_it_says_the_last_line_and_of_a_token_nothing() -> None:
    telemetry = Telemetry(lambda event: True)
    secret = "otaseal_" + "s" * 43
    telemetry.alarm("fault", message=f"Traceback (most recent call last):\n  ...\nValueError: '{secret}'\n")
    telemetry.set_problems("disk", [f"'{secret}' is full"])
    assert [alarm.text for alarm in telemetry.alarms.listed()] == [
        "'otaseal_...' is full",
        "ValueError: 'otaseal_...'",
    ]
