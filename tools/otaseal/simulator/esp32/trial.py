"""An update on trial, as the OtaSeal library has it (trial_esp32.cpp): its note in NVS, and what becomes of otadata."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..library import LibraryError
from . import boot, otadata
from .chip import Chip
from .image import check
from .nor import Flash
from .otadata import State
from .table import Partition, Table

STARTS = 5
SECONDS = 24 * 3600
"""The library's limits, where the sketch sets no others: starts, and the length of one of them."""
_GIVEN_UP = (State.PENDING, State.ABORTED)


@dataclass(frozen=True)
class Note:
    """What the library remembers of the update that it installed last, until that is confirmed.

    It is in `slot`, and what installed it in the one `before`; `reason` is the error for which it gave way, or 0.
    """

    slot: Partition
    before: Partition
    starts: int = 0
    reason: int = 0


@dataclass(frozen=True)
class Board:
    """What the library works on: what is in `flash`, and the slot that runs."""

    flash: Flash
    table: Table
    chip: Chip
    running: Partition


def begin(board: Board, note: Note | None) -> Note | None:
    """Return the note after `begin()` of what runs; what gives way has had the slot before chosen."""
    if note is None or note.slot != board.running:
        boot.confirm(board.flash, board.table, board.running)
        if note is None or note.reason or not _was_given_up(board, note):
            return note
        return replace(note, reason=LibraryError.RESTARTS)
    if note.reason:  # the power failed while it gave way
        return give_way(board, note, note.reason)
    note = replace(note, starts=note.starts + 1)
    if note.starts > STARTS:
        return give_way(board, note, LibraryError.RESTARTS)
    if note.starts < STARTS and _state(board, board.running) == State.PENDING:
        otadata.choose(board.flash, board.table, board.running)
    return note


def give_way(board: Board, note: Note, reason: int) -> Note | None:
    """Choose the slot before; where that does not start, confirm what runs instead, and return None."""
    flash, table, before = board.flash, board.table, note.before
    if check(flash.read(before.offset, before.size), board.chip).reason:
        boot.confirm(flash, table, board.running)
        return None
    if before in table.slots:
        otadata.choose(flash, table, before)
    elif table.otadata is not None:  # the factory application is what is started without any choice
        flash.erase(table.otadata.offset, table.otadata.size)
    return replace(note, reason=reason)


def _state(board: Board, slot: Partition) -> int | None:
    entries, number = otadata.read(board.flash, board.table), otadata.entry_of(board.flash, board.table, slot)
    return None if entries is None or number is None else entries[number].state


def _was_given_up(board: Board, note: Note) -> bool:
    """Tell whether what was on trial was given up by the boot loader, or by the sketch."""
    entries, number = otadata.read(board.flash, board.table), otadata.entry_of(board.flash, board.table, note.slot)
    if entries is None or number is None:
        return False
    return bool(note.starts) or entries[number].state in _GIVEN_UP or otadata.active(entries) == number
