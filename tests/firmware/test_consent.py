"""Who is asked before an update is installed: the sketch, the hour, and the owner who has switched updates off."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support import esp32_devices, pico_images
from support.answering import Answers, reply
from support.command import process
from support.firmware import Device, Outcome, Signing, StartAnswers
from support.images import build_image
from support.servers import Running, World, devices_seen, metrics, publish, until

pytestmark = pytest.mark.proof

BY_USER, IN_USE, LOW_POWER, OUTSIDE, OFF = range(80, 85)
FIRMWARE = "/blink/firmware.bin.signed"
UP_TO_DATE = reply(b"", "304 Not Modified", None)
MINUTE, HOUR, DAY = 60, 3600, 86400
TOMORROW = (int(time.time()) // DAY + 1) * DAY
"""Midnight: what is before that is before the server's certificate."""
INSTALLED = ("installed", 0, 0)
IMAGES: dict[str, Callable[[], bytes]] = {
    "device": lambda: build_image(code_size=4000),
    "pico": lambda: pico_images.build_image("rp2040", filesystem=(0x100000, 0x2FF000)),
    "esp32": esp32_devices.build_image,
}


def postponed(why: int) -> tuple[str, int, int]:
    return "postponed", why, 0


@dataclass
class Update:
    """A device for which a server has a release, 1.1 by its headers, and what it asks there."""

    device: Device
    server: Answers
    release: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offer()

    def run(self, **settings: object) -> Outcome:
        return self.device.run(port=self.server.port, **{"ntp": TOMORROW, **settings})

    def offer(self, **headers: str) -> None:
        """Let the server have the release from now on, and say `headers` of it."""
        self.headers = {"X_Otaseal_Version": "1.1", **headers}
        self.server.paths[FIRMWARE] = self.answer

    def withdraw(self) -> None:
        self.server.paths[FIRMWARE] = UP_TO_DATE

    def answer(self, head: str) -> bytes:
        return reply(b"" if head.startswith("HEAD") else self.release, length=len(self.release), **self.headers)

    def said(self) -> list[tuple[str, int]]:
        """Return how firmware was asked for, and the error that the device told with it."""
        heads = [head for head in self.server.requests if f" {FIRMWARE} " in head]
        return [(head.partition(" ")[0], int(re.findall(r"X-Otaseal-Error: (\d+)", head)[0])) for head in heads]


@pytest.fixture
def update(device: Device, answers: StartAnswers, signing: Signing) -> Update:
    return Update(device, answers(UP_TO_DATE), signing.sign(signing.payload()))


def asked(done: Outcome) -> list[str]:
    """Return what the sketch was told the last time: version, size, since, left, security, severity, notes."""
    return done.seen["asked"].split()


def left(done: Outcome) -> int:
    return int(asked(done)[3])


def ended(done: Outcome) -> int:
    """Return when the last poll ended, in seconds since the start."""
    return int(done.seen["when"].split()[-1])


@pytest.mark.parametrize("chip", IMAGES)
def test_every_chip_asks_first(
    chip: str, request: pytest.FixtureRequest, answers: StartAnswers, signing: Signing
) -> None:
    release = signing.sign(signing.payload(IMAGES[chip]()))
    update = Update(request.getfixturevalue(chip), answers(UP_TO_DATE), release)
    update.offer(X_Otaseal_Severity="security", X_Otaseal_Notes="https://example/1.1")
    done = update.run(ask="later", polls=2)
    assert (done.results, done.staged) == ([postponed(BY_USER)] * 2, None)
    assert done.seen["progress"] == "0"
    assert done.seen["error"].startswith("80 put off: user")
    version, size, since, _, *rest = done.seen["pending"].split()
    assert (version, int(size), rest) == ("1.1", len(release), ["1", "security", "https://example/1.1"])
    assert TOMORROW <= int(since) <= TOMORROW + 5 * MINUTE
    assert update.said() == [("HEAD", 0), ("HEAD", BY_USER)], "a body that nobody reads may still arrive"
    assert any("certs.ar.signed" in head for head in update.server.requests), "certificates are asked for all the same"
    done = update.run(ask="install")
    assert done.results == [INSTALLED]
    assert "pending" not in done.seen
    assert update.said()[2:] == [("HEAD", 0), ("GET", 0)]


@pytest.mark.parametrize(("answer", "error"), [("later", BY_USER), ("in-use", IN_USE), ("low-power", LOW_POWER)])
def test_the_server_learns_why(answer: str, error: int, update: Update) -> None:
    assert update.run(ask=answer, polls=2).results == [postponed(error)] * 2
    assert update.said() == [("HEAD", 0), ("HEAD", error)]


def test_a_server_counts_nothing_of_what_is_put_off(
    world: World, server: Running, device: Device, signing: Signing, tmp_path: Path
) -> None:
    runs = world.firmware(8)
    publish(server, "1.0", signing.sign(signing.payload(runs.raw, version="1.0")))
    device.runs(runs.sketch)
    device.run(port=server.port, ask="later", polls=2, ntp=TOMORROW)
    publish(server, "1.1", signing.sign(signing.payload()))

    def row() -> dict[str, object]:
        (found,) = devices_seen(server)
        return found

    done = device.run(port=server.port, ask="in-use", polls=5, ntp=TOMORROW + HOUR)
    assert done.results == [postponed(IN_USE)] * 5, "four times as often as a release is delivered in vain"
    assert asked(done)[0] == "1.1"
    until(lambda: row()["state"] == "postponed", "the server does not know that it is put off")
    assert (row()["deliveries"], row()["error"]) == (0, IN_USE)
    assert "otaseal_deliveries_total{" not in metrics(server)
    (tmp_path / "token").write_text(server.token)
    (tmp_path / "token").chmod(0o600)
    where = ("--server", server.url, "--product", "blink", "--ca", world.ca, "--token-file", "token")
    listed = process("devices", *where, "--state", "postponed", cwd=tmp_path).succeeded().out
    assert "puts off its update: it is in use" in listed
    assert "devices  1 postponed" in listed

    assert device.run(port=server.port, ask="install", ntp=TOMORROW + 2 * HOUR).results == [INSTALLED]
    until(lambda: row()["state"] == "updating", "the server does not know that it has the release")
    assert row()["deliveries"] == 1
    device.runs(build_image(code_size=4000))
    again = device.run(port=server.port, ask="later", ntp=TOMORROW + 3 * HOUR)
    assert again.results == [("up-to-date", 0, 0)]
    until(lambda: row()["state"] == "updated", "the server does not know that it is back")


def test_it_is_put_off_for_so_long_and_no_longer(update: Update) -> None:
    done = update.run(ask="later", patience=2 * DAY, interval=3 * HOUR, polls=0, minutes=3 * 24 * 60)
    assert done.results[-1] == INSTALLED
    assert set(done.results[:-1]) == {postponed(BY_USER)}
    assert 2 * DAY <= ended(done) <= 2 * DAY + 4 * HOUR
    assert left(done) == 0, "the sketch is told that this one is installed, whatever it says"


def test_it_is_put_off_so_often_and_no_more_often(update: Update) -> None:
    for _ in range(3):
        assert update.run(ask="later", times=3).results == [postponed(BY_USER)], "as a device that sleeps in between"
    assert update.run(ask="later", times=3).results == [INSTALLED]


def test_no_patience_tells_the_sketch_alone(update: Update) -> None:
    done = update.run(ask="later", patience=0)
    assert (done.results, left(done)) == ([INSTALLED], 0)


@pytest.mark.parametrize(
    ("severity", "hours"), [("security", 12), ("fix", 24), ("feature", 24), ("insecurity", 24), ("", 24)]
)
def test_security_waits_for_less_long(severity: str, hours: int, update: Update) -> None:
    update.offer(X_Otaseal_Severity=severity)
    done = update.run(ask="later", patience=DAY, security_patience=DAY // 2, polls=0, minutes=26 * 60)
    assert done.results[-1] == INSTALLED
    assert hours * HOUR <= ended(done) <= (hours + 2) * HOUR


def test_a_newer_release_does_not_begin_anew_but_one_that_is_in_does(update: Update) -> None:
    first = update.run(ask="later", patience=DAY, polls=0, minutes=10 * 60)
    update.headers["X_Otaseal_Version"] = "1.2"
    second = update.run(ask="later", patience=DAY, ntp=TOMORROW + 10 * HOUR)
    assert left(second) <= 15 * HOUR
    assert asked(second)[2] == asked(first)[2], "since the first of them was there"
    update.withdraw()
    assert update.run(ask="later", ntp=TOMORROW + 11 * HOUR).results == [("up-to-date", 0, 0)]
    update.offer()
    assert left(update.run(ask="later", patience=DAY, ntp=TOMORROW + 12 * HOUR)) == DAY
    assert update.run(ask="install", ntp=TOMORROW + 20 * HOUR).results == [INSTALLED]
    assert left(update.run(ask="later", patience=DAY, ntp=TOMORROW + 21 * HOUR)) == DAY


def test_time_goes_on_over_restarts(update: Update) -> None:
    hours = 0
    while (done := update.run(ask="later", patience=DAY, ntp=TOMORROW + hours * HOUR)).results == [postponed(BY_USER)]:
        hours += 5
    assert (done.results, hours) == ([INSTALLED], 25)


def test_a_month_without_power_is_a_day(update: Update) -> None:
    update.run(ask="later", patience=3 * DAY)
    done = update.run(ask="later", patience=3 * DAY, ntp=TOMORROW + 30 * DAY)
    assert (done.results, left(done)) == ([postponed(BY_USER)], 2 * DAY)


@pytest.mark.parametrize("jump", [20 * DAY, -20 * HOUR])
def test_a_clock_that_is_set_changes_nothing(jump: int, update: Update) -> None:
    done = update.run(ask="later", patience=2 * DAY, interval=3 * HOUR, polls=0, minutes=3 * 24 * 60, jump=jump % 2**32)
    assert done.results[-1] == INSTALLED
    assert 2 * DAY <= ended(done) <= 2 * DAY + 4 * HOUR


def test_without_a_clock_the_time_is_that_of_the_chip(update: Update) -> None:
    clockless = {"ntp": 0, "floor": TOMORROW, "patience": DAY}
    done = update.run(ask="later", polls=0, minutes=10 * 60, **clockless)
    assert set(done.results) == {postponed(BY_USER)}
    done = update.run(ask="later", polls=0, minutes=16 * 60, **clockless)
    assert done.results[-1] == INSTALLED
    assert 14 * HOUR <= ended(done) <= 16 * HOUR


@pytest.mark.parametrize("interval", [HOUR, DAY])
@pytest.mark.parametrize(("window", "start"), [("2-4", 1), ("2-4", 5), ("23-1", 12), ("0-1", 23)])
def test_it_waits_for_the_window(window: str, start: int, interval: int, update: Update) -> None:
    begun = TOMORROW + start * HOUR
    done = update.run(window=window, ntp=begun, interval=interval, polls=0, minutes=26 * 60)
    assert done.results[-1] == INSTALLED
    assert set(done.results[:-1]) <= {postponed(OUTSIDE)}
    opens, closes = map(int, window.split("-"))
    into = (begun + ended(done) - TOMORROW - opens * HOUR) % DAY
    length = (closes - opens) % 24 * HOUR
    assert into <= length / 2, "soon after it opens, and not all devices of a fleet at once"


def test_within_the_window_nobody_waits(update: Update) -> None:
    assert update.run(window="22-4", ntp=TOMORROW + 2 * HOUR).results == [INSTALLED]
    assert update.run(window="5-5", ntp=TOMORROW + 2 * HOUR).results == [INSTALLED], "from 5 to 5 is no window"


def test_a_window_is_of_local_time(update: Update) -> None:
    assert update.run(window="5-6", zone="XXX-3", ntp=TOMORROW + 5 * HOUR).results == [postponed(OUTSIDE)]
    assert update.run(window="5-6", zone="XXX-3", ntp=TOMORROW + 26 * HOUR).results == [INSTALLED]


@pytest.mark.parametrize("forward", [True, False])
def test_a_window_holds_in_the_night_in_which_clocks_change(forward: bool, update: Update) -> None:
    """At 1:00, to 2:00 or back to 0:00; the window is from 3:00 to 5:00."""
    day = time.gmtime(TOMORROW).tm_yday
    begins, ends = (day, (day + 180) % 365 + 1) if forward else ((day + 180) % 365 + 1, day)
    zone = f"XXX0YYY,J{begins}/1,J{ends}/1"
    begun = TOMORROW + (0 if forward else -HOUR) + HOUR // 2
    done = update.run(window="3-5", zone=zone, ntp=begun, polls=0, minutes=8 * 60)
    assert done.results[-1] == INSTALLED
    local = begun + ended(done) - TOMORROW + (HOUR if forward else 0)
    assert 3 * HOUR <= local <= 5 * HOUR


def test_who_does_not_know_the_time_waits_a_day_for_it(update: Update) -> None:
    done = update.run(window="2-4", ntp=0, floor=TOMORROW, polls=0, minutes=27 * 60)
    assert done.results[-1] == INSTALLED
    assert set(done.results[:-1]) == {postponed(OUTSIDE)}
    assert DAY <= ended(done) <= DAY + 2 * HOUR


def test_patience_that_ends_outside_of_the_window_waits_for_it(update: Update) -> None:
    done = update.run(ask="later", patience=HOUR, window="2-4", ntp=TOMORROW + 5 * HOUR, polls=0, minutes=24 * 60)
    assert done.results[-1] == INSTALLED
    assert set(done.results[:-1]) == {postponed(OUTSIDE)}
    assert 21 * HOUR <= ended(done) <= 22 * HOUR


def test_updates_are_off_until_they_are_switched_on(update: Update) -> None:
    done = update.run(ask="nobody", automatic=0, polls=2)
    assert (done.seen["kept"], done.results) == ("1", [postponed(OFF)] * 2)
    assert done.seen["pending"].startswith("1.1 "), "its owner can be told of it all the same"
    again = update.run(ask="install", patience=0, interval=6 * HOUR, polls=0, minutes=9 * 24 * 60)
    assert set(again.results) == {postponed(OFF)}, "whoever else agrees, and however long it waits"
    assert again.seen["automatic"] == "0"
    assert "asked" not in again.seen
    assert ("GET", OFF) not in update.said()
    assert update.run(ask="nobody", install=1).results == [INSTALLED], "its owner may still have one"
    assert update.run(ask="nobody").results == [postponed(OFF)]
    assert update.run(ask="nobody", automatic=1).results == [INSTALLED]
    assert update.run(ask="nobody").results == [INSTALLED]


def test_what_cannot_be_kept_is_said(update: Update) -> None:
    assert update.run(automatic=0).seen["kept"] == "0", "nothing asks for it after a restart: askFirst() was not called"
    full = update.run(ask="nobody", automatic=0, room=0)
    assert full.seen["kept"] == "0"
    assert update.run(ask="nobody").results == [INSTALLED]


@pytest.mark.parametrize("damage", [b"", b"OSA1" + bytes(20), b"x" * 24, b"OSA1" * 50])
def test_a_damaged_note_is_none(damage: bytes, update: Update) -> None:
    update.run(ask="later", patience=DAY)
    update.device.put("otaseal.ask", damage)
    done = update.run(ask="later", patience=DAY, ntp=TOMORROW + 5 * HOUR)
    assert (done.results, left(done)) == ([postponed(BY_USER)], DAY)


def test_install_now_is_for_once(update: Update) -> None:
    assert update.run(ask="later", window="2-4", ntp=TOMORROW + 9 * HOUR, install=1).results == [INSTALLED]
    update.withdraw()
    assert update.run(ask="later", install=1).results == [("up-to-date", 0, 0)]


def test_who_agreed_to_one_release_is_asked_about_the_next(update: Update, signing: Signing) -> None:
    """A release takes the place of another between the question and the download."""
    update.server.paths[FIRMWARE] = lambda head: update.answer(head).replace(
        b"Version: 1.1", b"Version: 1.1" if head.startswith("HEAD") else b"Version: 1.2"
    )
    done = update.run(ask="1.1")
    assert (done.results, done.staged, asked(done)[0]) == ([postponed(LOW_POWER)], None, "1.2")
    assert update.run(ask="install").results == [INSTALLED]


def test_a_release_that_is_replaced_during_its_download_is_asked_about_anew(update: Update) -> None:
    whole = update.release
    update.headers["ETag"] = '"one"'

    def breaks(head: str) -> bytes:
        if "\r\nRange: " in head:
            return reply(whole, ETag='"two"', X_Otaseal_Version="1.2")
        return update.answer(head)[: -len(whole) // 2] if head.startswith("GET") else update.answer(head)

    update.server.paths[FIRMWARE] = breaks
    done = update.run(ask="1.1")
    assert (done.results, done.staged, asked(done)[0]) == ([postponed(LOW_POWER)], None, "1.2")


def test_nobody_is_asked_about_what_was_tried_three_times(update: Update, signing: Signing) -> None:
    update.headers["x_MD5"] = hashlib.md5(update.release).hexdigest()
    for _ in range(3):
        assert update.run(ask="install").results == [INSTALLED]
    done = update.run(ask="install")
    assert done.results == [("failed", 37, 0)]
    assert "asked" not in done.seen
    assert "pending" not in done.seen


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "500 Internal Server Error"])
def test_a_server_without_an_answer_asks_nobody(status: str, update: Update) -> None:
    update.server.paths[FIRMWARE] = reply(b"no", status)
    done = update.run(ask="install")
    assert done.results[0][0] == "failed"
    assert "asked" not in done.seen


def test_a_server_that_says_nothing_of_the_release(update: Update) -> None:
    """As one for static files."""
    update.headers = {}
    update.server.paths[FIRMWARE] = update.answer
    done = update.run(ask="later")
    assert done.results == [postponed(BY_USER)]
    version, size, *_, security, severity, notes = asked(done)
    assert (version, int(size), security, severity, notes) == ("-", len(update.release), "0", "-", "-")
    assert update.run(ask="install").results == [INSTALLED]
