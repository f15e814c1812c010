"""When a device asks: by its interval, when its server says so, and when somebody tells it to ask now."""

from __future__ import annotations

import itertools

import pytest

from support.answering import reply
from support.firmware import Device, Outcome, StartAnswers

pytestmark = pytest.mark.proof

MINUTE, HOUR, DAY = 60, 3600, 86400


def pauses(done: Outcome) -> list[int]:
    """Return the seconds between two polls, the time that they took included."""
    times = list(map(int, done.seen["when"].split()))
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("300", 300, 338),
        ("7200", 2 * HOUR, 2 * HOUR * 9 // 8),
        ("0", 10, 12),  # never more often than every ten seconds
        ("1", 10, 12),
        ("86401", DAY, DAY * 9 // 8),  # never less often than once a day
        ("99999999999999999999999", DAY, DAY * 9 // 8),
        *((nonsense, HOUR * 7 // 8, HOUR * 9 // 8) for nonsense in ("", "-5", "0x20", "20 min", "3.5", "+60")),
    ],
)
def test_a_server_says_when_to_ask_again(
    said: str, least: int, most: int, answers: StartAnswers, device: Device
) -> None:
    running = answers(reply(b"", "304 Not Modified", None, X_Otaseal_Wait=said))
    done = device.run(port=running.port, polls=0, minutes=3 * most // MINUTE + 3)
    found = pauses(done)[:4]
    assert set(done.errors) == {0}
    assert len(found) >= 2
    assert all(least <= pause <= most + 2 for pause in found), found


def test_devices_that_are_told_the_same_do_not_come_at_once(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None, X_Otaseal_Wait="3600"))
    asked = [pauses(device.run(port=running.port, polls=0, minutes=130, chance=seed))[0] for seed in range(1, 6)]
    assert len(set(asked)) > 1
    assert all(pause >= HOUR for pause in asked), "nobody before its turn"


def test_a_wait_holds_for_one_poll(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None, X_Otaseal_Wait="20"))
    running.later["/blink/firmware.bin.signed"] = reply(b"", "304 Not Modified", None)
    first, second = pauses(device.run(port=running.port, polls=0, minutes=80))[:2]
    assert first < MINUTE
    assert second > HOUR / 2


def test_a_server_that_fails_is_asked_less_often_whatever_it_says(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "500 Internal Server Error", X_Otaseal_Wait="10"))
    done = device.run(port=running.port, polls=0, minutes=6 * 60)
    assert min(pauses(done)) > HOUR


@pytest.mark.parametrize("status", ["304 Not Modified", "500 Internal Server Error"])
def test_a_flood_of_hints_costs_a_poll_each_ten_seconds(status: str, answers: StartAnswers, device: Device) -> None:
    done = device.run(port=answers(reply(b"", status, None)).port, polls=0, minutes=3, hints=1)
    assert int(done.seen["when"].split()[0]) < 5, "the first one is taken at once"
    assert 10 <= min(pauses(done)) <= max(pauses(done)) <= 12


def test_a_fleet_that_is_told_at_once_comes_within_the_time_said(answers: StartAnswers, device: Device) -> None:
    running = answers(reply(b"", "304 Not Modified", None))
    found = []
    for seed in range(1, 7):
        done = device.run(port=running.port, polls=1, minutes=1, hints=31, chance=seed)
        found.append(pauses(done)[0])
    assert len(set(found)) > 2, found
    assert all(10 <= pause <= 45 + 31 for pause in found)
