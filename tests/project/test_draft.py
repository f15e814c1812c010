"""What the environments of a release leave for each other: it comes back whole, or counts as not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otaseal.project.draft import Draft, Entry

RELEASE = ("blink", "1.0.0", "", "False")
ENTRY = Entry("a/b", "nodemcuv2", "2026-01-31T12:00:00Z", "passed", (b"raw", b"gzip"))


def test_what_is_kept_comes_back_for_the_same_release_only(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "draft", RELEASE)
    assert draft.get("a/b") is None
    draft.put(ENTRY)
    assert draft.get("a/b") == ENTRY
    assert draft.get("a") is None
    assert Draft(tmp_path / "draft", ("blink", "1.0.1", "", "False")).get("a/b") is None
    draft.clear()
    assert draft.get("a/b") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"release": None},
        {"board": {}},
        {"board": None},
        {"built": 7},
        {"rehearsal": ["passed"]},
        {"files": []},
        {"files": [""]},
        {"files": ["?"]},
        {"files": [7]},
        {"files": {}},
        {"files": None},
    ],
)
def test_what_is_damaged_is_not_there(changes: dict[str, object], tmp_path: Path) -> None:
    draft = Draft(tmp_path, RELEASE)
    draft.put(ENTRY)
    (path,) = tmp_path.iterdir()
    good = json.loads(path.read_text())
    path.write_text(json.dumps({**good, **changes}))
    assert draft.get("a/b") is None
    draft.put(ENTRY)
    assert draft.get("a/b") == ENTRY, "and the next build heals it"


@pytest.mark.parametrize("content", ["", "[]", "7", "null", "[" * 9000, "\udcff", '{"release": ["blink"]}'])
def test_what_is_no_entry_is_not_there(content: str, tmp_path: Path) -> None:
    draft = Draft(tmp_path, RELEASE)
    draft.put(ENTRY)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert draft.get("a/b") is None
