"""The words for a device: a badge that says why nothing is offered, and what to do about it."""

from __future__ import annotations

import pytest

from otaseal.protocol.answers import REASONS
from otaseal.server.operator_page import device_words
from otaseal.store.device_rows import STATES


def test_every_state_and_answer_has_a_badge() -> None:
    shown = {
        (state, answered): device_words.badge({"state": state, "answered": answered})
        for state in STATES
        for answered in ("", *REASONS)
    }
    assert shown["seen", "current"] == ("Up to date", "good")
    assert shown["seen", "not-included"] == shown["seen", "paused"] == ("Waits", "idle")
    assert shown["seen", "no-room"] == ("Does not fit", "warn")
    assert shown["seen", ""] == ("Not offered", "idle")
    assert {shown["stuck", answered] for answered in REASONS} == {("Failed", "bad")}


@pytest.mark.parametrize(
    ("state", "answered", "error", "words", "command"),
    [
        ("stuck", "offered", None, "It told no error", True),
        ("looping", "looping", 0, "It told no error", True),
        ("stuck", "offered", 30, "", False),
        ("seen", "no-room", None, "custom_otaseal_compress = gzip", False),
        ("seen", "current", None, "", False),
        ("updated", "no-room", None, "", False),
    ],
)
def test_what_to_do_is_said(state: str, answered: str, error: int | None, words: str, command: bool) -> None:
    said, asked = device_words.advice({"state": state, "answered": answered, "error": error})
    assert words in said
    assert bool(said) == bool(words)
    assert bool(asked) == command


def test_what_does_not_fit_has_advice() -> None:
    assert set(device_words.ADVICE) == {
        reason for reason in REASONS if device_words.badge({"state": "seen", "answered": reason}) == device_words.UNFIT
    }
