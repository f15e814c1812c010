"""The documentation: every link leads to a file and a heading that are there, and otaseal comes from a checkout."""

from __future__ import annotations

import re
import subprocess
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


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


PLACE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_places_in_the_tree_are_there(page: str) -> None:
    """A path begins where the repository does, or in the package."""
    named = set(PLACE.findall((ROOT / page).read_text(encoding="utf-8"))) - {"data/certs.ar", "certs/", "build/site"}
    assert named or page == "SECURITY.md"
    assert not [place for place in named if not any((top / place).exists() for top in (ROOT, ROOT / "tools/otaseal"))]


def test_every_package_has_its_place_on_the_page() -> None:
    package = ROOT / "tools" / "otaseal"
    modules = {path.stem for path in package.iterdir() if path.is_dir() or path.suffix == ".py"}
    table = re.findall(r"^\| (`.+?`) \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.M)
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    assert named == {name for name in modules if not name.startswith("__")}


BY_NAME = re.compile(
    r"otaseal\[[a-z]"  # a requirement with an extra
    r"|\b(?:pip3?|pipx|uv|poetry|pdm|conda|pkg|lib)\s+(?:install|add|run|download)\b[^#`\n]*?[\s'\"/]otaseal(?![\w/.-])"
    r"|\buvx\s+otaseal\b"
    r"|^\s*lib_deps\s*=\s*(?:\w+/)?otaseal\b"
)
"""Text that would fetch a package by the name of otaseal, which nobody owns on any index or registry yet."""


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / one for one in listed.split("\0") if one and one != "tests/test_documentation.py"]


def test_otaseal_is_installed_from_a_checkout_everywhere() -> None:
    """Whoever registers the name first would get our users."""
    found = []
    for path in tracked():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        found += [f"{path.relative_to(ROOT)}:{n}: {one}" for n, one in enumerate(lines, 1) if installs_by_name(one)]
    assert not found


def installs_by_name(line: str) -> bool:
    return BY_NAME.search(line) is not None


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("pip install otaseal", True),
        ("python3 -m pip install 'otaseal[server]'", True),
        ("pip install --upgrade otaseal==1.0", True),
        ("pipx install otaseal", True),
        ("uv add otaseal", True),
        ("pio pkg install -l someone/otaseal", True),
        ("lib_deps = otaseal", True),
        ("lib_deps = someone/otaseal@^1", True),
        ("pip install '.[server]'    # in a checkout of otaseal", False),
        ("python3 -m venv /opt/otaseal && /opt/otaseal/bin/pip install '.[server]'", False),
        ("git submodule add <this repository> otaseal", False),
        ("lib_deps = file:///path/to/otaseal", False),
        ("install -d -o otaseal -g otaseal -m 0700 /var/lib/otaseal", False),
        ("install -m 644 packaging/otaseal.service /etc/systemd/system/", False),
    ],
)
def test_installing_by_name_is_seen(line: str, refused: bool) -> None:
    assert installs_by_name(line) is refused
