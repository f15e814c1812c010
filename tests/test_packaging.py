"""What is shipped and with what it is judged: the wheel, the pinned linters, the workflows, the index of decisions."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from support import peers

ROOT = Path(__file__).resolve().parent.parent
ADR = ROOT / "docs" / "adr"
SHIPPED = {"tools/otaseal": "otaseal", "extra_scripts": "otaseal/extra_scripts", "firmware": "otaseal/firmware"}


def tracked(*places: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *places], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name]


def config(section: str, option: str) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return [line for line in parser[section][option].splitlines() if line]


def _setuptools() -> tuple[int, ...]:
    """Return the version, () where there is none; those before 70.1 need another package to make a wheel."""
    try:
        return tuple(int(part) for part in metadata.version("setuptools").split(".")[:2])
    except metadata.PackageNotFoundError:
        return ()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the names in the wheel that is made of what git has."""
    peers.require("setuptools 70.1", _setuptools() >= (70, 1), "none: pip install 'setuptools>=70.1'")
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    code = "from setuptools import build_meta; build_meta.build_wheel('made')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "made").glob("*.whl")
    return zipfile.ZipFile(made).namelist()


def test_the_wheel_has_every_file_and_says_that_it_is_typed(wheel: list[str]) -> None:
    assert "otaseal/py.typed" in wheel
    wanted = {
        f"{inside}{name.removeprefix(place)}" for place, inside in SHIPPED.items() for name in tracked(f"{place}/**")
    }
    assert len(wanted) > 200
    assert not wanted - set(wheel)


def test_nothing_else_is_in_the_wheel(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if not name.startswith("otaseal-")} == {"otaseal"}


def test_before_a_commit_the_same_linters_judge_as_in_ci() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    named = {
        name.strip() for found in re.findall(r"additional_dependencies: \[(.*)\]", text) for name in found.split(",")
    }
    pinned = {name for name in named if "==" in name}
    assert {name.partition("==")[0] for name in pinned} >= {"ruff", "mypy", "check-jsonschema", "zizmor"}
    assert not named - set(config("testenv:lint", "deps"))
    assert all(
        "==" in name for name in config("testenv:lint", "deps") if re.match("mypy|ruff|zizmor|import-linter", name)
    )


def test_ci_looks_at_every_workflow() -> None:
    commands = " ".join(config("testenv:lint", "commands"))
    assert "zizmor --offline" in commands
    workflows = tracked(".github/workflows")
    assert len(workflows) >= 2
    assert not [name for name in workflows if name not in commands]


POSIX = re.compile(
    r"os\.(fork|kill|mkfifo|geteuid|getuid|wait)|symlink_to|SIGKILL|SIGINT|chmod\(|support\.(terminal|kills)|[\"'](/dev|/proc)"
)


def test_what_is_tested_on_windows_wants_no_posix() -> None:
    files = re.findall(r"tests/\S+?(?=[ \\}]|$)", " ".join(config("testenv:portable", "commands")))
    assert {"tests/image", "tests/cli/test_certs.py", "tests/test_portability.py"} <= set(files)
    assert {file.split("/")[1] for file in files} >= {"build", "cli", "keys", "release"}
    for name in files:
        found = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).glob("test_*.py"))
        assert found, name
        for path in found:
            lines = path.read_text(encoding="utf-8").splitlines()
            assert path.name == "test_portability.py" or not [line for line in lines if POSIX.search(line)], path


def test_every_decision_is_in_the_index() -> None:
    """By its number, its title as in its own first line, and its status."""
    index = (ADR / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \| (.+?) \|$", index, re.M)
    wanted = []
    for path in sorted(ADR.glob("0*.md")):
        first, _, body = path.read_text(encoding="utf-8").partition("\n")
        title = re.sub(r"^# \d+[:.] ", "", first)
        status = re.search(r"^Status: ([^;\n]+)", body, re.M)
        assert status is not None, path.name
        wanted.append((path.name[:4], path.name, title, status[1]))
    assert found == wanted
