"""The check of the whole store beside answering: every record, pointer and blob, in a thread, one file after the other.

A start reads what is small only. What is damaged stands in the log, at /healthz and among the alarms, and nothing else
follows from it here: who needs what is damaged finds out by reading it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass, field

from ...errors import OtasealError, SystemFaultError
from ...store.check import check, survey, tidy
from ...store.files import Store
from ..telemetry import Telemetry

INTERVAL_SECONDS = 60.0
"""How long after it was found damaged, and changed since, a store is checked again."""
INTERVALS = 24 * 60
"""After so many of them it is checked in any case."""


@dataclass
class StoreCheck:
    """What is known to be wrong with a store; `unwritable` says why it could not be tidied."""

    store: Store
    problems: tuple[str, ...] = ()
    unwritable: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event, repr=False)

    def report(self, telemetry: Telemetry) -> None:
        """Report what is known."""
        telemetry.set_problems("store", self.problems)
        telemetry.set_problems("disk", [self.unwritable] if self.unwritable else [])

    async def run(self, telemetry: Telemetry) -> None:
        """Check everything now and once a day, and a damaged store whenever somebody has changed it; never returns."""
        try:
            while True:
                await asyncio.to_thread(self._check)
                self.report(telemetry)
                before = self.store.last_change()
                for _ in range(INTERVALS):
                    await asyncio.sleep(INTERVAL_SECONDS)
                    if self.unwritable or (self.problems and self.store.last_change() != before):
                        break
        finally:
            self._stopped.set()

    def _check(self) -> None:
        if self.unwritable:
            self.unwritable = check_at_start(self.store).unwritable
        try:
            self.problems = check(self.store, self._stopped.is_set).problems
        except OtasealError as error:
            self.problems = (error.message,)


def check_at_start(store: Store) -> StoreCheck:
    """Remove what a kill left in the store, where it can be written, and return what is wrong with what is small."""
    try:
        problems = tuple(tidy(store).problems)
        readable_only = "" if os.access(store.directory, os.W_OK) else f"'{store.directory}' cannot be written"
        return StoreCheck(store, problems, readable_only and f"{readable_only}: it is served as it is")
    except SystemFaultError as error:
        return StoreCheck(store, tuple(survey(store).problems), f"{error.message}: the store is served as it is")
