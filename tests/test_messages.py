"""What people read says a device fact in words; a number stands there only with the address of its entry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FACTS = "docs/device-facts.md"
# Not followed by the entry's address: [F7](device-facts.md#f7), or in a message docs/device-facts.md#f7
NUMBER = re.compile(r"(?<![\w:])(F[0-9]{1,2}[a-e]?)(?![\w:])(?!\]\([a-z./]*device-facts\.md#f)")
KEY = re.compile(r"F[0-9]{1,2}[a-e]?(, F[0-9]{1,2}[a-e]?)*")  # a field of the JSON, and what advice is looked up by
SOURCES = sorted([*(ROOT / "tools").rglob("*.py"), *(ROOT / "extra_scripts").glob("*.py")])
PAGES = sorted(
    path
    for place in ("*.md", "docs/**/*.md", "examples/**/*", "firmware/**/*", "packaging/**/*", "platformio.ini.example")
    for path in ROOT.glob(place)
    if path.is_file() and path.suffix in (".md", ".ino", ".cpp", ".h", ".ini", ".example", ".json")
    if path != ROOT / FACTS
)
BARE = "{fact}"
"""Stands for a fact's number that is put into a text."""


def messages(source: str) -> Iterator[str]:
    """Yield every text in `source` that could be printed, docstrings left out, and what is put into one as `.fact`."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value
        if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Attribute) and node.value.attr == "fact":
            yield BARE


def cited(source: str) -> list[str]:
    return [text for text in messages(source) if text == BARE or (NUMBER.search(text) and not KEY.fullmatch(text))]


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_message_cites_a_fact_by_number_alone(path: Path) -> None:
    assert not cited(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_no_page_cites_a_fact_by_number_alone(path: Path) -> None:
    assert not [line for line in path.read_text(encoding="utf-8").splitlines() if NUMBER.search(line)]


def test_a_citation_is_seen() -> None:
    assert cited('def f(x):\n    """By F7."""\n    raise E(f"{x} is wrong (F7)")') == [" is wrong (F7)"]
    assert cited('print(f"{one.fact}")') == [BARE]
    assert cited('print("see docs/device-facts.md#f7")') == []
    assert not NUMBER.search("the flash mode ([F7](../device-facts.md#f7))")
    assert NUMBER.search("the flash mode (F7), see [F7](device-facts.md#f7)")
    assert cited('Row(error, "why", "F8b")') == []
    assert {"README.md", "docs/manifest.md"} <= {str(path.relative_to(ROOT)) for path in PAGES}
    assert len(SOURCES) > 100
