"""A store in a database, with all that a server has of it in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import psycopg

from ...errors import SystemFaultError
from .. import sql
from ..backend import Backend, Held, Report
from ..device_table import DeviceTable
from ..labels import Labels
from ..proof_keys import ProofKeys
from ..store import Store
from .database import LEAD, Database, deadline
from .devices import PostgresDevices
from .documents import PostgresDocuments
from .follower import Follower, Kind

KEY = "key"
"""The kind of changes that are about keys of devices."""
LABEL = "label"
"""That of changes of what operators say of devices."""


class PostgresBackend(Backend):
    """A store in a database, which several servers share."""

    devices: PostgresDevices
    secrets: Database

    def __init__(self, url: str, server: str, *, create: bool, upgrade: bool) -> None:
        """Connect; raises as `open_backend`."""
        self.secrets = self._database = Database(url, server)
        self._database.open(create=create, upgrade=upgrade)
        try:
            self._documents = PostgresDocuments(self._database)
            self._documents.load()
        except BaseException:
            self._database.close()
            raise
        self.store = Store(self._documents)
        self.devices = self.notes = PostgresDevices(self._database)
        self._follower: Follower | None = None
        self._lead: psycopg.Connection[Any] | None = None

    def start(self, report: Report, warm: Callable[[], None]) -> ProofKeys:
        """See `Backend.start`: everything is read into memory, and followed from now on."""
        keys = ProofKeys(self._database, self.devices.proofs(), tell=partial(_tell, KEY))
        self.labels = labels = Labels(self._database, tell=partial(_tell, LABEL))
        self.devices.pinned = labels.pinned
        self.devices.heard = keys.heard
        follower = Follower(self._database, report)
        self._documents.warm = warm
        self._documents.follow(follower)
        follower.on(KEY, Kind(lambda: keys.load(self.devices.proofs()), keys.apply))
        follower.on(LABEL, Kind(labels.load, labels.apply))
        self.devices.follow(follower)
        follower.start()
        self._follower = follower
        return keys

    @contextlib.contextmanager
    def seen(self) -> Iterator[DeviceTable | None]:
        """See `Backend.seen`."""
        yield self.devices

    def fault(self) -> str:
        """See `Backend.fault`."""
        reason = "" if self._follower is None else self._follower.fault
        return f"{reason}; until that works again, devices are served from memory" if reason else ""

    @contextlib.contextmanager
    def judging(self, seconds: float) -> Iterator[bool]:
        """See `Backend.judging`: whoever comes first judges."""
        with self._database.turn(seconds) as mine:
            yield mine

    def leads(self) -> bool:
        """See `Backend.leads`: who has a lock, as long as its connection is there."""
        try:
            if self._lead is None or self._lead.closed:
                self._lead = self._database.connect()
            with self._database.faults(), deadline(self._lead):
                row = self._lead.execute("SELECT pg_try_advisory_lock(%s)", (LEAD,)).fetchone()
        except SystemFaultError:
            if self._lead is not None:
                self._lead.close()
            return False
        return row == (True,)

    @contextlib.contextmanager
    def hold(self) -> Iterator[Held]:
        """See `Backend.hold`: all is in one transaction."""
        with self._documents.change() as change:
            yield Held(change, change.transaction, change.transaction)

    def close(self) -> None:
        """See `Backend.close`."""
        if self._follower is not None:
            self._follower.stop()
        if self._lead is not None:
            self._lead.close()
        self._database.close()


def _tell(kind: str, transaction: sql.Transaction, names: Iterable[str]) -> None:
    transaction.changed(kind, *names)  # type: ignore[attr-defined] # of a Database
