"""Where the devices seen are kept while the server runs: in the store's file, or in memory while that cannot be used.

They are telemetry: a list that is damaged is renamed, kept, and begun anew; on a disk that is full or can only be read,
what is known goes into a file in memory, where all workers go on with it, until the store's file can be written again.
A list that a newer otaseal made is neither: it is refused.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from .. import files
from ..directories import locked
from ..errors import SystemFaultError
from .device_rows import Device
from .devices import SELECT, DamagedFileError, Devices

__all__ = ["Place"]

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
WHY_BYTES = 1024
_WORD = 4
_PARTS = ("", "-wal", "-shm")


class Place:
    """The place of the file `home`; made before workers are forked, which share it. Use in a `with` statement.

    Its turn is even while `home` is used, and odd while the file in memory is.
    """

    def __init__(self, home: Path) -> None:
        """Begin at home; raises SystemFaultError where no folder in memory can be made."""
        self.home = home
        self._turn = memoryview(mmap.mmap(-1, _WORD)).cast("I")
        self._why = mmap.mmap(-1, WHY_BYTES)
        try:
            memory = MEMORY if os.access(MEMORY, os.W_OK) else None
            self._folder = Path(tempfile.mkdtemp(prefix="otaseal-", dir=memory))
            self._guard = self._folder / "turn"  # beside what the files in memory are locked by
            self._guard.mkdir()
        except OSError as error:
            raise SystemFaultError(f"no temporary folder can be made: {error.strerror}", "set TMPDIR to one") from error

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def turn(self) -> int:
        """Return which turn it is; see `devices.DeviceFileLocation`."""
        return self._turn[0]

    def path(self, turn: int) -> Path:
        """Return the file of that turn."""
        return self._folder / f"{turn}.sqlite" if turn % 2 else self.home

    def why(self) -> str:
        """Return why the devices are in memory, "" when they are at home."""
        return self._why[:].rstrip(b"\0").decode(errors="replace") if self._turn[0] % 2 else ""

    def leave(self, turn: int, why: str) -> None:
        """Go into memory because of `why`, with all that can be read; nothing if that is no more the turn."""
        with locked(self._guard):
            if turn % 2 or turn != self._turn[0]:
                return
            with contextlib.suppress(SystemFaultError), Devices(self.path(turn + 1)) as spare:
                spare.take(self._readable())
            self._why[:] = why.encode()[:WHY_BYTES].ljust(WHY_BYTES, b"\0")
            self._turn[0] = turn + 1

    def settle(self, report: Callable[[str], None]) -> None:
        """Take `home` into use if it can be, with what is in memory; `report` is told of a damaged one.

        Raises LaterFormatError for one that a newer otaseal made.
        """
        try:
            try:
                self._come_home()
            except DamagedFileError as error:
                self.leave(self._turn[0], error.message)  # before it is renamed under those who use it
                report(f"{error.message}; it is kept as '{self._set_aside()}', and a new one begun")
                self._come_home()
        except SystemFaultError as error:
            self.leave(self._turn[0], error.message)

    def _come_home(self) -> None:
        with Devices(self.home) as home:
            home.check()
            turn = self._turn[0]
            if turn % 2:
                with Devices(self.path(turn)) as spare:
                    home.take(spare.read_all())
                with locked(self._guard):
                    self._turn[0] = turn + 1

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
        for how in ("mode=ro", "mode=ro&immutable=1"):
            with contextlib.suppress(sqlite3.Error):
                address = f"{self.home.absolute().as_uri()}?{how}"
                with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
                    rows = database.execute(SELECT).fetchall()
                yield from (Device(*row) for row in rows)
                return
