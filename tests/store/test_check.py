"""A store examined: every damage is found, what a kill left is swept, and the audit log tells who did what."""

from __future__ import annotations

import shutil

import pytest

from otaseal.errors import (
    CorruptStoreError,
    InputError,
)
from otaseal.store.audit_log import MAX_LINE
from otaseal.store.check import check, sweep, tidy
from otaseal.store.documents import TOKENS, TRUSTS
from otaseal.store.store import Store
from support.filled_store import content, either, either_filled, filled, leave_orphan, store
from support.releases import view

__all__ = ["either", "either_filled", "filled", "store"]


def test_the_audit_log_tells_who_did_what(filled: Store) -> None:
    filled.rollback("blink", "stable", expected=2, by="bob")
    filled.record_event({"event": "token", "by": "bob"})
    lines = [line for _, line in filled.documents.audit_lines() if line is not None]
    assert [one["event"] for one in lines] == ["publish"] * 3 + ["point"] * 3 + ["rollback", "token"]
    assert (lines[-2]["by"], lines[-2]["version"], lines[-2]["generation"]) == ("bob", "1.0.0", 3)
    assert sorted(one["at"] for one in lines) == [one["at"] for one in lines]
    with pytest.raises(InputError, match="an audit line has"):
        filled.record_event({"event": "x" * MAX_LINE})


def test_half_a_line_is_cut_and_a_damaged_one_is_said(filled: Store) -> None:
    log = filled.directory / "audit.log"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"event":"po')
    assert check(filled).whole
    filled.record_event({"event": "token"})
    assert log.read_bytes().startswith(whole + b'{"at":')
    assert len(log.read_bytes().splitlines()) == 7
    log.write_bytes(b"nonsense\n" + whole)
    assert check(filled).problems == ("line 1 of 'audit.log' is damaged",)


def test_sweeping_removes_what_a_kill_left_and_keeps_the_rest(filled: Store) -> None:
    for name in ("products/blink/channels/.stable.json.abc.tmp", "blobs/sha256/.x.tmp"):
        (filled.directory / name).write_bytes(b"half")
    orphan = leave_orphan(filled)
    (filled.directory / "products/blink/releases/notes of mine.txt").write_bytes(b"")
    before = view(filled)
    report = sweep(filled)
    assert report.whole
    assert report.temporaries == ("blobs/sha256/.x.tmp", "products/blink/channels/.stable.json.abc.tmp")
    assert report.orphans == (f"blobs/sha256/{orphan[:2]}/{orphan}", "products/blink/releases/notes of mine.txt")
    assert sweep(filled).temporaries == ()
    assert filled.read_blob(orphan) == b"orphan"
    assert (view(filled), check(filled).releases, check(filled).channels, check(filled).blobs) == (before, 3, 2, 3)


def test_a_check_finds_every_damage(filled: Store) -> None:
    for name, data in content(filled.directory).items():
        if name in ("store.json", ".lock") or not data:
            continue
        for damaged in (data[:-2] + b"#\n", data[: len(data) // 2], None):
            path = filled.directory / name
            path.write_bytes(damaged) if damaged is not None else path.unlink()
            gone_without_trace = damaged is None and name == "audit.log"
            half_a_line = name == "audit.log" and damaged == data[: len(data) // 2]
            assert check(filled).whole == (gone_without_trace or half_a_line), (name, damaged)
            path.write_bytes(data)
    assert check(filled).whole


@pytest.mark.parametrize(("name", "what"), [(TOKENS, "the token file"), (TRUSTS, "the file of trusts")])
def test_damage_of_what_says_who_may_publish_is_found(either_filled: Store, name: str, what: str) -> None:
    for damaged in (b"", b"{", b'{"format": 1}', b'{"format": 1, "tokens": [{}], "trusts": [{}]}'):
        with either_filled.documents.change() as change:
            change.replace(name, damaged)
        assert check(either_filled).problems == (f"{what} is damaged",)
        assert tidy(either_filled).problems == [f"{what} is damaged"]
    with either_filled.documents.change() as change:
        change.replace(name, b'{"format": 9, "later": true}')
    assert (check(either_filled).problems, len(check(either_filled).later)) == ((), 1)
    assert either_filled.documents.read(name, what, 100) == b'{"format": 9, "later": true}'


def test_a_record_of_another_release_is_damage(filled: Store) -> None:
    folder = filled.directory / "products/blink/releases"
    shutil.copyfile(folder / "1.0.0.json", folder / "1.1.0.json")
    with pytest.raises(CorruptStoreError, match="is that of another"):
        filled.release("blink", "1.1.0")
