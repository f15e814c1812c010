"""What a device runs, told by what it says, and which image or patch of a release is for it (F7, F30b)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..chips.boot_image import FlashMode
from ..chips.families import FAMILY_OF
from ..chips.pico import staging_size
from ..release.records import Release
from .answers import PatchPair
from .request import UpdateRequest


@dataclass(frozen=True)
class Running:
    """What a device runs: the release, and the flash mode of the chip where its sketch MD5 tells it (F7, F30b)."""

    release: Release
    flash_mode: FlashMode | None


def known_images(releases: Iterable[Release]) -> dict[str, Running]:
    """Return all that a device with one of `releases` can report as `UpdateRequest.runs`, and what it tells (F30b).

    That is the image of one board; where several boards say the same, the release with all of them.
    """
    known: dict[str, Running] = {}
    for release in releases:
        own: set[str] = set()
        for image in release.images:
            for mode, name in zip(_modes(image), image.runs, strict=True):
                known[name] = Running(release if name in own else image, mode)
            own.update(image.runs)
    return known


def own_image(request: UpdateRequest, release: Release, known: Mapping[str, Running]) -> Release | None:
    """Return the image in `release` for the board that asks; None where there is none, or nothing tells which.

    The board is that of the image which the device demonstrably runs, else the one that the OtaSeal library says, else
    the only one of its family of chips.
    """
    running = known.get(request.runs or "")
    board = None if running is None or running.release.others else running.release.board_key
    if board is not None or request.board is not None:
        return release.for_board(board or request.board)
    if not release.others:
        return release
    of_family = [image for image in release.images if FAMILY_OF[image.chip].name == request.family]
    return of_family[0] if len(of_family) == 1 else None


def patch_pair(md5: str, running: Running, own: Release) -> PatchPair | None:
    """Return what makes a patch from the image with this sketch MD5 to the image `own`; None where none can be.

    What a patch makes is the raw form, which is for chips of its own flash mode only (F7).
    """
    image = next((image for image in running.release.images if md5 in image.sketch_md5), None)
    raw = own.form("raw")
    if image is None or raw is None or image.chip != own.chip or md5 in own.sketch_md5:
        return None
    if running.flash_mode not in (None, own.flash_mode):
        return None
    if own.filesystem is not None and staging_size(raw.size) > own.filesystem[1]:
        return None  # a gzip may have room there
    return PatchPair(md5, (image.form("raw") or image.forms[0]).blob, raw)


def _modes(release: Release) -> tuple[FlashMode | None, ...]:
    """Return the flash mode that each name of `Release.runs` tells."""
    return tuple(FlashMode) if len(release.runs) == len(FlashMode) else (None,) * len(release.runs)
