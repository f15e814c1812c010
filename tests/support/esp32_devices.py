"""An ESP32 with the library, as these tests make it: its firmware, and the certificates that it trusts."""

from __future__ import annotations

import hashlib
import re
import ssl
import struct
import time
from dataclasses import replace
from pathlib import Path

from support import other_images
from support.firmware import OWN, identity, pack, run_program
from support.servers import World

REVISION_AT, HASH = 15, 32
NOW = int(time.time())


def build_image(chip: int = other_images.ESP32, *, seed: int = 0, revision: int = 0, more: bytes = b"") -> bytes:
    """Return an application with the library in it that needs this revision of the chip (major * 100 + minor).

    `more` are further constants.
    """
    own = identity(replace(OWN, version=""))
    raw = other_images.esp32_image(chip, constants=own + struct.pack("<I", seed) + more)
    raw = raw[:REVISION_AT] + struct.pack("<H", revision) + raw[REVISION_AT + 2 : -HASH]
    return raw + hashlib.sha256(raw).digest()


RAW = build_image()


def own_archive(world: World, *more: bytes) -> bytes:
    """Return the archive of the world's own authority, and `more`."""
    return pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text()), *more)


def matrix(
    programs: dict[str, Path], folder: Path, what: str, files: dict[str, bytes], *rest: str | Path
) -> dict[str, int]:
    """Return what the program `matrix` counted of `what` with these files, which it finds in `folder`."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    printed = run_program(programs["matrix"], what, *(folder / name for name in files), *rest)
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", printed)}
