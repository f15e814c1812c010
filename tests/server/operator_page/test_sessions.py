"""Sessions end by themselves, are bounded, and one token's never push out another's."""

from __future__ import annotations

import secrets

import pytest

from otaseal.server.operator_page.sessions import IDLE_SECONDS, LONGEST_SECONDS, MAX_OF_TOKEN, MAX_SESSIONS, Sessions
from support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


def test_a_session_is_its_tokens(sessions: Sessions) -> None:
    one, other = sessions.begin("one"), sessions.begin("other")
    assert (sessions.find(one), sessions.find(other)) == ("one", "other")
    assert sessions.find(secrets.token_urlsafe(32)) is None
    sessions.end(one)
    assert (sessions.find(one), sessions.find(other)) == (None, "other")


def test_it_ends_when_nobody_clicks(sessions: Sessions, clock: Clock) -> None:
    secret = sessions.begin("one")
    clock.now += IDLE_SECONDS - 1
    assert sessions.find(secret) == "one"
    clock.now += IDLE_SECONDS
    assert sessions.find(secret) is None
    assert sessions.find(secret) is None


def test_it_ends_in_any_case(sessions: Sessions, clock: Clock) -> None:
    secret, end = sessions.begin("one"), clock.now + LONGEST_SECONDS
    while clock.now + IDLE_SECONDS / 2 < end:
        assert sessions.find(secret) == "one"
        clock.now += IDLE_SECONDS / 2
    clock.now = end
    assert sessions.find(secret) is None


def test_one_token_pushes_out_its_own_alone(sessions: Sessions) -> None:
    other, own = sessions.begin("other"), [sessions.begin("one") for _ in range(3 * MAX_OF_TOKEN)]
    assert sessions.find(other) == "other"
    assert [sessions.find(secret) for secret in own].count("one") == MAX_OF_TOKEN
    assert sessions.find(own[-1]) == "one"


def test_there_are_so_many_at_most(sessions: Sessions) -> None:
    kept = sessions.begin("kept")
    for number in range(MAX_SESSIONS + 5):
        sessions.begin(f"token {number}")
        assert sessions.find(kept) == "kept", "what is used is not the oldest"
    assert len(sessions) == MAX_SESSIONS


def test_the_proof_is_one_sessions(sessions: Sessions) -> None:
    assert sessions.proof("a") == sessions.proof("a") != sessions.proof("b")
    assert sessions.proof("a") != Sessions().proof("a"), "another process"
