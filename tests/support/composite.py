"""Runs a composite action as GitHub's runner does: each step's script by `bash --noprofile --norc -eo pipefail`.

Expressions are those that the action has: an input, an output of a step, whether an input is "yes". Another one fails.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
_YES = re.compile(r"inputs\.([\w-]+) == 'yes'")
_EITHER = re.compile(r"inputs\.([\w-]+) == 'yes' && inputs\.([\w-]+) \|\| ''")
SECONDS = 300


@dataclass
class Finished:
    """What came of the steps by name: exit code and output of each that ran; the step summary."""

    codes: dict[str, int] = field(default_factory=dict)
    output: str = ""
    summary: str = ""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """What steps have set, by their ids."""

    @property
    def failed(self) -> str | None:
        """The step that failed, with which the action ends."""
        return next((name for name, code in self.codes.items() if code), None)


class Action:
    """The action in `folder`/action.yml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.document: dict[str, Any] = yaml.safe_load((folder / "action.yml").read_text(encoding="utf-8"))

    def run(
        self,
        workspace: Path,
        temporary: Path,
        environment: Mapping[str, str],
        inputs: Mapping[str, str],
        only: int | None = None,
    ) -> Finished:
        """Run the steps, or the first `only` of them, in `workspace` until one fails, with this environment alone."""
        declared = self.document["inputs"]
        assert set(inputs) <= set(declared), "an input that is not declared"
        values = {name: str(about["default"]) for name, about in declared.items()} | dict(inputs)
        finished = Finished()
        outputs = finished.outputs
        summary = temporary / "summary.md"
        summary.touch()
        for number, step in enumerate(self.document["runs"]["steps"][:only]):
            if "if" in step and not _evaluated(step["if"], values, outputs):
                continue
            assert step["shell"] == "bash"
            assert "${{" not in step["run"], "an expression in a script is how others' words get to be run"
            script, written = temporary / f"{number}.sh", temporary / f"{number}.out"
            script.write_text(step["run"], encoding="utf-8")
            written.touch()
            given = {name: _evaluated(str(text), values, outputs) for name, text in step.get("env", {}).items()}
            runner = {
                "RUNNER_TEMP": str(temporary),
                "GITHUB_ACTION_PATH": str(self.folder),
                "GITHUB_OUTPUT": str(written),
                "GITHUB_STEP_SUMMARY": str(summary),
            }
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
                cwd=workspace,
                env={**environment, **runner, **given},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
            finished.codes[step["name"]] = done.returncode
            finished.output += done.stdout + done.stderr
            if done.returncode:
                break
            outputs[step.get("id", "")] = _set_in(written.read_bytes().decode())
        finished.summary = summary.read_text(encoding="utf-8")
        return finished


def _set_in(text: str) -> dict[str, str]:
    """Return what a file of outputs sets, as the runner reads it: name=value, or several lines up to a delimiter."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        name, sign, value = re.split("(=|<<)", line, maxsplit=1) if re.search("=|<<", line) else (line, "", "")
        if sign == "<<":
            value = "\n".join(iter(partial(next, lines), value))
        assert sign or not line, f"'{line}' sets nothing"
        if sign:
            found[name] = value
    return found


def _evaluated(text: str, inputs: Mapping[str, str], outputs: Mapping[str, Mapping[str, str]]) -> str:
    def value(expression: re.Match[str]) -> str:
        said = expression[1]
        if match := _YES.fullmatch(said):
            return "true" if inputs[match[1]] == "yes" else ""
        if match := _EITHER.fullmatch(said):
            return inputs[match[2]] if inputs[match[1]] == "yes" else ""
        kind, _, name = said.partition(".")
        if kind == "inputs":
            return inputs[name]
        assert kind == "steps", said
        step, _, output = name.partition(".outputs.")
        return outputs[step][output]

    return _EXPRESSION.sub(value, text)
