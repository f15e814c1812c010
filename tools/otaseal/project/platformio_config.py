"""PlatformIO itself asked what a project says: in a process of its own, by the Python that runs `pio`.

That Python is often another one than ours: the IDE's, that of pipx. It is found as a person would find it: `pio` on the
PATH, beside our own Python, in the IDE's place; and a Python that has the package `platformio` will do without `pio`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import one_line
from .config import INI_NAME, unreadable

__all__ = ["Answer", "ask", "interpreter", "program"]

SECONDS = 30
"""How long it may take to read; it takes a tenth of one."""
DIRECTORIES = ("workspace_dir", "build_dir", "data_dir", "src_dir", "include_dir", "lib_dir")
_SHEBANG = re.compile(rb"#!\s*(/[^\s]+)\s*$")
_ASK = """
import json, os, sys
sys.path = [one for one in sys.path if one]  # never a module that lies in the project
os.chdir(sys.argv[1])
from platformio.project.config import ProjectConfig
try:
    config = ProjectConfig(os.path.join(os.getcwd(), "platformio.ini"))
    chosen = sys.argv[2] or config.get_default_env()
    known = config.envs()
    said = {
        "environments": known,
        "chosen": chosen,
        "options": config.items(env=chosen, as_dict=True) if chosen in known else {},
        "directories": {name: config.get("platformio", name) for name in sys.argv[3:]},
    }
except Exception as error:
    said = {"error": str(error) or type(error).__name__}
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Answer:
    """What PlatformIO says for the environment `name`, which may be None or no environment that it has."""

    environments: tuple[str, ...]
    name: str | None
    options: Mapping[str, str] = field(repr=False)
    directories: Mapping[str, str] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The options that are set."""
        return tuple(self.options)

    def get(self, option: str) -> str | None:
        """Return an option of the environment, None if it is unset; the entries of a list are lines."""
        return self.options.get(option)

    def platformio(self, option: str) -> str | None:
        """Return one of DIRECTORIES of the section [platformio]."""
        return self.directories[option]


def ask(folder: Path, environment: str | None, variables: Mapping[str, str]) -> Answer | None:
    """Return what PlatformIO reads for an environment, its default one for None; None where it is not installed.

    Raises InputError for what PlatformIO refuses.
    """
    python = interpreter()
    if python is None:
        return None
    command = [python, "-c", _ASK, str(folder), environment or "", *DIRECTORIES]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=SECONDS, env=dict(variables))
        said: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # a Python without PlatformIO, after all: there is another way
    if "error" in said:
        raise unreadable(INI_NAME, one_line(said["error"]))
    options = {name: _text(value) for name, value in said["options"].items() if value is not None}
    directories = {name: _text(value) for name, value in said["directories"].items() if value is not None}
    return Answer(tuple(said["environments"]), said["chosen"], options, directories)


def program() -> Path | None:
    """Return the program `pio`, None where none was found."""
    names = ("pio", "platformio")
    found = next((Path(path) for name in names if (path := shutil.which(name))), None)
    return found or next((place for place in _places() if place.is_file()), None)


def interpreter() -> str | None:
    """Return the Python that runs PlatformIO, None where none is known."""
    found = program()
    python = None if found is None else _first_line(found)
    if python is None and importlib.util.find_spec("platformio") is not None:
        return sys.executable
    return python


def _places() -> Iterator[Path]:
    folders = [Path(sys.executable).parent]
    with contextlib.suppress(RuntimeError):  # a user without a home has no IDE there
        folders += [Path.home() / ".platformio" / "penv" / name for name in ("bin", "Scripts")]
    return (folder / name for folder in folders for name in ("pio", "pio.exe"))


def _first_line(path: Path) -> str | None:
    """Return the Python in the first line of a console script; on Windows it stands beside the program."""
    beside = path.with_name("python.exe")
    if beside.is_file():
        return str(beside)
    try:
        with path.open("rb") as file:
            match = _SHEBANG.match(file.readline(1024).rstrip(b"\n"))
    except OSError:
        return None
    return match[1].decode("utf-8", "replace") if match and b"python" in match[1] else None


def _text(value: Any) -> str:
    return ("\n".join(map(str, value)) if isinstance(value, list) else str(value)).strip()
