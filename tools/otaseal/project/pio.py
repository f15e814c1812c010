"""Where PlatformIO is installed: the program `pio`, and the Python that runs it.

That Python is often another one than ours: the IDE's, that of pipx. It is found as a person would find it: `pio` on the
PATH, beside our own Python, in the IDE's place; and a Python that has the package `platformio` will do without `pio`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import sys
from pathlib import Path

_SHEBANG = re.compile(rb"#!\s*(/[^\s]+)\s*$")


def program() -> Path | None:
    """Return the program `pio`, None where none was found."""
    on_path = shutil.which("pio") or shutil.which("platformio")
    if on_path:
        return Path(on_path)
    folders = [Path(sys.executable).parent]
    with contextlib.suppress(RuntimeError):  # a user without a home has no IDE there
        folders += [Path.home() / ".platformio" / "penv" / name for name in ("bin", "Scripts")]
    candidates = (folder / name for folder in folders for name in ("pio", "pio.exe"))
    return next((path for path in candidates if path.is_file()), None)


def interpreter() -> str | None:
    """Return the Python that runs PlatformIO, None where none is known."""
    pio = program()
    python = None if pio is None else _python_of(pio)
    if python is None and importlib.util.find_spec("platformio") is not None:
        return sys.executable
    return python


def _python_of(script: Path) -> str | None:
    """Return the Python in the first line of a console script; on Windows it stands beside the program."""
    beside = script.with_name("python.exe")
    if beside.is_file():
        return str(beside)
    try:
        with script.open("rb") as file:
            match = _SHEBANG.match(file.readline(1024).rstrip(b"\n"))
    except OSError:
        return None
    return match[1].decode("utf-8", "replace") if match and b"python" in match[1] else None
