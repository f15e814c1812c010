"""The images of a release for several boards, kept from the build of one environment until that of the last one.

One file an environment, in the project's workspace. What is of another product, version or commit is no part of it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import files, formats
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import LaterFormatError

FORMAT = 1
MAX_ENTRY_BYTES = 3 * MAX_IMAGE_SIZE
"""Of one environment: two forms of its image, in base64."""


@dataclass(frozen=True)
class Entry:
    """The signed `files` that an environment built for its `board` at the time `built`, and how they were rehearsed."""

    environment: str
    board: str
    built: str
    rehearsal: str
    files: tuple[bytes, ...]


@dataclass(frozen=True)
class Draft:
    """The entries in `folder` for one `release`: what all images have in common, such as product and version."""

    folder: Path
    release: Sequence[str]

    def put(self, entry: Entry) -> None:
        """Keep an entry, in the place of its environment's last one; raises LaterFormatError, SystemFaultError."""
        path = self._path(entry.environment)
        if path.is_file():
            _read(path)
        values = {
            "format": FORMAT,
            "release": list(self.release),
            "board": entry.board,
            "built": entry.built,
            "rehearsal": entry.rehearsal,
            "files": [base64.b64encode(data).decode() for data in entry.files],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, json.dumps(values).encode())

    def get(self, environment: str) -> Entry | None:
        """Return what an environment made for this release, None if nothing; what is damaged is nothing.

        Raises LaterFormatError, SystemFaultError.
        """
        path = self._path(environment)
        if not path.is_file():
            return None
        try:
            values: Any = json.loads(_read(path))
            texts = (values["board"], values["built"], values["rehearsal"])
            if values["release"] != list(self.release) or not all(isinstance(text, str) for text in texts):
                return None
            built = tuple(base64.b64decode(data, validate=True) for data in values["files"])
            return Entry(environment, *texts, built) if all(built) and built else None
        except (ValueError, RecursionError, KeyError, TypeError):
            return None

    def clear(self) -> None:
        """Remove the entries of all releases, but not those of a later otaseal; raises SystemFaultError."""
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(LaterFormatError):
                _read(path)
                files.remove(path)

    def _path(self, environment: str) -> Path:
        return self.folder / f"{quote(environment, safe='')}.json"


def _read(path: Path) -> bytes:
    """Return what is in an entry's file; raises LaterFormatError: nothing but a later otaseal may change it then."""
    data = files.read_bounded(path, MAX_ENTRY_BYTES, "draft")
    formats.refuse_later(formats.format_of(data), FORMAT, f"the draft '{path}'")
    return data
