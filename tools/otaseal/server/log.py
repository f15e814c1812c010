"""The log: lines on a descriptor that may be full, gone or never read, which nothing waits for.

Events go into a bounded queue; one thread writes, and retries what failed. Events without room are counted, and their
number is written as soon as lines get through again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timezone

from .telemetry import DeviceEvent, Event

MAX_WAITING = 10_000
"""Events that wait to be written, at a kilobyte or two each."""
PIECE = 4096
"""Bytes written at once: a pipe takes so many whole, or not at all (POSIX: PIPE_BUF), beside other processes."""
GATHER_SECONDS = 0.05
"""How long an event waits for others to be written with."""
RETRY_SECONDS = 0.5
CLOSE_SECONDS = 2.0


class Log:
    """Writes events as lines to `descriptor`, in plain words or, `as_json`, as objects; None drops them all."""

    def __init__(self, descriptor: int | None, *, as_json: bool = False) -> None:
        self._descriptor, self._as_json = descriptor, as_json
        self._waiting: deque[tuple[float, Event | DeviceEvent]] = deque()
        self._pending = b""
        """Words that are being written; they begin within a line where a part of it has been written."""
        self._lost = 0
        self._counting = threading.Lock()
        self._news, self._closing = threading.Event(), threading.Event()

    def write(self, event: Event | DeviceEvent) -> bool:
        """Take an event and return at once; False when there is no room, and it is only counted."""
        if len(self._waiting) >= MAX_WAITING or self._descriptor is None:
            with self._counting:
                self._lost += 1
            return False
        self._waiting.append((time.time(), event))
        if not self._news.is_set():
            self._news.set()
        return True

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let a thread write meanwhile; at the end what is left has a bounded time to be written."""
        self._closing.clear()
        thread = threading.Thread(target=self._work, name="log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._closing.set()
            self._news.set()
            thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        while True:
            if self._fill():
                if not self._emit():
                    if self._closing.is_set():
                        return
                    self._closing.wait(RETRY_SECONDS)  # and when that ends it, there is one more try
            elif self._closing.is_set():
                return
            else:
                self._news.wait()
                self._closing.wait(GATHER_SECONDS)
                self._news.clear()

    def _fill(self) -> bool:
        """Return whether there is anything to write, in `_pending`."""
        if self._pending:
            return True
        lines: list[bytes] = []
        with self._counting:
            lost, self._lost = self._lost, 0
        if lost:
            event = Event({"event": "log", "alarm": True, "lost": lost, "message": "lines that could not be written"})
            lines.append(self._line(time.time(), event))
        size = sum(map(len, lines))
        with contextlib.suppress(IndexError):
            while size < PIECE:
                lines.append(self._line(*self._waiting[0]))
                size += len(lines[-1])
                if size > PIECE and len(lines) > 1:
                    lines.pop()
                    break
                self._waiting.popleft()
        self._pending = b"".join(lines)
        return bool(self._pending)

    def _emit(self) -> bool:
        """Write a piece of what is pending; False when that fails, and nothing of it is lost."""
        if self._descriptor is None:
            return False
        try:
            written = os.write(self._descriptor, self._pending[:PIECE])
        except OSError:
            return False
        self._pending = self._pending[written:]
        return True

    def _line(self, at: float, event: Event | DeviceEvent) -> bytes:
        when = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
        text = (
            json.dumps({"at": when, **event.as_fields()}, default=str) if self._as_json else f"{when} {event.as_line()}"
        )
        return text.encode("ascii", "backslashreplace") + b"\n"
