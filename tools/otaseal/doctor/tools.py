"""The programs and packages that a build, a server and a rehearsal need: which are there, and what lacks one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from ..errors import from_checkout
from ..project import pio
from .report import CheckResult, Subject, advice, ok, problem, warning

OLDEST_PYTHON = (3, 10)
SECONDS = 20
"""How long another Python may take to say whether it has a package."""
PACKAGES = (
    ("cryptography", "nothing works without it", None),
    ("littlefs-python", "rehearse reads the filesystem image with it", "rehearsal"),
    ("uvicorn", "otaseal serve needs it", "server"),
)


def python(subject: Subject) -> Iterator[CheckResult]:
    """Look at the Python that runs this."""
    shown = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield problem(f"Python {shown} is too old", "use Python 3.10 or newer")
    else:
        yield ok(f"Python {shown}")


def packages(subject: Subject) -> Iterator[CheckResult]:
    """Look for the packages that some part needs."""
    present, missing = [], []
    for name, purpose, extra in PACKAGES:
        version = _version(name)
        if version is not None:
            present.append(f"{name} {version}")
        elif extra is None:
            hint = f'"{sys.executable}" -m pip install {name}'
            yield problem(f"the package '{name}' is missing: {purpose}", hint)
        else:
            missing.append((name, purpose, extra))
    yield ok(", ".join(present) or "none of those that are looked for")
    for name, purpose, extra in missing:
        hint = from_checkout(extra, f'"{sys.executable}"')
        yield advice(f"the package '{name}' is missing: {purpose}", hint)


def platformio(subject: Subject) -> Iterator[CheckResult]:
    """Look for PlatformIO, and ask the Python that runs it whether it can sign."""
    program = pio.program()
    version = _version("platformio")
    if program is None:
        if version is None:
            yield warning("PlatformIO was not found", "install it, or put 'pio' on the PATH")
        else:
            yield ok(f"PlatformIO {version}, as a package of this Python")
        return
    interpreter = pio.interpreter()
    if interpreter is None or Path(interpreter).resolve() == Path(sys.executable).resolve():
        yield ok(f"PlatformIO {version or 'of unknown version'}: {program}")
    elif _can_sign(interpreter):
        yield ok(f"{program}; its Python has cryptography")
    else:
        yield problem(
            "the Python that runs PlatformIO lacks the package 'cryptography'",
            f'"{interpreter}" -m pip install cryptography',
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _can_sign(interpreter: str) -> bool:
    try:
        completed = subprocess.run(
            [interpreter, "-c", "import cryptography"], capture_output=True, check=False, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return completed.returncode == 0
