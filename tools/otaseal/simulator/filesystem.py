"""The LittleFS partition as the core mounts it, on the littlefs code that everybody uses (littlefs-python).

The ESP8266 core's own copy knows disk version 2.0, names of 32 bytes and the geometry of its linker script, and nothing
else (F15b); arduino-pico's knows 2.1 and names of 255. What does not mount is formatted, unless the sketch switched
that off, and the certificates are gone (F15).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SystemFaultError, from_checkout
from .flash import DiskFormat, Layout

if TYPE_CHECKING:
    from littlefs import LittleFS

MAX_FILE = 1 << 20  # of what is read here: certificates, records
BLOCK_CYCLES = 16  # after so many erases both cores move a block of metadata


@dataclass(frozen=True)
class Filesystem:
    """The result of a mount: `reason` and `fact` of a failed one, else ""; `formatted`: all files are lost."""

    flash: bytes
    mounted: bool
    formatted: bool = False
    reason: str = ""
    fact: str = ""


def mount(flash: bytes, layout: Layout, *, auto_format: bool = True) -> Filesystem:
    """Return the chip after `LittleFS.begin()`; raises SystemFaultError where littlefs-python is missing."""
    if not layout.fs_size:
        return Filesystem(flash, False, reason=f"layout {layout.name} has no filesystem", fact="F15")
    image = flash[layout.fs_start : layout.fs_end]
    if mounted(image, layout) is not None:
        return Filesystem(flash, True)
    reason, fact = _why_not(image, layout)
    if not auto_format:
        return Filesystem(flash, False, reason=reason, fact=fact)
    empty = _make(layout, layout.disk)
    formatted = flash[: layout.fs_start] + bytes(empty.context.buffer) + flash[layout.fs_end :]
    return Filesystem(formatted, True, True, f"{reason}: the core formats it, and all files are gone", fact)


def read_file(flash: bytes, layout: Layout, name: str) -> bytes | None:
    """Return a file of the filesystem, None where it is not there or is over 1 MiB; what does not mount has none."""
    filesystem = mounted(flash[layout.fs_start : layout.fs_end], layout) if layout.fs_size else None
    if filesystem is None:
        return None
    from littlefs import LittleFSError

    try:
        with filesystem.open(name, "rb") as file:
            content: bytes = file.read(MAX_FILE + 1)
    except (LittleFSError, OSError):
        return None
    return content if len(content) <= MAX_FILE else None


def write_file(flash: bytes, layout: Layout, name: str, content: bytes) -> bytes | None:
    """Return the chip with that file written, None where it does not mount or has no room."""
    filesystem = mounted(flash[layout.fs_start : layout.fs_end], layout) if layout.fs_size else None
    if filesystem is None:
        return None
    from littlefs import LittleFSError

    try:
        with filesystem.open(name, "wb") as file:
            file.write(content)
    except (LittleFSError, OSError):
        return None
    return flash[: layout.fs_start] + bytes(filesystem.context.buffer) + flash[layout.fs_end :]


def _library() -> Any:
    try:
        import littlefs
    except ImportError as error:
        raise SystemFaultError(
            "the rehearsal needs 'littlefs-python' to read a filesystem", from_checkout("rehearsal")
        ) from error
    return littlefs


def _make(layout: Layout, disk: DiskFormat, *, mounts: bool = True, blocks: int | None = None) -> LittleFS:
    filesystem: LittleFS = _library().LittleFS(
        mount=mounts,
        block_size=layout.block,
        block_count=layout.fs_size // layout.block if blocks is None else blocks,
        read_size=disk.unit,
        prog_size=disk.unit,
        cache_size=disk.unit,
        lookahead_size=disk.unit,
        block_cycles=BLOCK_CYCLES,
        name_max=disk.name_max,
        disk_version=disk.version,
    )
    return filesystem


def mounted(image: bytes, layout: Layout, disk: DiskFormat | None = None, blocks: int | None = None) -> LittleFS | None:
    """Return the filesystem in `image`, over a copy of it (`context.buffer`), None where it does not mount.

    It is mounted as the layout's core does; `disk` and a number of `blocks` ask for something else, 0 for anything.
    """
    filesystem = _make(layout, disk or layout.disk, mounts=False, blocks=blocks)
    filesystem.context.buffer = bytearray(image)
    try:
        filesystem.mount()
    except _library().LittleFSError:
        return None
    return filesystem


def _why_not(image: bytes, layout: Layout) -> tuple[str, str]:
    """Return what is wrong with an image that the core does not mount, found by allowing more than the core does."""
    if not image.strip(b"\xff"):
        return "the filesystem was never written", "F15"
    core = layout.disk
    newest = mounted(image, layout, DiskFormat(0, 0, core.unit), 0)
    if newest is None:
        return "there is no LittleFS where the filesystem begins (SPIFFS, or another block size)", "F15"
    stat = newest.fs_stat()
    if stat.disk_version > core.version:
        version, newest_known = (f"{word >> 16}.{word & 0xFFFF}" for word in (stat.disk_version, core.version))
        return f"the filesystem has disk version {version}, the core mounts {newest_known} at most", "F15b"
    if stat.block_count != layout.fs_size // layout.block:
        wanted = layout.fs_size // layout.block
        return f"the filesystem has {stat.block_count} blocks, the partition {wanted}", "F15b"
    return f"the filesystem allows names of {stat.name_max} bytes, the core {core.name_max}", "F15b"
