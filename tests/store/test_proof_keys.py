"""The keys that devices prove themselves with: who may agree one, which of them goes, and what replaces another."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from otaseal.errors import SystemFaultError
from otaseal.store.known_keys import NEW_SECONDS, REPLACED_SECONDS, LastProof
from otaseal.store.proof_key_rows import ProofKey
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.sql import Tables
from support.secret_tables import either_secrets

__all__ = ["either_secrets"]

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Secrets]:
    with Secrets(tmp_path / SECRETS_FILE) as opened:
        yield opened


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_keys_are_there_after_a_restart(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.enrol("blink", "a", key(1), NOW)
    assert keys.agree("blink", "b", key(2), NOW)
    assert not keys.show("blink", "b", key(3), "192.0.2.1", NOW)
    assert keys.changed
    assert ProofKeys(either_secrets).get("blink", "b") is None, "what was agreed waits to be written"
    keys.write()
    again = ProofKeys(either_secrets)
    for known in (keys, again):
        assert known.get("blink", "a") == ProofKey(key(1), None, NOW)
        assert known.get("blink", "b") == ProofKey(key(2), NOW, None)
        assert known.get("lamp", "a") is None
        waiting = known.waiting("blink", "b")
        assert waiting is not None
        assert waiting == (key(3), NOW, "192.0.2.1", NOW)
        assert known.counts() == {"enrolled": 1, "agreed": 1, "waiting": 1}
        assert not known.changed
    again.forget("blink", "b")
    again.forget("blink", "b")
    assert ProofKeys(either_secrets).counts() == {"enrolled": 1, "agreed": 0, "waiting": 0}


def test_first_contacts_push_out_each_other_and_nobody_else(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets, limit=100)
    for number in range(10):
        assert keys.agree("blink", f"real{number}", key(number), NOW)
    keys.enrol("blink", "bench", key(99), NOW)
    later = NOW + NEW_SECONDS
    assert keys.flood()
    for number in range(1000):
        assert keys.agree("blink", f"invented{number}", key(number), later)
        if number % 50 == 0:
            keys.write()
    assert keys.counts() == {"enrolled": 1, "agreed": 20, "waiting": 0}
    assert all(keys.get("blink", f"real{number}") for number in range(10))
    assert keys.get("blink", "bench")
    assert [keys.get("blink", f"invented{number}") is None for number in (989, 990)] == [True, False]
    assert "10 of 100 were agreed at first contact within a day" in keys.flood()
    keys.write()
    again = ProofKeys(either_secrets, limit=100)
    assert again.agree("blink", "one more", key(1), later + HOUR)
    assert again.get("blink", "invented990") is None, "which of them are new is known after a restart"
    assert all(again.get("blink", f"real{number}") for number in range(10))


def test_when_all_places_are_taken_a_first_contact_finds_none(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets, limit=10)
    for number in range(10):
        keys.enrol("blink", str(number), key(number), NOW)
    assert not keys.agree("blink", "new", key(10), NOW)
    assert keys.flood()
    keys.enrol("blink", "bench", key(10), NOW)
    assert keys.counts()["enrolled"] == 11, "an operator is not refused"


def test_invented_names_do_not_fill_the_places_for_ever(either_secrets: Tables) -> None:
    """A tenth of the places each day: so slowly that none of them is pushed out by another."""
    keys = ProofKeys(either_secrets, limit=10)
    keys.enrol("blink", "bench", key(1), NOW)
    keys.agree("blink", "asleep", key(2), NOW - DAY)
    keys.agree("blink", "real", key(2), NOW)
    proofs = {}
    for day in range(1, 30):
        when = NOW + day * (DAY + 1)
        proofs["blink", "real"] = LastProof(day, when)
        assert keys.advance("blink", "real", day, when) is None
        keys.agree("blink", f"invented{day}", key(3), when)
        if day == 6:
            assert keys.get("blink", "asleep"), "there is room"
        keys.write()
        if day == 20:
            keys = ProofKeys(either_secrets, proofs, limit=10)
    assert keys.counts() == {"enrolled": 1, "agreed": 9, "waiting": 0}
    assert keys.get("blink", "real")
    assert keys.agree("blink", "new", key(4), NOW + 30 * (DAY + 1))
    assert keys.get("blink", "new")
    assert keys.get("blink", "asleep") is None, "nobody proved it for a month"
    for name in ("real", "bench"):
        assert keys.get("blink", name)


def test_another_key_waits_until_the_known_one_was_silent_for_a_week(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.agree("blink", "a", key(1), NOW)
    keys.enrol("blink", "bench", key(1), NOW)
    end = NOW + REPLACED_SECONDS
    for when in (NOW, NOW + HOUR, end - 1):
        for device in ("a", "bench"):
            assert not keys.show("blink", device, key(2), "home", when)
            assert keys.get("blink", device) is not None
    assert not keys.show("blink", "bench", key(2), "home", end), "what was enrolled is replaced by an operator alone"
    assert keys.show("blink", "a", key(2), "home", end)
    assert keys.get("blink", "a") == ProofKey(key(2), end)
    assert keys.waiting("blink", "a") is None


def test_a_proof_of_the_known_key_ends_the_waiting(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.agree("blink", "a", key(1), NOW)
    keys.show("blink", "a", key(2), "away", NOW)
    keys.write()
    assert keys.advance("blink", "a", 7, NOW) is None
    assert keys.waiting("blink", "a") is None
    keys.write()
    assert ProofKeys(either_secrets).waiting("blink", "a") is None
    assert not keys.show("blink", "a", key(2), "away", NOW + REPLACED_SECONDS)
    assert keys.get("blink", "a") == ProofKey(key(1), NOW)


def test_a_number_counts_once_and_is_forgotten_with_its_key(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.agree("blink", "a", key(1), NOW)
    assert [keys.advance("blink", "a", number, NOW) for number in (0, 5, 5, 4, 6)] == [None, None, 5, 5, None]
    keys.write()
    numbers = {("blink", "a"): LastProof(6, NOW), ("blink", "unknown"): LastProof(9, NOW)}
    again = ProofKeys(either_secrets, numbers)
    assert [again.advance("blink", "a", number, NOW) for number in (6, 7)] == [6, None]
    again.forget("blink", "a")
    again.agree("blink", "a", key(2), NOW)
    assert again.advance("blink", "a", 1, NOW) is None


def test_another_key_begins_its_own_numbers(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    for replace in (
        lambda name: keys.enrol("blink", name, key(2), NOW),
        lambda name: keys.show("blink", name, key(2), "home", NOW + REPLACED_SECONDS),
    ):
        keys.agree("blink", "a", key(1), NOW)
        assert keys.advance("blink", "a", 0xFFFFFFFF, NOW) is None, "whoever came first"
        keys.show("blink", "a", key(2), "home", NOW)
        replace("a")
        known = keys.get("blink", "a")
        assert known is not None
        assert known.key == key(2)
        assert [keys.advance("blink", "a", number, NOW) for number in (1, 1)] == [None, 1]
        keys.enrol("blink", "a", key(2), NOW)
        assert keys.advance("blink", "a", 1, NOW) == 1, "the same key goes on"
        keys.forget("blink", "a")


def test_what_is_durable_is_never_older_than_what_was_acknowledged(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ProofKeys(secrets)
    held, go_on = threading.Event(), threading.Event()
    transaction = secrets.transaction

    @contextlib.contextmanager
    def slow() -> Iterator[sqlite3.Connection]:
        if threading.current_thread() is writer:
            held.set()
            assert go_on.wait(10)
        with transaction() as database:
            yield database

    monkeypatch.setattr(secrets, "transaction", slow)
    keys.agree("blink", "a", key(1), NOW)
    writer = threading.Thread(target=keys.write)
    writer.start()
    assert held.wait(10)
    enrolling = threading.Thread(target=keys.enrol, args=("blink", "a", key(2), NOW))
    enrolling.start()
    enrolling.join(0.2)  # it may wait, or be done
    go_on.set()
    for thread in (writer, enrolling):
        thread.join(10)
    assert ProofKeys(secrets).get("blink", "a") == ProofKey(key(2), None, NOW)


def test_a_disk_that_takes_nothing_bounds_first_contacts(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> NoReturn:
        raise SystemFaultError("the disk is full", "make room")

    keys = ProofKeys(secrets, limit=100)
    monkeypatch.setattr(secrets, "transaction", full)
    agreed = 0
    for number in range(1000):
        agreed += keys.agree("blink", f"invented{number}", key(number), NOW)
        if number % 20 == 0:
            with pytest.raises(SystemFaultError):
                keys.write()
    assert agreed == len(keys._changed) == 100
    monkeypatch.undo()
    keys.write()
    assert keys.agree("blink", "later", key(1), NOW)


def test_a_clock_that_was_wrong_holds_no_place_and_locks_nobody_out(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    for device in ("a", "b"):
        keys.agree("blink", device, key(1), NOW)
    keys.show("blink", "a", key(9), "away", NOW + 3650 * DAY)
    keys.show("blink", "a", key(2), "home", NOW)
    waiting = keys.waiting("blink", "a")
    assert waiting is not None
    assert waiting.key == key(2), "the other one was not shown in what is ten years from now"
    keys.close(NOW - 3650 * DAY)
    known = keys.get("blink", "b")
    assert known is not None
    assert keys.accepts(known), "it was agreed before, whatever the clock says"
    keys.agree("blink", "later", key(3), NOW - 3650 * DAY)
    later = keys.get("blink", "later")
    assert later is not None
    assert not keys.accepts(later)


def test_a_key_that_is_forgotten_meanwhile_is_replaced_by_none(either_secrets: Tables) -> None:
    assert not ProofKeys(either_secrets).show("blink", "gone", key(1), "home", NOW)


def test_who_waits_is_not_pushed_out_by_others_while_it_goes_on_asking(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.agree("blink", "a", key(1), NOW)
    for hour in range(0, 48, 3):
        keys.show("blink", "a", key(2), "home", NOW + hour * HOUR)
        keys.show("blink", "a", key(9), "away", NOW + hour * HOUR + 1)
    waiting = keys.waiting("blink", "a")
    assert waiting is not None
    assert waiting.key == key(2)
    assert waiting.shown == NOW
    keys.show("blink", "a", key(9), "away", NOW + 60 * HOUR)
    waiting = keys.waiting("blink", "a")
    assert waiting is not None
    assert (waiting.key, waiting.shown) == (key(9), NOW + 60 * HOUR), "it has not asked for half a day"


def test_those_that_wait_are_bounded(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets, limit=50)
    for number in range(20):
        keys.enrol("blink", str(number), key(number), NOW)
        keys.show("blink", str(number), key(99), "away", NOW + number)
    keys.write()
    for known in (keys, ProofKeys(either_secrets, limit=50)):
        assert [known.waiting("blink", str(number)) is not None for number in (14, 15, 19)] == [False, True, True]
        assert known.counts()["waiting"] == 5


def test_closed_keys_that_come_later_wait_and_none_is_replaced_by_itself(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.agree("blink", "before", key(1), NOW - 1)
    keys.close(NOW)
    keys.close(NOW + DAY)
    keys.agree("blink", "later", key(2), NOW)
    keys.enrol("blink", "bench", key(3), NOW + 1)
    keys.show("blink", "before", key(4), "home", NOW)
    assert not keys.show("blink", "before", key(4), "home", NOW + 2 * REPLACED_SECONDS)
    for opened in (keys, ProofKeys(either_secrets)):
        assert opened.closed == NOW, "the first start counts"
        known = {name: opened.get("blink", name) for name in ("before", "later", "bench")}
        assert [one is not None and opened.accepts(one) for one in known.values()] == [True, False, True]
    keys.reopen()
    keys.reopen()
    later = keys.get("blink", "later")
    assert later is not None
    assert keys.accepts(later)
    assert ProofKeys(either_secrets).closed is None


def test_an_enrolled_key_under_another_name(either_secrets: Tables) -> None:
    keys = ProofKeys(either_secrets)
    keys.agree("blink", "invented", key(1), NOW)
    keys.agree("blink", "too", key(1), NOW)
    assert keys.copies() == {}, "anybody can invent a key, and two names"
    keys.enrol("blink", "own", key(2), NOW)
    assert keys.copies() == {}
    keys.agree("blink", "copy", key(2), NOW)
    assert keys.copies() == {("blink", "own"): ("blink", "copy")}
    keys.write()
    assert ProofKeys(either_secrets).copies() == keys.copies()
    keys.forget("blink", "copy")
    assert keys.copies() == {}
    keys.enrol("blink", "other", key(3), NOW)
    keys.show("blink", "other", key(2), "192.0.2.1", NOW)
    assert keys.copies() == {("blink", "own"): ("blink", "other")}, "it waits there"
    keys.advance("blink", "other", 1, NOW)
    assert keys.copies() == {}
