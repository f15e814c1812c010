"""The note of what was shipped: per environment, and whatever happens to it, never a claim that nobody made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otaseal.errors import InputError
from otaseal.project import shipped


def test_nothing_was_shipped_at_first(tmp_path: Path) -> None:
    assert not shipped.is_current(tmp_path / "none" / "shipped.json", "blink", b"archive")


def test_what_was_shipped_is_remembered_for_its_environment(tmp_path: Path) -> None:
    record = tmp_path / "otaseal" / "shipped.json"
    shipped.remember(record, "blink", b"archive")
    assert shipped.is_current(record, "blink", b"archive")
    assert not shipped.is_current(record, "blink", b"another")
    assert not shipped.is_current(record, "other", b"archive")


def test_environments_do_not_forget_each_other(tmp_path: Path) -> None:
    record = tmp_path / "shipped.json"
    for environment, archive in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        shipped.remember(record, environment, archive)
    assert shipped.is_current(record, "a", b"3")
    assert not shipped.is_current(record, "a", b"1")
    assert shipped.is_current(record, "b", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["shipped.json"]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'"sha256:"', b"\xff\xfe", b"[" * 100_000, b'{"blink": null}', b'{"blink": []}'],
)
def test_a_damaged_note_counts_as_never_shipped_and_heals(tmp_path: Path, damage: bytes) -> None:
    record = tmp_path / "shipped.json"
    record.write_bytes(damage)
    assert not shipped.is_current(record, "blink", b"archive")
    shipped.remember(record, "blink", b"archive")
    assert shipped.is_current(record, "blink", b"archive")


def test_the_note_holds_no_more_than_it_says(tmp_path: Path) -> None:
    record = tmp_path / "shipped.json"
    shipped.remember(record, "blink", b"secret of nobody")
    assert list(json.loads(record.read_bytes())) == ["blink"]
    assert b"secret" not in record.read_bytes()


def test_a_note_that_is_no_file_or_huge_is_said(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (shipped.MAX_RECORD_SIZE + 1))
    for record in (tmp_path, huge):
        with pytest.raises(InputError):
            shipped.is_current(record, "blink", b"archive")
