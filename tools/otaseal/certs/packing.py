"""A project's certificates packed as its options say: files in, the bytes of `data/certs.ar` out.

It reads what `sources` collects and what lies in the data directory, and writes nothing.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from ..errors import InputError
from ..files import read_bounded
from ..settings import Settings
from .certstore import Packed, Policy, pack
from .pem import refuse_private_key
from .sources import FILE_COUNT_LIMIT, FILE_LIMIT, collect

ARCHIVE_NAME = "certs.ar"
"""What the core's examples and the tutorial give to `initCertStore`."""


def pack_project(options: Settings, data: Path, project: Path, now: datetime) -> Packed:
    """Return the archive of the certificates that `options` name, relative to `project`, at the time `now` (aware).

    `data` is the directory that becomes the device's filesystem: a private key anywhere in it is an error, because
    everybody who holds a device can read it. Raises what `collect` and `pack` raise.
    """
    _refuse_keys_in(data)
    return pack(collect(options.ca_certs, project), now, policy(options))


def policy(options: Settings) -> Policy:
    """Return what `options` say about certificates that have expired or that no device can use."""
    return Policy(expired=options.expired_certs, unusable=options.unusable_certs)  # type: ignore[arg-type]


def _refuse_keys_in(data: Path) -> None:
    seen = 0
    # What makes the image follows links to folders, so they are followed here; the limit ends a circle of links.
    for directory, folders, names in os.walk(data, followlinks=True):
        seen += len(folders) + len(names)
        if seen > FILE_COUNT_LIMIT:
            raise InputError(f"'{data}' holds more than {FILE_COUNT_LIMIT} files", "no device has room for them")
        for path in (Path(directory, name) for name in sorted(names)):
            if path.is_file() and path.stat().st_size <= FILE_LIMIT:
                refuse_private_key(str(path), read_bounded(path, FILE_LIMIT, "data file"))
