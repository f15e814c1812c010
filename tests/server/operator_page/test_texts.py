"""What people read: nothing hidden in it, whoever wrote it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.server.operator_page import texts


@given(st.text(st.characters(codec=None)))
def test_nothing_stays_hidden(text: str) -> None:
    shown = texts.visible(text)
    shown.encode()
    assert all(one == "\n" or unicodedata.category(one) not in texts.HIDDEN for one in shown)
    assert texts.visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.4.0", "1.4.0"),
        ("Küche, 日本, שלום", "Küche, 日本, שלום"),
        ("1.0\u202e0.2", "1.0[U+202E]0.2"),
        ("a\x00b\x1b[31m", "a[U+0000]b[U+001B][31m"),
        ("\ud800", "[U+D800]"),
        ("e" + "\u0301" * 4, "e\u0301\u0301[U+0301][U+0301]"),
    ],
)
def test_a_text_is_shown(text: str, shown: str) -> None:
    assert texts.visible(text) == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5.0, "just now"), (0.4, "just now"), (1.0, "1 second ago"), (119.0, "1 minute ago"), (90000.0, "1 day ago")],
)
def test_a_time_that_has_passed(seconds: float, words: str) -> None:
    assert texts.ago(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 days"), (60, "1 minute"), (5400, "90 minutes"), (7200, "2 hours"), (86400, "1 day")]
)
def test_a_time_that_somebody_chose_is_not_rounded(seconds: int, words: str) -> None:
    assert texts.exactly(seconds) == words


def test_a_time_that_no_calendar_has() -> None:
    assert texts.moment(1e30) == ""
    assert texts.moment(0) == "1970-01-01T00:00:00Z"


def test_a_small_share_has_a_decimal() -> None:
    assert [texts.percentage(*one) for one in ((3, 212), (1, 2), (0, 5), (0, 0), (5, 100))] == [
        "1.4",
        "50",
        "0",
        "0",
        "5",
    ]
