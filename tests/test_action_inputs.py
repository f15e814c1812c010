"""Inputs of the GitHub Action: whatever stands in one, it sets no output of a step but its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.command import TOOLS
from support.composite import Action, Finished

ROOT = TOOLS.parent
CHOOSE = "Choose the key and the environments"
GIVEN = {"python": sys.executable, "signing-key-uri": "file:release.key", "environments": "nodemcuv2"}
EVIL = "command:touch injected"


def choose(folder: Path, **inputs: str) -> Finished:
    """Run the steps that write outputs."""
    given = {**GIVEN, **{name.replace("_", "-"): value for name, value in inputs.items()}}
    return Action(ROOT).run(folder, folder, {"PATH": "/usr/bin:/bin"}, given, only=2)


def test_outputs_are_the_inputs(tmp_path: Path) -> None:
    done = choose(tmp_path)
    assert done.failed is None, done.output
    assert done.outputs["install"] == {"python": sys.executable}
    assert done.outputs["choose"] == {"uri": "file:release.key", "public": "", "environments": "nodemcuv2"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("name", "failed"), [("python", "Install otaseal and PlatformIO"), ("signing_key_uri", CHOOSE)]
)
def test_a_line_break_is_refused(tmp_path: Path, name: str, failed: str, end: str) -> None:
    for value in (f"file:x{end}uri={EVIL}", f"file:x{end}", f"{end}public<<END{end}x{end}END"):
        done = choose(tmp_path, **{name: value})
        assert done.failed == failed, (value, done.outputs)
        assert f"::error::{name.replace('_', '-')} has several lines" in done.output
        assert EVIL not in str(done.outputs)


def test_environments_may_stand_on_lines_of_their_own(tmp_path: Path) -> None:
    done = choose(tmp_path, environments=f"nodemcuv2\r\nesp32\n\turi={EVIL}\n")
    assert done.failed is None, done.output
    assert set(done.outputs["choose"]) == {"uri", "public", "environments"}
    assert done.outputs["choose"]["uri"] == "file:release.key"
    assert done.outputs["choose"]["environments"].split() == ["nodemcuv2", "esp32", *f"uri={EVIL}".split()]


def test_no_script_has_an_expression_in_it_and_none_writes_a_variable_of_later_steps() -> None:
    for step in Action(ROOT).document["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert "uses" not in step
        assert "GITHUB_ENV" not in step["run"]
        assert "GITHUB_PATH" not in step["run"]
