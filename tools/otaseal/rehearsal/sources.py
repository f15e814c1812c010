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
from ..simulator.flash import Layout, layout, parse_layout

LDSCRIPT = "board_build.ldscript"
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


def layout_of(project: Project, named: str | None) -> Layout | None:
    """Return the layout that was `named`, else that of the project's linker script, None where nothing names one."""
    script = named or project.get(LDSCRIPT)
    return None if script is None else read_script(project.path(script)) or layout(Path(script).name)


def read_script(path: Path) -> Layout | None:
    """Return the layout in a linker script of its own, None where there is no such file."""
    if not path.is_file():
        return None
    return parse_layout(files.read_bounded(path, MAX_SCRIPT, "linker script").decode("latin-1"), path.name)


def read_forms(paths: Sequence[Path]) -> tuple[Firmware, ...]:
    """Return the signed files at `paths`; one that is not signed can be rehearsed, too."""
    return tuple(read(files.read_bounded(path, MAX_IMAGE_SIZE, "firmware")) for path in paths)
