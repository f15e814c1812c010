"""Devices seen: what they run, whether an update took, and bounds on everything that they say."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.protocol.decisions import LOOP_LIMIT
from otaseal.release.evidence import Evidence
from otaseal.release.rollout import Counts, must_halt
from otaseal.store.device_rows import MAX_CLAIM, STATES, Device, Sighting
from otaseal.store.rollout_rows import Rollout
from otaseal.store.row_changes import LAST_SEEN_RESOLUTION
from otaseal.store.selection import Facts, Match, in_channel, in_state
from support.devices import Devices, OneByOne, Open, open_devices

__all__ = ["open_devices"]

OLD, NEW, OTHER = "0" * 32, "1" * 32, "2" * 32
FIRST = Sighting("blink", "stable", "mac:A", OLD, "1.0", "A")


def forget(devices: OneByOne, device: str, product: str = "blink") -> None:
    with devices.batch() as rows:
        rows.forget(product, device)


@pytest.fixture
def devices(open_devices: Open) -> Iterator[OneByOne]:
    with open_devices() as opened:
        yield opened


def test_a_device_is_known_from_its_first_request(devices: OneByOne) -> None:
    assert devices.get("blink", "mac:A") is None
    seen = devices.see(FIRST, 1000.0)
    assert (seen.product, seen.channel, seen.device, seen.md5) == ("blink", "stable", "mac:A", OLD)
    assert (seen.version, seen.mac, seen.first_seen, seen.last_seen) == ("1.0", "A", 1000.0, 1000.0)
    assert (seen.offered, seen.deliveries, seen.confirmed_at) == (None, 0, None)
    assert devices.get("blink", "mac:A") == seen
    assert devices.get("other", "mac:A") is None
    moved = devices.see(replace(FIRST, channel="beta", version="1.1"), 2000.0)
    assert (moved.channel, moved.version, moved.first_seen, moved.last_seen) == ("beta", "1.1", 1000.0, 2000.0)
    assert devices.list("blink", in_channel("stable")) == ()
    assert devices.list("blink", in_channel("beta")) == devices.list("blink") == (moved,)


def test_first_sightings_are_counted_by_day(devices: OneByOne) -> None:
    day = 86400.0
    for number, (product, seen) in enumerate(
        [("blink", 5 * day), ("blink", 6 * day - 0.001), ("blink", 6 * day + 1), ("lamp", 5.5 * day), ("blink", 1.5)]
    ):
        devices.see(replace(FIRST, product=product, device=f"mac:{number}"), seen)
    devices.see(replace(FIRST, device="mac:0"), 9 * day)
    assert devices.first_seen("blink") == [
        ("blink", 6, 1, 6 * day + 1, 6 * day + 1),
        ("blink", 5, 2, 5 * day, 6 * day - 0.001),
        ("blink", 0, 1, 1.5, 1.5),
    ]
    assert [row[:3] for row in devices.first_seen()] == [
        ("blink", 6, 1), ("lamp", 5, 1), ("blink", 5, 2), ("blink", 0, 1)
    ]  # fmt: skip


def test_an_update_that_took(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    assert devices.counts("blink", "stable", "2.0", 3.0, 60.0) == Counts(1, 1, 0, 0, 0)
    assert devices.deliver("blink", "mac:A", "2.0", 3.0) == 1
    assert devices.counts("blink", "stable", "2.0", 4.0, 60.0) == Counts(1, 1, 1, 0, 0)
    back = devices.see(replace(FIRST, md5=NEW), 10.0)
    assert (back.confirmed_at, back.deliveries, back.failed_at, back.delivered_at) == (10.0, 0, None, 3.0)
    assert devices.counts("blink", "stable", "2.0", 1e6, 60.0) == Counts(1, 1, 1, 1, 0)
    assert devices.counts("blink", "stable", "1.0", 1e6, 60.0) == Counts(1, 0, 0, 0, 0)
    assert devices.counts("blink", "beta", "2.0", 1e6, 60.0) == Counts()
    assert devices.see(replace(FIRST, md5=NEW), 1000.0).confirmed_at == 10.0


def test_deliveries_are_counted_until_the_md5_changes(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    for count in (1, 2, 3):
        devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
        assert devices.deliver("blink", "mac:A", "2.0", 3.0) == count
        assert devices.see(FIRST, 4.0).deliveries == count
    assert devices.see(FIRST, 5.0).failed_at == 4.0
    assert devices.counts("blink", "stable", "2.0", 5.0, 60.0) == Counts(1, 1, 1, 0, 1)
    assert devices.see(replace(FIRST, md5=OTHER), 6.0).deliveries == 0, "flashed by cable: it may be tried again"
    devices.offer("blink", "mac:A", "2.0", NEW, 7.0)
    assert devices.deliver("blink", "mac:A", "2.0", 7.0) == 1
    healed = devices.see(replace(FIRST, md5=NEW), 8.0)
    assert (healed.failed_at, healed.confirmed_at) == (None, 8.0)


def test_a_new_release_starts_a_new_count(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    devices.deliver("blink", "mac:A", "2.0", 3.0)
    devices.see(FIRST, 4.0)
    devices.offer("blink", "mac:A", "3.0", OTHER, 5.0)
    assert devices.deliver("blink", "mac:A", "2.0", 6.0) == 0, "a slow download of the release before"
    known = devices.get("blink", "mac:A")
    assert known is not None
    assert (known.offered, known.deliveries, known.delivered_at, known.failed_at) == ("3.0", 0, None, None)


def test_silence_after_a_delivery_is_failure_when_patience_ends(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    devices.deliver("blink", "mac:A", "2.0", 100.0)
    assert devices.counts("blink", "stable", "2.0", 159.9, 60.0).failed == 0
    assert devices.counts("blink", "stable", "2.0", 160.0, 60.0).failed == 1
    devices.see(replace(FIRST, md5=NEW), 500.0)
    assert devices.counts("blink", "stable", "2.0", 600.0, 60.0).failed == 0


def test_a_request_without_md5_says_nothing_about_updates(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    devices.deliver("blink", "mac:A", "2.0", 3.0)
    seen = devices.see(replace(FIRST, md5=""), 4.0)
    assert (seen.md5, seen.deliveries, seen.failed_at) == (OLD, 1, None)


def test_unknown_devices_are_not_made_by_answers(devices: OneByOne) -> None:
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    assert devices.deliver("blink", "mac:A", "2.0", 2.0) == 0
    assert devices.list("blink") == ()


def test_a_forgotten_device_is_new_when_it_asks_again(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    forget(devices, "mac:A")
    forget(devices, "mac:A")
    assert devices.list("blink") == ()
    with devices.batch() as rows:
        rows.see(FIRST, 2.0)
        rows.forget("blink", "mac:A")
        again = rows.see(FIRST, 3.0)
    assert again.first_seen == 3.0
    assert devices.list("blink") == (again,)


def test_two_chips_with_one_certificate(devices: OneByOne) -> None:
    own, other, third = "5C:CF:7F:00:00:01", "5C:CF:7F:00:00:02", "5C:CF:7F:00:00:03"
    enrolled, named = replace(FIRST, device=f"cert:{own}", mac=own), replace(FIRST, device="cert:hall", mac=own)
    for claim in (enrolled, named):
        assert devices.see(claim, 1.0).other_mac is None
    assert devices.see(replace(FIRST, mac=other), 2.0).other_mac is None
    assert devices.see(replace(FIRST, mac=own), 3.0).other_mac is None, "without proof anybody may say any"
    assert devices.clones(9) == ()
    for now, claim in enumerate((enrolled, named), 4):
        assert devices.see(replace(claim, mac=other), now).other_mac == own
        assert devices.see(replace(claim, mac=""), now).other_mac == own
    told = devices.clones(9)
    assert len(told) == 2
    assert f"'cert:{own}' of 'blink' is on two chips, {own} and {other}" in told[0]
    devices.see(enrolled, 6.0)
    devices.see(replace(enrolled, mac=other), 7.0)
    assert devices.clones(1) == told[:1], "it is told once, whoever of them speaks"
    devices.see(replace(enrolled, device=f"cert:{third}"), 8.0)
    assert devices.get("blink", f"cert:{third}").other_mac == third, "it is the name's own chip that is missing"  # type: ignore[union-attr]
    forget(devices, f"cert:{own}")
    assert devices.see(enrolled, 9.0).other_mac is None


def test_a_device_in_a_loop_is_tried_again(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    for now in range(3, 3 + LOOP_LIMIT):
        devices.deliver("blink", "mac:A", "2.0", now)
    known = devices.see(FIRST, 10.0)
    assert (known.state, known.deliveries) == ("looping", LOOP_LIMIT)
    with devices.batch() as rows:
        rows.retry("blink", "mac:A")
        rows.retry("blink", "mac:unknown")
    assert devices.get("blink", "mac:A") == known._replace(deliveries=0, delivered_at=None, failed_at=None)
    assert devices.see(FIRST, 11.0).state == "offered"
    assert devices.counts("blink", "stable", "2.0", 1e6, 60.0) == Counts(1, 1, 0, 0, 0), "it halts no rollout"


def test_the_same_again_soon_is_not_written(devices: OneByOne) -> None:
    devices.see(FIRST, 1000.0)
    assert devices.see(FIRST, 1000.0 + LAST_SEEN_RESOLUTION / 2).last_seen == 1000.0
    assert devices.see(replace(FIRST, version="2"), 1000.0 + LAST_SEEN_RESOLUTION / 2).last_seen > 1000.0
    assert devices.see(FIRST, 1000.0 + 2 * LAST_SEEN_RESOLUTION).last_seen == 1000.0 + 2 * LAST_SEEN_RESOLUTION
    assert devices.see(FIRST, 5.0).last_seen == 5.0, "a clock that was set back"


def test_what_is_said_after_the_clock_was_set_back_counts(devices: OneByOne) -> None:
    devices.see(FIRST, 1000.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 1000.0)
    devices.deliver("blink", "mac:A", "2.0", 1000.0)
    known = devices.see(replace(FIRST, md5=NEW), 999.9)
    assert (known.md5, known.state) == (NEW, "updated")
    assert devices.see(FIRST, 1000.1).md5 == OLD


def test_the_state_in_a_word(devices: OneByOne) -> None:
    def state(md5: str, now: float) -> str:
        return devices.see(replace(FIRST, md5=md5), now).state

    assert state(OLD, 1.0) == "seen"
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    assert state(OLD, 3.0) == "offered"
    devices.deliver("blink", "mac:A", "2.0", 4.0)
    found = devices.get("blink", "mac:A")
    assert found is not None
    assert found.state == "updating"
    assert state(OLD, 5.0) == "stuck"
    for now in (6.0, 7.0):
        devices.deliver("blink", "mac:A", "2.0", now)
    assert state(OLD, 8.0) == "looping"
    assert state(NEW, 9.0) == "updated"


@pytest.mark.parametrize("before", ["offered", "updating", "updated", "stuck", "looping"])
def test_a_device_that_was_moved_by_cable_waits_for_nothing_of_its_channel_before(
    devices: OneByOne, before: str
) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    for _ in range({"offered": 0, "looping": 3}.get(before, 1)):
        devices.deliver("blink", "mac:A", "2.0", 3.0)
    if before not in ("offered", "updating"):
        devices.see(replace(FIRST, md5=NEW if before == "updated" else OLD), 4.0)
    found = devices.get("blink", "mac:A")
    assert found is not None
    assert found.state == before
    moved = devices.see(replace(FIRST, channel="beta", md5=OTHER), 5.0)
    assert (moved.state, moved.channel, moved.offered, moved.deliveries) == ("seen", "beta", None, 0)
    assert devices.list("blink", in_state("seen")) == (moved,)


def test_a_device_whose_release_is_for_another_channel_came_back_with_it(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    devices.deliver("blink", "mac:A", "2.0", 3.0)
    assert devices.see(replace(FIRST, channel="beta", md5=NEW), 4.0).state == "updated"
    gone = devices.see(replace(FIRST, error=71), 5.0)
    assert (gone.channel, gone.state) == ("stable", "stuck"), "it gave way to what asks in the channel before"


def test_another_channel_alone_ends_no_loop(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    for count in (1, 2, 3):
        devices.deliver("blink", "mac:A", "2.0", 3.0)
        assert devices.see(replace(FIRST, channel=f"c{count}"), 4.0).deliveries == count


@pytest.mark.parametrize("came_back", [False, True])
def test_an_update_that_gave_way_has_failed_at_once(devices: OneByOne, came_back: bool) -> None:
    """Also where the server saw it run for a while, and refused it."""
    devices.see(FIRST, 1.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 2.0)
    assert devices.see(replace(FIRST, error=70), 3.0).state == "offered", "of an update before that"
    devices.deliver("blink", "mac:A", "2.0", 4.0)
    if came_back:
        assert devices.see(replace(FIRST, md5=NEW), 5.0).state == "updated"
    back = devices.see(replace(FIRST, error=71), 6.0)
    assert (back.state, back.failed_at, back.deliveries) == ("stuck", 6.0, 1)
    assert devices.counts("blink", "stable", "2.0", 7.0, 60.0) == Counts(1, 1, 1, 0, 1)
    assert devices.see(replace(FIRST, error=71), 100.0).failed_at == 6.0
    devices.offer("blink", "mac:A", "3.0", "c" * 32, 101.0)
    assert devices.see(replace(FIRST, error=71), 102.0).state == "offered"


def test_what_devices_with_the_library_say_is_kept(devices: OneByOne) -> None:
    said = replace(FIRST, counter=2**32 - 1, error=12, certs="a" * 64)
    seen = devices.see(said, 1.0)
    assert (seen.counter, seen.error, seen.certs) == (2**32 - 1, 12, "a" * 64)
    assert devices.get("blink", "mac:A") == seen
    assert devices.see(replace(said, error=0), 2.0).error == 0, "news, however soon"


def test_a_file_of_the_schema_before_is_taken_over(tmp_path: Path) -> None:
    old = list(Device._fields[: Device._fields.index("counter")])
    with contextlib.closing(sqlite3.connect(tmp_path / "d", isolation_level=None)) as before:
        before.execute(f"CREATE TABLE devices ({', '.join(old)}, PRIMARY KEY (product, device)) WITHOUT ROWID")
        values = ["blink", "mac:A", "stable", OLD, "1.0", "A", 1.0, 2.0, *[None] * 2, None, 0, *[None] * 3]
        before.execute(f"INSERT INTO devices VALUES ({', '.join('?' * len(values))})", values)
        before.execute("PRAGMA user_version = 1")
    for _ in range(2):
        with Devices(tmp_path / "d") as devices:
            (known,) = devices.list("blink")
            assert (known.device, known.last_seen, known.counter, known.certs) == ("mac:A", 2.0, None, "")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=2 * MAX_CLAIM), min_size=6, max_size=6))
def test_whatever_a_device_says_is_kept_bounded(devices: OneByOne, claims: list[str]) -> None:
    seen = devices.see(Sighting(*claims), 1.0)
    assert devices.get(seen.product, claims[2]) == seen
    devices.offer(seen.product, claims[2], "2.0", NEW, 2.0)
    assert devices.deliver(seen.product, claims[2], "2.0", 3.0) == 1
    assert all(len(text) <= MAX_CLAIM for text in (seen.product, seen.device, seen.md5, seen.version, seen.mac))
    forget(devices, claims[2], seen.product)
    assert devices.get(seen.product, seen.device) is None


def test_lone_surrogates_and_injection_are_text(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    evil = devices.see(replace(FIRST, device="'; DROP TABLE devices; --", version="\udcff\0"), 1.0)
    assert evil.version == "??", "no database has a place for everything"
    assert len(devices.list("blink")) == 2


def test_a_list_goes_on_behind_a_name(devices: OneByOne) -> None:
    for number in range(10):
        devices.see(replace(FIRST, device=f"mac:{9 - number}"), float(number))
    first = devices.list("blink", limit=3)
    assert [device.device for device in first] == ["mac:0", "mac:1", "mac:2"]
    rest = devices.list("blink", in_channel("stable"), after=first[-1].device)
    assert [device.device for device in rest] == [f"mac:{number}" for number in range(3, 10)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, LOOP_LIMIT + 1),
    st.sampled_from([None, "2.0"]),
    *[st.sampled_from([None, 1.0])] * 3,
    st.sampled_from([None, 0, 79, 80, 84, 85]),
)
def test_the_state_in_sql_is_that_of_the_row(
    devices: OneByOne,
    deliveries: int,
    offered: str | None,
    delivered_at: float | None,
    confirmed_at: float | None,
    failed_at: float | None,
    error: int | None,
) -> None:
    row = devices.see(FIRST, 1.0)._replace(
        deliveries=deliveries,
        offered=offered,
        delivered_at=delivered_at,
        confirmed_at=confirmed_at,
        failed_at=failed_at,
        error=error,
        last_seen=2.0,
    )
    devices.take([row])
    found = [state for state in STATES if devices.list("blink", in_state(state))]
    assert found == [row.state]
    forget(devices, "mac:A")


def test_a_device_runs_what_its_md5_says_else_what_it_says_itself(devices: OneByOne) -> None:
    for name, md5, version in (("a", OLD, "9"), ("b", OTHER, "1.0"), ("c", NEW, "1.0"), ("d", "", "1.0")):
        devices.see(replace(FIRST, device=name, md5=md5, version=version), 1.0)
    chosen = Facts({OLD: "1.0", NEW: "2.0"}).runs(Match("1.0"))
    assert [device.device for device in devices.list("blink", chosen)] == ["a", "b", "d"]


def test_an_enrolled_key_counts_once_the_rollout_begins_after_it(open_devices: Open) -> None:
    with open_devices() as devices:
        for name, enrolled in (("mac:1", 50.0), ("mac:2", 150.0), ("mac:3", None)):
            seen = Sighting("blink", "stable", name, "a" * 32, address="home", enrolled=enrolled, proven=True)
            devices.see(seen, 10.0)
        devices.see(Sighting("blink", "stable", "unproven:1", "a" * 32, address="home"), 10.0)
        tally = devices.tally("blink", "stable", Rollout("1.0", 100.0), 200.0, None)
    assert {kind: counts.eligible for kind, counts in tally.devices.items()} == {
        Evidence.PROVEN: 1,
        Evidence.KNOWN: 2,
        Evidence.NEWCOMER: 1,
    }


def test_nobody_waits_for_the_answer_of_a_pinned_device(open_devices: Open) -> None:
    """A group of three, of which one is pinned and not given the release: the others are all that can answer."""
    with open_devices() as devices:
        names = [f"mac:5C:CF:7F:00:00:0{number}" for number in (1, 2, 3)]
        devices.pinned = lambda product: names[1:]
        for name in names:
            devices.see(Sighting("blink", "stable", name, OLD), 10.0)
        for name in names[:2]:  # of which the second is pinned since
            devices.offer("blink", name, "2.0", NEW, 110.0)
            devices.deliver("blink", name, "2.0", 111.0)
            devices.see(Sighting("blink", "stable", name, OLD), 120.0)
        tally = devices.tally("blink", "stable", Rollout("2.0", 100.0), 200.0, None)
    assert (tally.heard.eligible, tally.heard.failed) == (2, 2)
    assert must_halt(tally, 50)
