"""The boot loader: which application is started, and what of it is written down (bootloader_utility.c; F85)."""

from __future__ import annotations

from dataclasses import dataclass

from . import otadata
from .chip import Chip
from .image import Application, check
from .nor import Flash
from .otadata import State
from .table import Partition, Table

FACTORY_INDEX = -1


@dataclass(frozen=True)
class Started:
    """What is started: its `slot`, None for nothing at all; `refused` says why what was chosen first is not."""

    slot: Partition | None
    application: Application
    refused: str = ""


def start(flash: Flash, table: Table, chip: Chip, *, waits: bool = True) -> Started:
    """Start what otadata says, else what else can be started.

    A boot loader that `waits` for the word of a new application, as the core's does, starts one without it once (F121).
    """
    first, initial = _choice(flash, table, waits=waits)
    refused = ""
    for index in (*range(first, FACTORY_INDEX - 1, -1), *range(first + 1, len(table.slots))):
        slot = table.factory if index == FACTORY_INDEX else table.slots[index] if index < len(table.slots) else None
        if slot is None:
            continue
        found = check(flash.read(slot.offset, slot.size), chip)
        if not found.reason:
            if initial and index != FACTORY_INDEX:
                otadata.write(flash, table, 0, index + 1, State.VALID)
            return Started(slot, found, refused)
        refused = refused or found.reason
    return Started(None, Application(0, refused), refused)


def _choice(flash: Flash, table: Table, *, waits: bool) -> tuple[int, bool]:
    """Return the number of the slot that is tried first, and whether otadata is as the factory leaves it."""
    entries = otadata.read(flash, table)
    if entries is None:
        return FACTORY_INDEX, False
    for number, entry in enumerate(entries):
        if waits and entry.state == State.PENDING:  # it was started once, and nobody has confirmed it
            otadata.write(flash, table, number, entry.sequence, State.ABORTED)
    entries = otadata.read(flash, table)
    assert entries is not None
    if all(entry.unusable for entry in entries) or not table.slots:
        if table.factory is not None:
            return FACTORY_INDEX, False
        return 0, not any(entry.intact for entry in entries)
    now = otadata.active(entries)
    if now is None:
        return FACTORY_INDEX, False
    if waits and entries[now].state == State.NEW:
        otadata.write(flash, table, now, entries[now].sequence, State.PENDING)
    return (entries[now].sequence - 1) % len(table.slots), False


def confirm(flash: Flash, table: Table, slot: Partition) -> None:
    """Give the word for the application that runs in `slot`, as the core does before `setup`, or the library later."""
    entries = otadata.read(flash, table)
    number = otadata.entry_of(flash, table, slot)
    if entries is not None and number is not None and entries[number].state in (State.NEW, State.PENDING):
        otadata.write(flash, table, number, entries[number].sequence, State.VALID)
