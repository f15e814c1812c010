"""What devices say and are given, written down without making any device wait for a disk.

A request reads one row and never waits for a writer; what is new goes to a thread that writes it in batches, in the
order in which it happened. A delivery counts from the moment it is noted, in every worker: until it is written it
stands in memory that all of them share, so that the loop breaker is exact however long a disk takes. When the queue is
full, what devices say is dropped, with an alarm; their updates go on.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..devices import Devices, Sighting
from ..errors import SystemFaultError

__all__ = ["PendingDeliveries", "Recorder"]

SLOTS = 1 << 16
GATHER_SECONDS = 0.05
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

Report = Callable[[str], None]
T = TypeVar("T")


class PendingDeliveries:
    """How many deliveries to a device are counted and not yet written, by worker; made before the fork.

    Devices share a slot by chance: one in SLOTS, for milliseconds, and then a third attempt may be put off by one poll.
    A worker's turn is odd while what it has written is in the file and still among those pending.
    """

    def __init__(self, workers: int = 1) -> None:
        """Make room for that many workers, each of which changes its own part only."""
        self._rows = [memoryview(mmap.mmap(-1, SLOTS * 4)).cast("I") for _ in range(workers)]
        self._turns = memoryview(mmap.mmap(-1, workers * 8)).cast("Q")

    def change(self, worker: int, product: str, device: str, by: int) -> None:
        """Note that a worker has `by` more deliveries to a device that are not written."""
        self._rows[worker][_slot(product, device)] += by

    def of(self, product: str, device: str, besides: int | None = None) -> int:
        """Return the deliveries to a device that are not written, of all workers but `besides`."""
        slot = _slot(product, device)
        return sum(row[slot] for number, row in enumerate(self._rows) if number != besides)

    @contextlib.contextmanager
    def moving(self, worker: int) -> Iterator[None]:
        """Make a worker's turn odd while deliveries move from here into the file."""
        self._turns[worker] += 1
        try:
            yield
        finally:
            self._turns[worker] += 1

    def beside(self, product: str, device: str, read: Callable[[], T]) -> tuple[T, int]:
        """Return what `read` finds in the file and the deliveries that are not in there: each counted once."""
        for _ in range(MAX_TRIES):
            turns, before = tuple(self._turns), self.of(product, device)
            found, after = read(), self.of(product, device)
            if (before, after) == (0, 0) or (turns == tuple(self._turns) and not any(turn & 1 for turn in turns)):
                break
            time.sleep(TRY_SECONDS)
        return found, after

    def clear(self, worker: int) -> None:
        """Forget those of a worker that is gone."""
        row = self._rows[worker]
        row[:] = memoryview(bytes(row.nbytes)).cast("I")
        self._turns[worker] = 0


@dataclass(frozen=True)
class _Note:
    """One thing to write down; `delivers` is set for a delivery, which stands among those pending."""

    product: str
    device: str
    write: Callable[[Devices], object]
    delivers: bool = False


class Recorder:
    """The devices in the file `path`, for the event loop of one worker; use in a `with` statement, or `close` it."""

    def __init__(self, path: Path, report: Report, pending: PendingDeliveries | None = None, worker: int = 0) -> None:
        """Open the file and start the thread; `report` is told what cannot be written. Raises SystemFaultError."""
        self._pending = pending or PendingDeliveries()
        self._worker = worker
        self._report = report
        self._reader = Devices(path, patience=READ_SECONDS)
        self._writer = Devices(path)
        self._queue: deque[_Note] = deque()
        self._changed = threading.Condition()
        self._taken = self._written = 0
        self._dropped = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def asked(self, sighting: Sighting, version: str, now: float) -> int:
        """Note that a device asked, and return how often it was given `version` in vain; raises SystemFaultError."""
        product, device = sighting.product, sighting.device
        (known, news), pending = self._pending.beside(product, device, lambda: self._reader.look(sighting, now))
        if news:
            self._note(_Note(product, device, lambda devices: devices.see(sighting, now)))
        return pending + (known.deliveries if known.offered == version else 0)

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float) -> None:
        """Note that a device is answered with a release; see `Devices.offer`."""
        self._note(
            _Note(product, device, lambda devices: devices.offer(product, device, version, expected_md5, now)),
        )

    def deliver(self, product: str, device: str, version: str, now: float) -> None:
        """Note that a release went out in full; from now on it counts, in every worker."""
        note = _Note(product, device, lambda devices: devices.deliver(product, device, version, now), delivers=True)
        self._note(note)

    def flush(self, seconds: float) -> bool:
        """Wait until all that was noted before is written, for so long at most, and return whether it is."""
        with self._changed:
            wanted = self._taken
            return self._changed.wait_for(lambda: self._written >= wanted, seconds)

    def close(self) -> None:
        """Write what is left, for a bounded time, and close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_SECONDS)
        if left := len(self._queue):
            self._report(f"{left} notes of devices could not be written before the end")
        self._reader.close()

    def _note(self, note: _Note) -> None:
        with self._changed:
            # What was delivered breaks loops: it finds room when what devices say finds none.
            if len(self._queue) >= (2 * MAX_QUEUE if note.delivers else MAX_QUEUE):
                self._dropped += 1
                first = self._dropped == 1
            else:
                first = False
                self._queue.append(note)
                self._taken += 1
                if note.delivers:
                    self._pending.change(self._worker, note.product, note.device, 1)
                if len(self._queue) == 1:
                    self._changed.notify_all()
        if first:
            self._report("the devices' file is too slow: what devices say is dropped")

    def _run(self) -> None:
        try:
            self._work()
        finally:  # here, because `close` does not wait for ever
            with contextlib.suppress(SystemFaultError):
                self._writer.close()

    def _work(self) -> None:
        complained, end = False, None
        while batch := self._next():
            try:
                self._await_others(batch)
                self._write(batch)
                complained = False
            except SystemFaultError as error:
                if not complained:
                    complained = True
                    self._report(error.message)
                if self._closing:
                    end = end or time.monotonic() + CLOSE_SECONDS
                    if time.monotonic() > end:
                        return
                time.sleep(RETRY_SECONDS)

    def _write(self, batch: list[_Note]) -> None:
        with contextlib.ExitStack() as moving:
            with self._writer.batch():
                for note in batch:
                    note.write(self._writer)
                moving.enter_context(self._pending.moving(self._worker))
            self._done(batch)

    def _next(self) -> list[_Note]:
        """Return what is to be written next, which stays in the queue until it is; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(lambda: self._closing or len(self._queue) >= BATCH, GATHER_SECONDS)
            return [self._queue[index] for index in range(min(len(self._queue), BATCH))]

    def _done(self, batch: list[_Note]) -> None:
        with self._changed:
            for note in batch:
                self._queue.popleft()
                if note.delivers:
                    self._pending.change(self._worker, note.product, note.device, -1)
            self._written += len(batch)
            if not self._queue:
                self._dropped = 0
            self._changed.notify_all()

    def _await_others(self, batch: list[_Note]) -> None:
        """Let other workers write their deliveries first: that a device came back tells something only after them."""
        end = time.monotonic() + ORDER_SECONDS
        for note in batch:
            while self._pending.of(note.product, note.device, besides=self._worker) and time.monotonic() < end:
                time.sleep(GATHER_SECONDS / 4)


def _slot(product: str, device: str) -> int:
    # Processes that were forked from one have one seed for this.
    return hash((product, device)) % SLOTS
