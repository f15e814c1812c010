"""Records what devices claim and are given, without making any device wait for a disk.

A request reads one row at most and never waits for a writer; changes go to a thread that writes them in batches, in the
order in which they happened. A delivery counts at once, in every worker: until it is written it is in memory that all
of them share, so that the loop breaker is exact however long a disk takes. That memory also shows which rows others
have written, so that a device that repeats its claims costs no read. When the queue is full, claims are dropped, with
an alarm; updates go on.
"""

from __future__ import annotations

import contextlib
import mmap
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ...errors import SystemFaultError
from ...store.device_batch import Rows
from ...store.device_file import DeviceFile
from ...store.device_rows import Asking, Device, Sighting, in_vain, is_recent
from ...store.devices import Devices

SLOTS = 1 << 16
GATHER_SECONDS = 0.1
"""How long a note waits for others to be written with; a commit each would cost more than the notes."""
BATCH = 500
MAX_QUEUE = 20_000
MAX_TRIES, TRY_SECONDS = 20, 0.001
"""How often, and how long apart, a request looks again while the delivery before it is just being written."""
READ_SECONDS = 0.05
"""What a request waits for the file at most; readers of a WAL don't wait for a writer at all."""
ORDER_SECONDS = 1.0
"""How long what a device says waits for another worker to write the delivery before it."""
RETRY_SECONDS = 0.5
CLOSE_SECONDS = 10.0
MAX_CACHED = 4096
"""Devices whose rows are cached in memory, at less than a kilobyte each."""
_WORD = 0xFFFFFFFF

Report = Callable[[str], None]
T = TypeVar("T")


class PendingDeliveries:
    """Deliveries that are counted and not yet written, and how often rows were written, by slot; shared by all workers.

    Made before the fork; each worker changes its own part only. Devices share a slot by chance: one in SLOTS, for as
    long as a write takes, and then a third attempt may be put off by one poll. A worker's turn is odd while what it has
    written is in the file and still among the pending.
    """

    def __init__(self, workers: int = 1) -> None:
        """Make room for that many workers."""
        self._given, self._written, self._changes = ([_words(SLOTS) for _ in range(workers)] for _ in range(3))
        self._both = tuple(zip(self._given, self._written, strict=True))
        self._turns = _words(workers)
        self._deaths = _words(1)

    def give(self, worker: int, slot: int) -> None:
        """Note that a worker counts one more delivery; only the thread that answers devices may."""
        row = self._given[worker]
        row[slot] = (row[slot] + 1) & _WORD

    def pending(self, slot: int, besides: int | None = None) -> int:
        """Return the deliveries that are not written, of all workers but `besides`."""
        count = 0
        for number, (given, written) in enumerate(self._both):
            if number != besides and given[slot] != written[slot]:
                count += (given[slot] - written[slot]) & _WORD
        return count

    def changes(self, slot: int) -> int:
        """Return a number that is another one after every write of a row: ask before reading it."""
        count = self._deaths[0]
        for row in self._changes:
            count += row[slot]
        return count

    @contextlib.contextmanager
    def writing(self, worker: int, notes: list[_Note]) -> Iterator[None]:
        """Make a worker's turn odd while it commits `notes`; without an error they are written."""
        self._turns[worker] = (self._turns[worker] + 1) & _WORD
        try:
            yield
            changes, written = self._changes[worker], self._written[worker]
            for slot in {note.slot for note in notes}:
                changes[slot] = (changes[slot] + 1) & _WORD
            for note in notes:
                if note.delivers:
                    written[note.slot] = (written[note.slot] + 1) & _WORD
        finally:
            self._turns[worker] = (self._turns[worker] + 1) & _WORD

    def beside(self, slot: int, read: Callable[[], T]) -> tuple[T, int]:
        """Return what `read` finds in the file and the deliveries that are not in there: each counted once."""
        for _ in range(MAX_TRIES):
            turns, before = tuple(self._turns), self.pending(slot)
            value, after = read(), self.pending(slot)
            if (before, after) == (0, 0) or (turns == tuple(self._turns) and not any(turn & 1 for turn in turns)):
                break
            time.sleep(TRY_SECONDS)
        return value, after

    def clear(self, worker: int) -> None:
        """Forget the deliveries of a worker that is gone; what it wrote last it may have told nobody."""
        self._written[worker][:] = self._given[worker]
        self._turns[worker] = 0
        self._deaths[0] = (self._deaths[0] + 1) & _WORD


class _Note(NamedTuple):
    """One change to write: `write` is a method of `Rows`; a delivery is pending until it is written."""

    slot: int
    write: Callable[..., object]
    arguments: tuple[Any, ...]
    delivers: bool = False


class _CachedRow(NamedTuple):
    """A row as it was read, the number of changes before that, and the sighting that did not change it."""

    changes: int
    sighting: Sighting
    row: Device


class Recorder:
    """The devices in the file `path`, for the event loop of one worker; use in a `with` statement, or `close` it."""

    def __init__(
        self, path: Path | DeviceFile, report: Report, pending: PendingDeliveries | None = None, worker: int = 0
    ) -> None:
        """Open the file and start the thread; `report` is told what cannot be written. Raises SystemFaultError."""
        self._pending = pending or PendingDeliveries()
        self._worker = worker
        self._report = report
        self._reader = Devices(path, timeout=READ_SECONDS)
        self._writer = Devices(path)
        self._rows: dict[tuple[str, str], _CachedRow] = {}
        self._queue: queue.SimpleQueue[_Note | threading.Event | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._noted = self._written = 0
        """Notes taken, and those of them that are in the file: each is counted by one thread alone."""
        self._full = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def poll(self, sighting: Sighting, version: str, now: float) -> int:
        """Note a poll, and return how often the device was given `version` in vain; raises SystemFaultError."""
        slot = _slot(sighting.product, sighting.device)
        # In this order: a delivery that is no more pending shows among the changes.
        pending = self._pending.pending(slot)
        known = None if pending else self._unchanged(sighting, slot, now)
        if known is None:
            (known, changed), pending = self._pending.beside(slot, lambda: self._read_row(sighting, slot, now))
            if changed:
                self._note(_Note(slot, Rows.see, (sighting, now)))
        return pending + in_vain(known, sighting.address, version, now)

    def offer(self, asking: Asking, version: str, expected_md5: str, now: float) -> None:
        """Note that a device is answered with a release; see `Rows.offer`."""
        self._note(_Note(_slot(asking.product, asking.device), Rows.offer, (asking, version, expected_md5, now)))

    def deliver(self, asking: Asking, version: str, now: float) -> None:
        """Note that a release went out in full; from now on it counts, in every worker."""
        self._note(_Note(_slot(asking.product, asking.device), Rows.deliver, (asking, version, now), delivers=True))

    def forget(self, product: str, device: str) -> bool:
        """Note that a device is to be forgotten (see `Rows.forget`); return False where there is no room for notes."""
        return self._note(_Note(_slot(product, device), Rows.forget, (product, device)))

    def retry(self, product: str, device: str) -> bool:
        """Note that a device is to have its release again (see `Rows.retry`); return False as `forget` does."""
        return self._note(_Note(_slot(product, device), Rows.retry, (product, device)))

    def flush(self, seconds: float) -> bool:
        """Wait until all that was noted before is written, for so long at most, and return whether it is."""
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        return done.wait(seconds)

    def close(self) -> None:
        """Write what is left, for a bounded time, and close the file."""
        self._closing = True
        self._queue.put(None)
        self._hurry.set()
        self._thread.join(CLOSE_SECONDS)
        if left := self._noted - self._written:
            self._report(f"{left} notes of devices could not be written before the end")
        self._reader.close()

    def _unchanged(self, sighting: Sighting, slot: int, now: float) -> Device | None:
        """Return a device's cached row, if it repeats its claims and nobody has changed the row."""
        cached = self._rows.get((sighting.product, sighting.device))
        if cached is None or cached.changes != self._pending.changes(slot):
            return None
        if cached.sighting is not sighting and cached.sighting != sighting:
            return None
        return cached.row if is_recent(cached.row, now) else None

    def _read_row(self, sighting: Sighting, slot: int, now: float) -> tuple[Device, bool]:
        changes = self._pending.changes(slot)
        known, changed = self._reader.preview(sighting, now)
        if not changed:
            self._rows.pop(key := (sighting.product, sighting.device), None)
            self._rows[key] = _CachedRow(changes, sighting, known)
            if len(self._rows) > MAX_CACHED:
                del self._rows[next(iter(self._rows))]  # the one that was read the longest ago
        return known, changed

    def _note(self, note: _Note) -> bool:
        waiting = self._noted - self._written
        # What was delivered breaks loops: it finds room when what devices say finds none.
        if waiting >= (2 * MAX_QUEUE if note.delivers else MAX_QUEUE):
            if not self._full:
                self._full = True
                self._report("the devices' file is too slow: what devices say is dropped")
            return False
        if not waiting:
            self._full = False
        self._noted += 1
        if note.delivers:
            self._pending.give(self._worker, note.slot)
        self._queue.put(note)
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

    def _persist(self, notes: list[_Note]) -> bool:
        """Write what there is, and go on trying; return False when that has to end before it is done."""
        reported, end = False, None
        while notes:
            try:
                self._await_others(notes)
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

    def _write(self, notes: list[_Note]) -> None:
        with contextlib.ExitStack() as writing, self._writer.batch() as rows:
            for note in notes:
                note.write(rows, *note.arguments)
            writing.enter_context(self._pending.writing(self._worker, notes))
        self._written += len(notes)

    def _next(self) -> tuple[list[_Note], list[threading.Event], bool]:
        """Return what is to be written next, who waits for that, and whether more may come."""
        notes: list[_Note] = []
        waiting: list[threading.Event] = []
        item = self._queue.get()
        if isinstance(item, _Note) and self._queue.qsize() < BATCH:
            self._hurry.wait(GATHER_SECONDS)
        self._hurry.clear()  # before looking: who is in a hurry has put something in already
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

    def _await_others(self, notes: list[_Note]) -> None:
        """Let other workers write their deliveries first: only after them does it count that a device came back."""
        end = time.monotonic() + ORDER_SECONDS
        for note in notes:
            while self._pending.pending(note.slot, besides=self._worker) and time.monotonic() < end:
                time.sleep(GATHER_SECONDS / 8)


def _slot(product: str, device: str) -> int:
    # Processes that were forked from one have one seed for this.
    return hash((product, device)) % SLOTS


def _words(count: int) -> memoryview:
    """Return numbers of 32 bits in memory that processes forked later share."""
    return memoryview(mmap.mmap(-1, count * 4)).cast("I")
