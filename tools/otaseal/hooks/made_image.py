"""What a device finds in the filesystem image that was made, and how much room there was for it.

The partition is read from the build's own variables, which the platform fills from its linker script or table. The tool
that made the image is not asked: newer ones read what the core does not mount (F15b).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..errors import ConfigError, InputError
from . import build, platforms

LITTLEFS, SPIFFS, FAT = "littlefs", "spiffs", "fatfs"
INLINE_LIMIT = 1022
"""Bytes of a file that LittleFS may keep without a block of its own, at the most."""


@dataclass(frozen=True)
class Partition:
    """The filesystem of a device: its kind, its sizes in bytes, and the platform that builds for the device."""

    kind: str
    size: int
    block: int
    page: int
    platform: platforms.Platform


def partition(env: build.Env) -> Partition:
    """Return the partition that the platform's builder describes; raises ConfigError where it describes none."""
    platform = platforms.of(env)
    kind = build.filesystem(env)
    try:
        start, block, page = (int(env[name]) for name in ("FS_START", "FS_BLOCK", "FS_PAGE"))
        size = int(env["FS_SIZE"] if platform is platforms.ESP32 else env["FS_END"] - start)
    except KeyError as error:
        raise ConfigError(
            f"the platform does not say how large the filesystem is: it sets no {error}",
            f"use platform {platform.release} or newer",
        ) from error
    kinds = (LITTLEFS, SPIFFS, FAT) if platform is platforms.ESP32 else (LITTLEFS, SPIFFS)
    if kind not in kinds or size <= 0:
        raise ConfigError(
            f"there is no filesystem to put certificates into: {size} bytes of '{kind}'",
            f"set {platform.room}" if kind in kinds else "set board_build.filesystem = littlefs",
        )
    return Partition(kind, size, block, page, platform)


def archive_in(image: Path, where: Partition) -> bytes | None:
    """Return the archive of certificates as the device would read it in `image`, None where there is none.

    Raises InputError, naming the file, where a device would not mount it or could not read the archive.
    """
    from ..certs.packing import ARCHIVE_NAME
    from ..image import fat, littlefs, spiffs

    cores = {
        platforms.ESP8266.name: littlefs.ESP8266,
        platforms.PICO.name: littlefs.PICO,
        platforms.ESP32.name: littlefs.ESP32,
    }
    # Of a shorter image the rest of the partition is as it was, which counts as erased.
    content = files.read_bounded(image, where.size, "filesystem image").ljust(where.size, b"\xff")
    try:
        if where.kind == LITTLEFS:
            core = cores[where.platform.name]
            return littlefs.read_file(content, ARCHIVE_NAME, where.block, where.size // where.block, core)
        if where.kind == FAT:
            return fat.read_file(content, ARCHIVE_NAME)
        configured = spiffs.ESP32 if where.platform is platforms.ESP32 else spiffs.ESP8266
        return spiffs.read_file(content, "/" + ARCHIVE_NAME, where.page, where.block, configured)
    except InputError as error:
        raise InputError(f"no device could use '{image.name}': {error.message}", error.hint) from error


def refuse_without(image: Path, archive: bytes, where: Partition) -> None:
    """Raise InputError unless a device would find the bytes of `archive` in `image`."""
    from ..certs.packing import ARCHIVE_NAME

    stored = archive_in(image, where)
    if stored == archive:
        return
    what = "has no" if stored is None else "holds another"
    raise InputError(
        f"'{image.name}' {what} '{ARCHIVE_NAME}': it must hold the {len(archive)} bytes that the certificates make now",
        "leave 'nobuild' out; if it was, a script changes the data or the image after the certificates are packed, "
        "or the tool that makes the image left files out (see above)",
    )


def least_size(data: Path, where: Partition) -> int:
    """Return how many bytes the files below `data` need in the filesystem, however well the tool packs them."""
    sizes = [
        path.stat().st_size
        for directory, _, names in os.walk(data, followlinks=True)
        for path in (Path(directory, name) for name in names)
        if path.is_file()
    ]
    if where.kind == LITTLEFS:  # two blocks for the root, and whole blocks for all but the smallest files
        return where.block * (2 + sum(-(-size // where.block) for size in sizes if size > INLINE_LIMIT))
    return sum(sizes)


def refuse_overfull(data: Path, where: Partition) -> None:
    """Raise InputError, with the sizes, if the files below `data` cannot fit, however well the tool packs them."""
    needed = least_size(data, where)
    if needed > where.size:
        raise InputError(
            f"the files in '{data.name}' need at least {needed} bytes, and the filesystem has {where.size} "
            f"({where.size // where.block} blocks of {where.block})",
            f"ship fewer certificates or files, or choose {where.platform.room}",
        )
