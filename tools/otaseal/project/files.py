"""The files of a PlatformIO project: platformio.ini, and all that it reads with `extra_configs`.

They are found in the places and in the order in which PlatformIO finds them; `config` reads them.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Mapping
from pathlib import Path

from .. import files
from ..errors import InputError
from .config import INI_NAME, ProjectContext, Reading, entries, unreadable
from .ini import MAX_SIZE

__all__ = ["read", "surroundings"]

MAX_FILES = 1000
"""More files than any project has: large ones have some two hundred."""


def surroundings(folder: Path, variables: Mapping[str, str]) -> ProjectContext:
    """Return what the files of the project in `folder` refer to."""
    place = folder.resolve()

    def absolute(text: str) -> str:
        return os.path.abspath(files.resolve_path(text, place))  # noqa: PTH100 - links stay, as in a build

    return ProjectContext(str(place), place.name, variables, int(time.time()), absolute)


def read(folder: Path, variables: Mapping[str, str]) -> Reading:
    """Return the project in `folder`; raises InputError where there is none, or PlatformIO could not read it."""
    if not (folder / INI_NAME).is_file():
        raise InputError(f"'{folder}' is not a PlatformIO project", "name the folder of platformio.ini with --project")
    reading = Reading(surroundings(folder, variables))
    _add(reading, folder, INI_NAME, set())
    return reading


def _add(reading: Reading, folder: Path, name: str, done: set[str]) -> None:
    """Add the file `name`, and those that it makes PlatformIO read then, in that order."""
    if name in done:
        return
    done.add(name)
    if len(done) > MAX_FILES:
        raise unreadable(INI_NAME, f"extra_configs names more than {MAX_FILES} files")
    try:
        reading.add(name, files.read_bounded(folder / name, MAX_SIZE, "project").decode())
    except UnicodeDecodeError as error:
        raise unreadable(name, "it is not UTF-8") from error
    for pattern in entries(reading.get("platformio", "extra_configs") or ""):
        for found in glob.glob(str(files.resolve_path(pattern, Path())), root_dir=folder, recursive=True):  # noqa: PTH207 - no hidden ones
            if (folder / found).is_file():
                _add(reading, folder, found, done)
