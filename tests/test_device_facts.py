"""Numbers of device facts lead somewhere: each one that is cited has an entry, and each entry is cited."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = "docs/device-facts.md"
NUMBER = r"F(?:1[0-9]{2}|[0-9]{1,2})[a-e]?"
CITED = re.compile(rf"(?<![\w.:\\#]){NUMBER}(?![\w:])")  # no hexadecimal digits, no address, no code of a linter
ENTRY = re.compile(rf"^### ({NUMBER})\n(.*?)(?=^##|\Z)", re.M | re.S)


def entries() -> dict[str, str]:
    found = ENTRY.findall((ROOT / PAGE).read_text(encoding="utf-8"))
    assert len(dict(found)) == len(found), "a number has two entries"
    return dict(found)


def citations() -> dict[str, list[str]]:
    """Return each number that a tracked file cites, outside of the page, and the files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    for name in listed.split("\0"):
        own = name in (PAGE, "tests/test_device_facts.py")
        if not name or own or name.endswith(".png") or not (ROOT / name).is_file():  # a picture's bytes cite nothing
            continue
        for number in set(CITED.findall((ROOT / name).read_text(encoding="utf-8", errors="replace"))):
            found.setdefault(number, []).append(name)
    return found


def test_every_number_that_is_cited_has_an_entry() -> None:
    missing = {number: files for number, files in citations().items() if number not in entries()}
    assert not missing


def test_every_entry_is_cited() -> None:
    assert set(entries()) - set(citations()) == set()


def test_entries_stand_in_their_order() -> None:
    def place(number: str) -> tuple[int, str]:
        return int(re.sub(r"\D", "", number)), number.lstrip("F0123456789")

    numbers = [place(number) for number in entries()]
    by_number = [number for number, _ in numbers]
    assert by_number == sorted(by_number)


@pytest.mark.parametrize("number", entries())
def test_an_entry_says_what_where_and_how_it_was_seen(number: str) -> None:
    text = entries()[number]
    statement, source, seen = re.split(r"^- (?:Source|Seen): ", text, flags=re.M)
    assert re.match(r"\*\*.{20,}?\*\*", statement, re.S)
    assert source.strip().endswith(".")
    assert set(re.findall(r"\b(read|run|measured)\b", seen.partition(" with")[0]))
    for path in re.findall(r"`((?:tests|bench)/[^`]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("of the chip (F7, F30b).", ["F7", "F30b"]),
        ("by F28-F30, F6 to F10", ["F28", "F30", "F6", "F10"]),
        ('Step("answer", "F29")', ["F29"]),
        ("5C:CF:7F:F0:04:CB", []),
        ("noqa: F401", []),
        ("0xF1 and \\F2 and #F3", []),
    ],
)
def test_what_counts_as_a_citation(text: str, numbers: list[str]) -> None:
    assert CITED.findall(text) == numbers
