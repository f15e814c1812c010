"""Records what devices claim and are given, without making any device wait for a disk.

A request reads one row at most and never waits for a writer; changes go to a thread that writes them in batches, in the
order in which they happened. Until a device's changes are in the file, its row in memory is the true one: a delivery
counts at once, and exactly once, however long a disk takes. A device that repeats its claims costs neither a read nor a
write. When the queue is full, claims are dropped, with an alarm; updates go on.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...errors import SystemFaultError
from ...store.device_batch import Rows
from ...store.device_file import DeviceFile
from ...store.device_rows import Asking, Device, Sighting, bounded, device_key
from ...store.devices import Devices
from ...store.row_changes import (
    answered_to,
    at_home,
    delivered_to,
    in_vain,
    is_recent,
    offered_to,
    repeats,
    retried,
    touched,
)

if TYPE_CHECKING:
    from ...store.device_table import DeviceTable
    from ...store.postgresql.devices import DeviceReader, PostgresDevices

GATHER_SECONDS = 0.1
"""How long a note waits for others to be written with; a commit each would cost more than the notes."""
LAZY_SECONDS, LAZY_DATABASE_SECONDS = 1.0, 10.0
"""How long it waits where it only says when a device was seen: in a database a commit costs ten times as much."""
BATCH = 2000
MAX_QUEUE = 20_000
READ_SECONDS = 0.05
"""What a request waits for the file at most; readers of a WAL don't wait for a writer at all."""
RETRY_SECONDS = 0.5
CLOSE_SECONDS = 10.0
MAX_CACHED = 60_000
"""Devices whose rows are cached in memory, at less than a kilobyte each, beside those that are not written yet."""

Report = Callable[[str], None]
Key = tuple[str, str]
_Note = Callable[[Rows], object]
"""Writes one change."""
_Waiting = tuple[Key | None, _Note]
"""A change that waits, and whose row it takes."""


class _Known(NamedTuple):
    """The row of a device when all notes are written, None where only the file will tell.

    `last` is the number of the device's last note, `losses` how often the file had lost rows before this one was read
    from it.
    """

    row: Device | None
    last: int
    losses: int


_NOTHING = _Known(None, 0, 0)


class Recorder:
    """The devices in a file or a database, for the event loop; use in a `with` statement, or `close` it."""

    def __init__(
        self,
        place: Path | DeviceFile | PostgresDevices,
        report: Report,
        labelled: Callable[[], Iterable[Key]] = tuple,
    ) -> None:
        """Open it and start the thread; `report` is told what cannot be written. Raises SystemFaultError.

        `labelled` returns of which devices operators have said something: see `DeviceTable.labelled`.
        """
        self._report = report
        self._reader: Devices | DeviceReader
        self._writer: DeviceTable
        if isinstance(place, (Path, DeviceFile)):
            self._reader, self._writer = Devices(place, timeout=READ_SECONDS), Devices(place)
        else:
            self._reader, self._writer = place.reader(), place
        self._writer.labelled = labelled
        self._patience = LAZY_SECONDS if isinstance(self._reader, Devices) else LAZY_DATABASE_SECONDS
        """Seconds that a note waits which nobody else waits for."""
        self._known: dict[Key, _Known] = {}
        self._queue: queue.SimpleQueue[_Waiting | threading.Event | None] = queue.SimpleQueue()
        self._hurry, self._eager = threading.Event(), False
        """Whether nothing is to be waited for any more, and whether a note waits that somebody else may wait for."""
        self._noted = self._written = 0
        """Notes taken, and those of them that are in the file: each is counted by one thread alone."""
        self._losses = 0
        self._changed: set[str] = set()
        self._full = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def poll(self, sighting: Sighting, version: str, now: float, sequence: int | None = None) -> tuple[int, str]:
        """Note a poll, and return how often the device was given `version` in vain; raises SystemFaultError.

        `sequence` is the number of its proof by a key. Beside it stands why its poll before was answered as it was.
        """
        row = self._see(sighting, now, sequence)
        return in_vain(row, sighting, version, now), row.answered

    def answer(self, asking: Asking, reason: str, now: float) -> None:
        """Note why a poll was answered as it was; see `Rows.answer`."""
        self._change(
            device_key(asking.product, asking.device),
            lambda known: answered_to(known, asking, reason, now),
            lambda rows: rows.answer(asking, reason, now),
        )

    def row(self, product: str, device: str) -> Device | None:
        """Return what is known of a device; None where that is nothing, or its row cannot be read."""
        try:
            return self._read(device_key(product, device))[0]
        except SystemFaultError:
            return None

    def at_home(self, asking: Asking, now: float) -> bool:
        """Return whether who asks speaks for the device, or nothing is known of it; raises SystemFaultError."""
        known, _ = self._read(device_key(asking.product, asking.device))
        return known is None or at_home(known, asking, now)

    def offer(self, asking: Asking, version: str, expected_md5: str, now: float) -> None:
        """Note that a device is answered with a release; see `Rows.offer`."""
        self._change(
            device_key(asking.product, asking.device),
            lambda known: offered_to(known, asking, version, expected_md5, now),
            lambda rows: rows.offer(asking, version, expected_md5, now),
            breaks_loops=True,
        )

    def deliver(self, asking: Asking, version: str, now: float) -> None:
        """Note that a release went out in full; from now on it counts."""
        self._change(
            device_key(asking.product, asking.device),
            lambda known: delivered_to(known, asking, version, now),
            lambda rows: rows.deliver(asking, version, now),
            breaks_loops=True,
        )

    def forget(self, product: str, device: str) -> bool:
        """Note that a device is to be forgotten (see `Rows.forget`); return False where there is no room for notes."""
        return self._note(device_key(product, device), None, None, lambda rows: rows.forget(product, device))

    def retry(self, product: str, device: str) -> bool:
        """Note that a device is to have its release again (see `Rows.retry`); return False as `forget` does."""
        return self._change(device_key(product, device), retried, lambda rows: rows.retry(product, device))

    def flush(self, seconds: float) -> bool:
        """Wait until all that was noted before is written, for so long at most, and return whether it is."""
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        return done.wait(seconds)

    def take_changed(self) -> set[str]:
        """Return the products of which devices have changed since the last call, on this server or another."""
        changed = self._writer.take_changed()
        with contextlib.suppress(KeyError):
            while True:
                changed.add(self._changed.pop())
        return changed

    def close(self) -> None:
        """Write what is left, for a bounded time, and close the file."""
        self._closing = True
        self._queue.put(None)
        self._hurry.set()
        self._thread.join(CLOSE_SECONDS)
        if left := self._noted - self._written:
            self._report(f"{left} notes of devices could not be written before the end")
        self._reader.close()

    def _see(self, claim: Sighting, now: float, sequence: int | None) -> Device:
        """Note what a device says, where it is news, and return the row that it has then."""
        key = device_key(claim.product, claim.device)
        before, losses = self._read(key)
        if before is None or losses is None or not repeats(before, claim, now):
            claim = bounded(claim)
            row, changed = self._reader.preview(before, claim, now, sequence)
            if changed:
                self._note(key, row, losses, lambda rows: rows.see(claim, now, sequence))
                return row
        elif not is_recent(before, now):
            number = sequence if claim.proven else None
            row = touched(before, now, number)
            self._note(key, row, losses, lambda rows: rows.touch(*key, now, number), reads=False)
            return row
        else:
            row = before
        if losses is not None:
            self._keep(key, _Known(row, self._known.get(key, _NOTHING).last, losses))
        return row

    def _change(
        self, key: Key, change: Callable[[Device], Device], write: _Note, *, breaks_loops: bool = False
    ) -> bool:
        """Note a change of a row; return False where there is no room for notes."""
        try:
            before, losses = self._read(key)
        except SystemFaultError:
            before, losses = None, None
        row = None if before is None else change(before)
        if row is before and losses is not None:
            return True
        return self._note(key, row, losses, write, breaks_loops=breaks_loops)

    def _read(self, key: Key) -> tuple[Device | None, int | None]:
        """Return a device's row, None where there is none, and `losses` before that; None where notes miss in it."""
        known = self._known.get(key, _NOTHING)
        is_written = known.last <= self._written  # before the file is read, as are the losses
        losses = self._losses + self._reader.losses
        if known.row is not None and (known.losses == losses or not is_written):
            return known.row, known.losses
        return self._reader.get(*key), losses if is_written else None

    def _keep(self, key: Key, known: _Known) -> None:
        """Keep what is known of a device, and drop what was kept the longest ago, unless it is not written yet."""
        self._known.pop(key, None)
        self._known[key] = known
        for _ in range(2):
            if len(self._known) > MAX_CACHED:
                old = self._known.pop(oldest := next(iter(self._known)))
                if old.last > self._written:
                    self._known[oldest] = old

    def _note(
        self,
        key: Key,
        row: Device | None,
        losses: int | None,
        write: _Note,
        *,
        breaks_loops: bool = False,
        reads: bool = True,
    ) -> bool:
        """Note a change after which a device has a `row`, which is true unless `losses` is None.

        `reads`: it takes the row as it is then.
        """
        waiting = self._noted - self._written
        # What was offered and delivered breaks loops: it finds room when what devices say finds none.
        if waiting >= (2 * MAX_QUEUE if breaks_loops else MAX_QUEUE):
            if not self._full:
                self._full = True
                self._report("the devices' file is too slow: what devices say is dropped")
            return False
        if not waiting:
            self._full = False
        self._noted += 1
        self._keep(key, _Known(None, self._noted, 0) if losses is None else _Known(row, self._noted, losses))
        self._queue.put((key if reads else None, write))
        self._eager = self._eager or reads
        if waiting >= BATCH:
            self._hurry.set()
        return True

    def _run(self) -> None:
        try:
            self._work()
        finally:  # here, because `close` does not wait for ever
            with contextlib.suppress(SystemFaultError):
                self._writer.close()

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            notes, waiting, goes_on = self._next()
            if not self._persist(notes):
                return
            for done in waiting:
                done.set()

    def _persist(self, notes: list[_Waiting]) -> bool:
        """Write what there is, and go on trying; return False when that has to end before it is done."""
        reported, end = False, None
        while notes:
            try:
                self._write(notes)
                break
            except SystemFaultError as error:
                if not reported:
                    reported = True
                    self._report(error.message)
                if self._closing:
                    end = end or time.monotonic() + CLOSE_SECONDS
                    if time.monotonic() > end:
                        return False
                time.sleep(RETRY_SECONDS)
        return True

    def _write(self, notes: list[_Waiting]) -> None:
        with self._writer.batch(key for key, _ in notes if key is not None) as rows:
            for _, write in notes:
                write(rows)
        self._changed.update(key[0] for key, _ in notes if key is not None)
        self._losses = self._writer.losses
        self._written += len(notes)

    def _next(self) -> tuple[list[_Waiting], list[threading.Event], bool]:
        """Return what is to be written next, who waits for that, and whether more may come."""
        notes: list[_Waiting] = []
        waiting: list[threading.Event] = []
        item = self._queue.get()
        if isinstance(item, tuple) and self._queue.qsize() < BATCH:
            end = time.monotonic() + self._patience
            while not (self._hurry.wait(GATHER_SECONDS) or self._eager or time.monotonic() > end):
                pass
        self._hurry.clear()  # before looking: who is in a hurry has put something in already
        self._eager = False
        with contextlib.suppress(queue.Empty):
            while item is not None:
                if isinstance(item, threading.Event):
                    waiting.append(item)
                else:
                    notes.append(item)
                if len(notes) >= BATCH:
                    break
                item = self._queue.get_nowait()
        return notes, waiting, item is not None
