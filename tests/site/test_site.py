"""The site that `tox -e docs` builds: every page has its place, no other host is asked, and a dead link stops it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INDEX = ROOT / "docs" / "index.md"
TOCTREE = re.compile(r"^```\{toctree\}\n(?:^:.*\n)*\n((?:.+\n)+)```$", re.M)
OUTSIDE = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples", "firmware")
LOADS = {"src", "srcset", "data", "poster"}
FOREIGN = re.compile(r"^(?:[a-z]+:)?//", re.I)


def in_navigation() -> set[Path]:
    entries = [line for block in TOCTREE.findall(INDEX.read_text("utf-8")) for line in block.splitlines()]
    return {path.resolve() for entry in entries for path in INDEX.parent.glob(f"{entry}.md")}


def test_every_page_has_its_place_in_the_navigation() -> None:
    written = {path for path in INDEX.parent.rglob("*.md") if path.parent.name != "reference"}
    assert written - {INDEX} <= in_navigation()
    assert {ROOT / name for name in OUTSIDE if name.endswith(".md")} <= in_navigation()
    captions = re.findall(r"^:caption: (.+)$", INDEX.read_text("utf-8"), re.M)
    assert captions[:4] == ["Tutorial", "How-to", "Reference", "Explanation"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what the site is made of."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("reference", "__pycache__"))
    for name in OUTSIDE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    (folder / "tools").symlink_to(ROOT / "tools")
    for name in ("README.md", "LICENSE", "action.yml", "platformio.ini.example", "setup.cfg"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Build the site with the command of `[testenv:docs]`."""
    pytest.importorskip("sphinx", reason="the environment 'docs' has it")
    line = re.search(r"^ +sphinx-build (.+)$", (checkout / "setup.cfg").read_text("utf-8"), re.M)
    assert line is not None
    command = [sys.executable, "-m", "sphinx", *line[1].split()]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300, check=False)


class Loaded(HTMLParser):
    """The addresses that a browser asks for by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = LOADS | ({"href"} if tag in ("link", "use", "image") else set())
        self.addresses += [value for name, value in attrs if name in names and value]


def foreign(site: Path) -> list[str]:
    """Return what the pages of `site` ask of other hosts."""
    found = []
    for path in site.rglob("*"):
        if path.suffix == ".html":
            page = Loaded()
            page.feed(path.read_text("utf-8"))
            found += page.addresses
        elif path.suffix in (".css", ".svg"):
            text = path.read_text("utf-8")
            found += re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)
    assert found
    return [address for address in found if FOREIGN.match(address)]


def test_it_builds_and_asks_no_foreign_host(checkout: Path) -> None:
    done = build(checkout)
    assert done.returncode == 0, done.stderr
    site = checkout / "build" / "site"
    assert (site / "docs" / "reference" / "options.html").is_file()
    assert 'url=docs/index.html"' in (site / "index.html").read_text("utf-8")
    assert foreign(site) == []
    (site / "index.html").write_text('<script src="//cdn.example/a.js"></script>', "utf-8")
    assert foreign(site) == ["//cdn.example/a.js"]


def test_what_leads_nowhere_stops_the_build(checkout: Path) -> None:
    page = checkout / "docs" / "doctor.md"
    dead = (
        "[a](gone.md)",
        "[a](server.md#gone-there)",
        "[a](#gone-here)",
        "```{gone-directive}\n```",
        "![a](gone.svg)",
    )
    page.write_text(page.read_text("utf-8") + "".join(f"\n{one}\n" for one in dead), "utf-8")
    (checkout / "docs" / "lost.md").write_text("# Without a place in the navigation\n", "utf-8")
    done = build(checkout)
    assert done.returncode == 1
    for name in ("gone.md", "gone-there", "gone-here", "gone-directive", "gone.svg", "lost.md"):
        assert re.search(rf"WARNING: .*{name}|{name}.*WARNING: ", done.stderr), name
