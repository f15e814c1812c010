"""What an otaseal of before has left in `tests/compatibility`."""

from __future__ import annotations

import tarfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "compatibility"


def unpack(name: str, folder: Path) -> None:
    """Unpack an archive there into `folder`; before Python 3.12 not all have the filter, and it is our own archive."""
    with tarfile.open(FOLDER / name) as tar:
        for member in tar:
            tar.extract(member, folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def names(kind: str) -> list[str]:
    """Return the archives of a `kind`: store, library."""
    return sorted(path.name for path in FOLDER.glob(f"{kind}-*.tar.xz"))
