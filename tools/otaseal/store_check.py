"""Whether a release store is whole: everything in it read and hashed again, and what a kill left behind removed.

`check` changes nothing. `sweep`, for the start of a server, also removes temporary files and writes the audit lines of
changes whose writer was killed before the last step. Damage is reported, never repaired by guessing: a channel whose
release is damaged stays where it points, and its readers get an error (`Store.read_blob`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import files
from .errors import OtasealError
from .pki.disk import locked
from .records import check_product
from .store import AUDIT, BLOBS, MAX_AUDIT_LINE, Store, pointer_event

__all__ = ["Report", "check", "sweep"]


@dataclass(frozen=True)
class Report:
    """What was found: counts, one line for each damage, and what is there without being needed (SHA-256s, names)."""

    releases: int
    channels: int
    blobs: int
    problems: tuple[str, ...]
    orphans: tuple[str, ...]
    temporaries: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Tell whether nothing is damaged; orphans and temporary files are no damage."""
        return not self.problems


def check(store: Store) -> Report:
    """Read every file of the store and hash every blob; raises SystemFaultError when a directory cannot be read."""
    raise NotImplementedError


def sweep(store: Store) -> Report:
    """Remove what a kill left, complete the audit log, and return what `check` found after that."""
    raise NotImplementedError
