"""The files of a project that a rehearsal needs: signed images, filesystem or certificates, flash layout.

The filesystem image is used unless the archive that belongs in it is newer; without either, the certificates are packed
in memory, as the next `uploadfs` would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from .. import files
from ..certs import packing
from ..certs.ar import ARCHIVE_LIMIT
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import InputError, OtasealError
from ..image.firmware import Firmware, read
from ..project.project import Project
from ..settings import Settings
from ..simulator.esp32 import table
from ..simulator.esp32.table import Table
from ..simulator.flash import Layout, layout, parse_layout

LDSCRIPT = "board_build.ldscript"
TABLE, TABLE_MAGIC = "partitions.bin", b"\xaa\x50"
MAX_SCRIPT = 1024 * 1024
SIGNED = (".signed", ".gz.signed")


def built_forms(built: Path) -> tuple[Firmware, ...]:
    """Return the signed files beside the `built` one: raw, and gzip where one is published; InputError for none."""
    paths = [built.with_name(built.name + suffix) for suffix in SIGNED]
    forms = read_forms([path for path in paths if path.is_file()])
    if not forms:
        raise InputError(
            f"there is no '{paths[0].name}' in '{built.parent}'", "build it: pio run, with sign_firmware.py attached"
        )
    return forms


Trust = tuple[Path | None, bytes | None]
"""The image of a filesystem, and the bytes of the archive for who cannot read one; None for what there is not."""


def trust_of(image: Path, data: Path, options: Settings, project: Path, now: datetime) -> Trust:
    """Return what devices of the project trust; a project without certificates has neither."""
    archive = data / packing.ARCHIVE_NAME
    content: bytes | None = None
    if archive.is_file():
        content = files.read_bounded(archive, ARCHIVE_LIMIT, "certificate archive")
    stale = archive.is_file() and image.is_file() and archive.stat().st_mtime > image.stat().st_mtime
    if image.is_file() and not stale:
        return image, content
    if content is None:
        # A project without certificates: what that means is said by the rehearsal
        with suppress(OtasealError):
            content = packing.pack_project(options, data, project, now).archive
    return None, content


def layout_of(project: Project, named: str | None) -> Layout | Table | None:
    """Return what was `named`, else the layout of the project's linker script or the partition table of its build.

    None where there is neither.
    """
    built = read_table(project.firmware.with_name(TABLE)) if named is None else None
    if built is not None:
        return built
    script = named or project.get(LDSCRIPT)
    if script is None:
        return None
    path = project.path(script)
    return read_table(path) or read_script(path) or layout(Path(script).name)


def named_layout(name: str | None) -> Layout | Table | None:
    """Return a layout by its name, or the partition table in the file of that name; None for None."""
    return None if name is None else read_table(Path(name)) or layout(name)


def read_table(path: Path) -> Table | None:
    """Return the partition table in a file as the build makes it, None where there is no such file or something else.

    Raises InputError for one that no device could use.
    """
    if not path.is_file():
        return None
    content = files.read_bounded(path, MAX_SCRIPT, "partition table")
    return table.parse(content) if content.startswith(TABLE_MAGIC) else None


def read_script(path: Path) -> Layout | None:
    """Return the layout in a linker script of its own, None where there is no such file."""
    if not path.is_file():
        return None
    return parse_layout(files.read_bounded(path, MAX_SCRIPT, "linker script").decode("latin-1"), path.name)


def read_forms(paths: Sequence[Path]) -> tuple[Firmware, ...]:
    """Return the signed files at `paths`; one that is not signed can be rehearsed, too."""
    return tuple(read(files.read_bounded(path, MAX_IMAGE_SIZE, "firmware")) for path in paths)
