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


def start(flash: Flash, table: Table, chip: Chip, revision: int | None = None) -> Started:
    """Start what otadata says, else what else can be started; the core's boot loader tries a new application once.

    The core then confirms it before the sketch's `setup` runs (F85).
    """
    first, initial = _choice(flash, table)
    refused = ""
    for index in (*range(first, FACTORY_INDEX - 1, -1), *range(first + 1, len(table.slots))):
        slot = table.factory if index == FACTORY_INDEX else table.slots[index] if index < len(table.slots) else None
        if slot is None:
            continue
        found = check(flash.read(slot.offset, slot.size), chip, revision)
        if not found.reason:
            if initial and index != FACTORY_INDEX:
                otadata.write(flash, table, 0, index + 1, State.VALID)
            _confirm(flash, table, slot)
            return Started(slot, found, refused)
        refused = refused or found.reason
    return Started(None, Application(0, refused), refused)


def _choice(flash: Flash, table: Table) -> tuple[int, bool]:
    """Return the number of the slot that is tried first, and whether otadata is as the factory leaves it."""
    entries = otadata.read(flash, table)
    if entries is None:
        return FACTORY_INDEX, False
    for number, entry in enumerate(entries):
        if entry.state == State.PENDING:  # it was started once, and nobody has confirmed it
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
    if entries[now].state == State.NEW:
        otadata.write(flash, table, now, entries[now].sequence, State.PENDING)
    return (entries[now].sequence - 1) % len(table.slots), False


def _confirm(flash: Flash, table: Table, slot: Partition) -> None:
    """Mark what runs as valid, as `initArduino` does where it is still pending."""
    entries = otadata.read(flash, table)
    if entries is None or slot not in table.slots:
        return
    for number, entry in enumerate(entries):
        mine = entry.intact and (entry.sequence - 1) % len(table.slots) == table.slots.index(slot)
        if mine and entry.state == State.PENDING:
            otadata.write(flash, table, number, entry.sequence, State.VALID)
