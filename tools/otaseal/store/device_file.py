"""The file of devices while the server runs: that of the store, or one in memory while that cannot be used.

Devices seen are telemetry: a damaged file is renamed, kept, and begun anew; while the disk is full or read-only, a copy
in memory is used, until the store's file can be written again. One that a newer otaseal made is refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from .. import files
from ..directories import locked
from ..errors import SystemFaultError
from .device_batch import SELECT
from .device_rows import Device
from .devices import DamagedFileError, Devices

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
_PARTS = ("", "-wal", "-shm")


class DeviceFile:
    """The file of devices at `home`, or one in memory; use in a `with` statement. Safe in threads.

    The `generation` changes whenever another file is used: it is even while `home` is, and odd while that in memory is.
    """

    def __init__(self, home: Path) -> None:
        """Use `home`; raises SystemFaultError where no folder in memory can be made."""
        self.home = home
        self.generation = 0
        self._reason = ""
        self._moving = threading.Lock()
        try:
            memory = MEMORY if os.access(MEMORY, os.W_OK) else None
            self._folder = Path(tempfile.mkdtemp(prefix="otaseal-", dir=memory))
        except OSError as error:
            raise SystemFaultError(f"no temporary folder can be made: {error.strerror}", "set TMPDIR to one") from error

    def __enter__(self) -> DeviceFile:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def path(self, generation: int) -> Path:
        """Return the file of a generation."""
        return self._folder / f"{generation}.sqlite" if generation % 2 else self.home

    def reason(self) -> str:
        """Return why the devices are in memory, "" when they are not."""
        return self._reason if self.generation % 2 else ""

    def move_to_memory(self, generation: int, reason: str) -> None:
        """Copy what can be read into memory and use that from now on, unless `generation` has passed."""
        with self._moving:
            if generation % 2 or generation != self.generation:
                return
            with contextlib.suppress(SystemFaultError), Devices(self.path(generation + 1)) as copy:
                copy.take(self._readable())
            self._reason, self.generation = reason, generation + 1

    def use_home(self, report: Callable[[str], None]) -> None:
        """Use `home` if that can be, and rename a damaged one, which is reported; raises LaterFormatError."""
        try:
            try:
                self._return_home()
            except DamagedFileError as error:
                self.move_to_memory(self.generation, error.message)  # before it is renamed under those who use it
                report(f"{error.message}; it is kept as '{self._set_aside()}', and a new one begun")
                self._return_home()
        except SystemFaultError as error:
            self.move_to_memory(self.generation, error.message)

    def _return_home(self) -> None:
        with Devices(self.home) as home:
            home.check()
            generation = self.generation
            if generation % 2:
                with Devices(self.path(generation)) as copy:
                    home.take(copy.read_all())
                with self._moving:
                    self.generation = generation + 1

    def _set_aside(self) -> Path:
        """Rename the file with its journal, and return its new name."""
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")
        aside = self.home.with_name(f"{self.home.name}.damaged-{now}")
        try:
            with locked(self.home.parent):
                for part in _PARTS:
                    with contextlib.suppress(FileNotFoundError):
                        Path(f"{self.home}{part}").rename(f"{aside}{part}")
                files.sync_directory(self.home.parent)
        except OSError as error:
            raise SystemFaultError(f"'{self.home}' cannot be renamed: {error.strerror}", "check the disk") from error
        return aside

    def _readable(self) -> Iterator[Device]:
        """Yield what can be read at home: as it is used, else as a file that nobody changes."""
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            with contextlib.suppress(sqlite3.Error):
                address = f"{self.home.absolute().as_uri()}?{mode}"
                with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
                    rows = database.execute(SELECT).fetchall()
                yield from (Device(*row) for row in rows)
                return
