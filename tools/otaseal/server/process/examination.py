"""The whole store looked at beside answering: every record, pointer and blob, in a thread, one file after the other.

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

__all__ = ["Examination", "begin"]

AGAIN_SECONDS = 60.0
"""How long after it was found damaged, and changed since, a store is looked at again."""
ROUNDS = 24 * 60
"""Of AGAIN_SECONDS, after which it is looked at in any case."""


@dataclass
class Examination:
    """What is known to be wrong with a store, for its first worker; `unwritable` says why it could not be tidied."""

    store: Store
    problems: tuple[str, ...] = ()
    unwritable: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event, repr=False)

    def tell(self, telemetry: Telemetry) -> None:
        """Say what is known."""
        telemetry.stand("store", self.problems)
        telemetry.stand("disk", [self.unwritable] if self.unwritable else [])

    async def keep(self, telemetry: Telemetry) -> None:
        """Look at everything now and once a day, and at what was wrong whenever somebody has changed the store."""
        try:
            while True:
                await asyncio.to_thread(self._look)
                self.tell(telemetry)
                before = self.store.last_change()
                for _ in range(ROUNDS):
                    await asyncio.sleep(AGAIN_SECONDS)
                    if self.unwritable or (self.problems and self.store.last_change() != before):
                        break
        finally:
            self._stopped.set()

    def _look(self) -> None:
        if self.unwritable:
            self.unwritable = begin(self.store).unwritable
        try:
            self.problems = check(self.store, self._stopped.is_set).problems
        except OtasealError as error:
            self.problems = (error.message,)


def begin(store: Store) -> Examination:
    """Remove what a kill left in the store, where it can be written, and return what is wrong with what is small."""
    try:
        problems = tuple(tidy(store).problems)
        readable_only = "" if os.access(store.directory, os.W_OK) else f"'{store.directory}' cannot be written"
        return Examination(store, problems, readable_only and f"{readable_only}: it is served as it is")
    except SystemFaultError as error:
        return Examination(store, tuple(survey(store).problems), f"{error.message}: the store is served as it is")
