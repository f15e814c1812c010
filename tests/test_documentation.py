"""The documentation: every relative link leads to a file that is there, and to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = (
    "*.md",
    "docs/**/*.md",
    "examples/*/*.md",
    "firmware/**/*.md",
    "packaging/*.md",
    "bench/*.md",
    "tests/**/*.md",
)
PAGES = sorted({page for place in PLACES for page in ROOT.glob(place)})
FENCED = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?) *$", re.M)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link can name behind `#`, as GitHub makes it of headings."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(prose(page)))
    return {title.replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_there_are_pages_and_links() -> None:
    """So that the pattern of this test cannot rot unseen."""
    assert {"README.md", "docs/server.md", "docs/adr/README.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }
    assert len(LINK.findall(prose(ROOT / "README.md"))) > 10
