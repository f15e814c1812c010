"""The command `otaseal`: run in this process for speed, or as people run it where streams and signals matter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otaseal import cli
from support import warm_start
from support.serving import TOOLS, warm


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def failed(self, code: int, message: str) -> Result:
        """Assert that it failed with `code` in two lines that say `message`, behind warnings at most; return it."""
        assert self.code == code, (self.code, self.err)
        *warnings, error = self.err.splitlines()
        if error.startswith("{"):  # with --json
            said = json.loads(error)
            assert set(said) == {"error", "hint"}, self.err
            error = said["error"]
        else:
            hint, error = error, warnings.pop()
            assert error.startswith("otaseal: error: "), self.err
            assert hint.startswith("otaseal: hint: "), self.err
        assert message in error
        assert all(line.startswith("otaseal: ") and ": hint: " not in line for line in warnings)
        assert "Traceback" not in self.err
        return self

    def succeeded(self) -> Result:
        assert self.code == 0, self.err
        return self


Command = Callable[..., Result]


@pytest.fixture
def otaseal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs the command in `tmp_path`, in this process, without the caller's variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OTASEAL_") and name != "OTASEAL_REQUIRE_PEERS"]:
        monkeypatch.delenv(name)

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def process(*arguments: str | Path, cwd: Path, **environment: str) -> Result:
    """Run the command as a process of its own, with no terminal; it starts warm unless its Python is told something."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTASEAL_")}
    starts_warm = warm_start.AVAILABLE and not any(name.startswith("PYTHON") for name in environment)
    command = warm_start.command(warm()) if starts_warm else [sys.executable, "-m", "otaseal"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(TOOLS), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def take_interrupts() -> None:
    """What a shell has started in the background ignores them, and so does all that it starts; for `preexec_fn`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
