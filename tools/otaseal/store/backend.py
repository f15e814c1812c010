"""What a server keeps in its store, and how: in files on its own disk, or in a database that several servers share."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError, NotFoundError, SystemFaultError, from_checkout
from ..names import is_database
from .device_file import DeviceFile
from .devices import Devices
from .documents import MARKER, Change
from .files import DEVICES_FILE, FileDocuments
from .labels import Labels
from .proof_keys import ProofKeys
from .secrets import SECRETS_FILE, Secrets
from .store import Store

if TYPE_CHECKING:
    from .device_table import DeviceTable
    from .postgresql.devices import PostgresDevices
    from .sql import Tables, Transaction

CACHE = "patches"
DEVICE_FILE_SECONDS = 10.0
"""How often a file of devices is tried again while they are in memory."""

Report = Callable[[str], None]


class Held(NamedTuple):
    """All of a store, while nobody else can change it; `secrets` and `devices` are transactions on their tables."""

    change: Change
    secrets: Transaction
    devices: Transaction


class Backend(ABC):
    """A store, the devices seen, and secrets; use in a `with` statement, or `close` it."""

    store: Store
    secrets: Tables
    devices: DeviceTable
    """What operators and maintenance read."""
    notes: DeviceFile | PostgresDevices
    """Where a `Recorder` writes what devices say."""
    labels: Labels
    """What operators say of devices; once it has begun to serve."""
    cache: Path | None = None
    """A folder for what can be made again, which need not be there; None where the store has no place for one."""

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def start(self, report: Report, warm: Callable[[], None]) -> ProofKeys:
        """Begin to serve from it, and return the keys of devices; `report` is told what is an alarm.

        `warm` reads what devices are about to ask for into memory: it is called before a change counts as known here.

        Raises LaterFormatError, CorruptStoreError, SystemFaultError.
        """

    @abstractmethod
    def seen(self) -> contextlib.AbstractContextManager[DeviceTable | None]:
        """Open the devices seen for who does not serve, None where there are none; raises SystemFaultError."""

    @abstractmethod
    def fault(self) -> str:
        """Return in words what is served from memory alone and why, "" where all is well; may try to mend that."""

    @abstractmethod
    def judging(self, seconds: float) -> contextlib.AbstractContextManager[bool]:
        """Take the turn to judge rollouts, which one server has in so many seconds, and say whether this one has it.

        Raises SystemFaultError.
        """

    @abstractmethod
    def leads(self) -> bool:
        """Return whether this is the one server of several that tells others of what all see."""

    @abstractmethod
    def hold(self) -> contextlib.AbstractContextManager[Held]:
        """Let nobody else change anything for a moment, and be who may; raises as `start`."""

    @abstractmethod
    def close(self) -> None:
        """Release what was opened."""


class FileBackend(Backend):
    """A store in a directory, which one server has."""

    notes: DeviceFile

    def __init__(self, store: Store) -> None:
        self.store = store
        self.cache = store.directory / CACHE
        self.secrets: Secrets = Secrets(store.directory / SECRETS_FILE)
        self._stack = contextlib.ExitStack()
        self._tried = time.monotonic()
        self._report: Report = lambda message: None

    def start(self, report: Report, warm: Callable[[], None]) -> ProofKeys:
        """See `Backend.start`: a damaged file of devices is begun anew."""
        self._report = report
        self.secrets.check()
        self.notes = self._stack.enter_context(DeviceFile(self.store.directory / DEVICES_FILE))
        self.notes.use_home(report)
        self.devices = self._stack.enter_context(Devices(self.notes))
        self.labels = Labels(self.secrets)
        self.devices.pinned = self.labels.pinned
        return ProofKeys(self.secrets, self.devices.proofs())

    @contextlib.contextmanager
    def seen(self) -> Iterator[DeviceTable | None]:
        """See `Backend.seen`."""
        file = self.store.directory / DEVICES_FILE
        if not file.exists():
            yield None
            return
        with Devices(file) as devices:
            yield devices

    def fault(self) -> str:
        """See `Backend.fault`: the store's own file is tried again from time to time."""
        reason, now = self.notes.reason(), time.monotonic()
        if not reason:
            self._tried = now
        elif now - self._tried >= DEVICE_FILE_SECONDS:
            self._tried = now
            self.notes.use_home(self._report)
        return f"{reason}; until that works again, they are kept in memory" if reason else ""

    @contextlib.contextmanager
    def judging(self, seconds: float) -> Iterator[bool]:
        """See `Backend.judging`."""
        yield True

    def leads(self) -> bool:
        """See `Backend.leads`."""
        return True

    @contextlib.contextmanager
    def hold(self) -> Iterator[Held]:
        """See `Backend.hold`."""
        with (
            Devices(self.store.directory / DEVICES_FILE) as devices,  # opened under the lock that a change takes
            self.store.documents.change() as change,
            self.secrets.transaction() as secrets,
            devices.transaction() as seen,
        ):
            yield Held(change, secrets, seen)

    def close(self) -> None:
        """See `Backend.close`."""
        self._stack.close()
        self.secrets.close()


def open_backend(location: str, server: str = "", *, create: bool = False, upgrade: bool = False) -> Backend:
    """Return what is at a location, a directory or the address of a database; `create` makes it where it is missing.

    `server` is how other servers name this one. Raises ConfigError, InputError, NotFoundError, LaterFormatError,
    CorruptStoreError, SystemFaultError.
    """
    if not is_database(location):
        directory = Path(location)
        if create and not (directory / MARKER).exists():
            return FileBackend(Store(FileDocuments.create(directory)))
        return FileBackend(Store.open(directory))
    try:
        from .postgresql.backend import PostgresBackend
    except ImportError as error:
        raise SystemFaultError(
            "a store in PostgreSQL needs the package psycopg", from_checkout("postgresql")
        ) from error
    return PostgresBackend(location, server, create=create, upgrade=upgrade)


def open_new(location: str) -> Backend:
    """Make an empty store at a location, and return it; raises as `open_backend`, InputError where there is one."""
    if not is_database(location):
        return FileBackend(Store.create(Path(location)))
    try:
        open_backend(location).close()
    except NotFoundError:
        return open_backend(location, create=True)
    raise InputError(f"there is a release store in '{location}' already", "name a database that is empty")
