"""What is said of releases, and when tokens were used: durable in either store, and bounded."""

from __future__ import annotations

import pytest

from otaseal.errors import InputError
from otaseal.release.notes import MAX_NOTES, NO_NOTES, Notes
from otaseal.store.release_notes import ReleaseNotes
from otaseal.store.sql import Tables
from otaseal.store.token_uses import WRITE_SECONDS, TokenUses
from support.secret_tables import either_secrets  # noqa: F401 - a fixture


def test_notes_are_set_changed_and_taken_back(either_secrets: Tables) -> None:  # noqa: F811
    notes = ReleaseNotes(either_secrets)
    assert notes.of("blink") == {}
    assert notes.set("blink", "1.0", Notes("security", "  A hole less.\r\nUpdate.\n")).notes == "A hole less.\nUpdate."
    notes.set("lamp", "1.0", Notes("feature", "light"))
    notes.set("blink", "1.0", Notes("fix", "ü"))
    assert ReleaseNotes(either_secrets).of("blink") == {"1.0": Notes("fix", "ü")}
    notes.set("blink", "1.0", NO_NOTES)
    assert notes.of("blink") == {}
    assert notes.of("lamp") == {"1.0": Notes("feature", "light")}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Notes("urgent"), "severity 'urgent' is unknown"),
        (Notes("", "x" * (MAX_NOTES + 1)), f"{MAX_NOTES + 1} characters"),
        (Notes("", "a\x1b[31mb"), "control characters"),
        (Notes("", "a\0b"), "control characters"),
        (Notes("", "\ud800"), "control characters"),
        (Notes("", "", "CVE-26-1"), "'CVE-26-1' is no CVE number"),
        (Notes("", "", " ".join(f"CVE-2026-{n:05}" for n in range(33))), "33 CVE numbers"),
        (Notes("", "", "", "x" * (MAX_NOTES + 1)), "the advisory has"),
    ],
)
def test_what_cannot_be_said_is_not(either_secrets: Tables, said: Notes, why: str) -> None:  # noqa: F811
    notes = ReleaseNotes(either_secrets)
    with pytest.raises(InputError, match=why):
        notes.set("blink", "1.0", said)
    assert notes.of("blink") == {}


def test_uses_are_written_from_time_to_time_and_those_of_revoked_tokens_go(either_secrets: Tables) -> None:  # noqa: F811
    now = 1000.0
    uses = TokenUses(either_secrets, lambda: now)
    for identifier in ("one", "two", "one"):
        now += 1
        uses.note(identifier)
    uses.write({"one", "two"})
    assert TokenUses(either_secrets).all() == {}, "it is not time"
    assert uses.all() == {"one": 1003.0, "two": 1002.0}
    now += WRITE_SECONDS
    uses.write({"one", "two"})
    assert TokenUses(either_secrets).all() == {"one": 1003.0, "two": 1002.0}
    uses.note("one")
    uses.write({"one"}, now=True)
    assert TokenUses(either_secrets).all() == uses.all() == {"one": now}


def test_support_ends_on_a_day(either_secrets: Tables) -> None:  # noqa: F811
    notes = ReleaseNotes(either_secrets)
    assert notes.support_ends("blink") is None
    for day in ("soon", "2031-02-30", "2031-1-1", "20310101", "2031-W01-1"):
        with pytest.raises(InputError, match=f"'{day}' is no day"):
            notes.set_support_ends("blink", day)
    notes.set_support_ends("blink", "2031-12-31")
    notes.set_support_ends("blink", "2032-12-31")
    assert ReleaseNotes(either_secrets).support_ends("blink") == "2032-12-31"
    assert notes.support_ends("lamp") is None


def test_devices_are_told_on_one_line(either_secrets: Tables) -> None:  # noqa: F811
    notes = ReleaseNotes(either_secrets)
    notes.set("blink", "1.0", Notes("security", "Größer.\nUnd " + "ä" * 300))
    again = ReleaseNotes(either_secrets)
    assert again.headers("blink", "1.0") == ()
    again.load()
    assert again.headers("blink", "1.0") == notes.headers("blink", "1.0")
    (severity, text) = notes.headers("blink", "1.0")
    assert severity == ("X-Otaseal-Severity", "security")
    sent = text[1].encode("latin-1")
    assert len(sent) <= 200
    assert sent.decode().startswith("Größer. Und ää"), "no character is cut in two"
    notes.set("blink", "1.0", Notes("", ""))
    assert notes.headers("blink", "1.0") == ()
