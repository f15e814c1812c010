"""Makes a store's directory whole or not at all: beside where it will be, then moved there in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..errors import InputError, SystemFaultError


@contextlib.contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Yield a path where nothing is yet, which becomes `directory`, missing or empty until then, when all went well.

    Raises InputError where there is something in `directory`, SystemFaultError.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"'{directory}' is not empty", "name a directory that does not exist yet")
    directory = directory.absolute()
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".restoring", dir=directory.parent))
        try:
            yield staging / "store"
            os.replace(staging / "store", directory)  # noqa: PTH105 - over an empty directory too, as rename(2) does
            files.sync_directory(directory.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise SystemFaultError(f"'{directory}' cannot be made: {error.strerror}", "check the disk") from error
