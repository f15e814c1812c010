"""Which board each signed file of a release is for: by the id in its manifest, and by the names given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..image.firmware import Firmware
from ..image.manifest import ANY_BOARD, name_id
from .records import MAX_BOARDS, manifest_of


@dataclass(frozen=True)
class BoardFiles:
    """The signed files for one board: its name, "" where only the manifest has its id."""

    board: str
    files: tuple[Firmware, ...]


def known_names(files: Sequence[Firmware], names: Sequence[str]) -> list[str]:
    """Return those of `names` that are the boards of the signed `files`, by their manifests."""
    ids = {manifest.board for signed in files if (manifest := manifest_of(signed)) is not None}
    return [name for name in dict.fromkeys(names) if name_id(name) in ids]


def by_board(files: Sequence[Firmware], names: Sequence[str]) -> list[BoardFiles]:
    """Return the signed `files` of each board; `names` are the boards' names, in any order, or some of them.

    Raises InputError for files of several boards that do not say which, and for a name without a file.
    """
    names = [name for name in names if name]
    manifests = [manifest_of(signed) for signed in files]
    ids = [None if manifest is None or manifest.board == ANY_BOARD else manifest.board for manifest in manifests]
    if len(set(ids)) < 2 and len(names) < 2:
        return [BoardFiles("".join(names), tuple(files))]
    if None in ids:
        raise InputError(
            "a file of a release for several boards names no board",
            "sign each with its product and board: custom_otaseal_product, or otaseal sign --product --board",
        )
    called = {name_id(name): name for name in names}
    for identity, name in called.items():
        if identity not in ids:
            raise InputError(f"no file is for the board '{name}'", "give one that was signed for it, or leave it out")
    if len(set(ids)) > MAX_BOARDS:
        raise InputError(f"a release for {len(set(ids))} boards", f"{MAX_BOARDS} are the most: make two products")
    return [
        BoardFiles(called.get(one or b"", ""), tuple(f for f, of in zip(files, ids, strict=True) if of == one))
        for one in dict.fromkeys(ids)
    ]
