"""Several processes behind one port: one that supervises, and workers that answer devices.

The supervisor holds the listening sockets and the memory that workers share, runs no event loop and no thread, and so
can fork at any time. A worker that dies is replaced; when that happens too often everything ends, with an error that a
service manager sees. Workers listen to the supervisor alone: a signal to the whole group, as a terminal or systemd
sends it, ends them once, and when the supervisor is gone they go too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..errors import ConfigError, OtasealError, SystemFaultError
from .telemetry import Telemetry

MAX_WORKERS = 64
START_SECONDS = 30.0
MAX_RESTARTS = 5
RESTART_WINDOW = 60.0
"""Seconds within which so many workers may die before the service ends."""
_READY, _STOP = b"r", b"s"
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD")


def check_count(workers: int) -> None:
    """Raise ConfigError unless so many workers can be run here."""
    if not 1 <= workers <= MAX_WORKERS:
        raise ConfigError(
            f"'{workers}' is not a valid number of workers", f"give 1 to {MAX_WORKERS}, as many as cores at most"
        )
    if workers > 1 and not (hasattr(os, "fork") and hasattr(socket, "send_fds")):
        raise ConfigError(
            f"'{workers}' workers cannot share a port on this system",
            "leave --workers out, or run the server on Linux or macOS",
        )


class Control:
    """A worker's line to its supervisor."""

    def __init__(self, line: socket.socket) -> None:
        """Use the worker's end of the socket pair."""
        self._line = line
        line.setblocking(False)

    def fileno(self) -> int:
        """Return what to watch: readable when the worker is to stop."""
        return self._line.fileno()

    def ready(self) -> None:
        """Tell the supervisor that connections are taken."""
        self._line.send(_READY)

    def told_to_stop(self) -> tuple[bool, bool]:
        """Return whether the worker is to stop, and whether the line is dead: then nobody will say anything more."""
        try:
            word = self._line.recv(1)
        except (BlockingIOError, InterruptedError):
            return False, False
        except OSError:
            return True, True
        return True, not word


@dataclass
class Supervisor:
    """Keeps `count` processes running `work(number, control)`; `gone` is called with the number of one that died."""

    count: int
    work: Callable[[int, Control], None]
    telemetry: Telemetry
    gone: Callable[[int], None]
    _lines: dict[int, socket.socket] = field(default_factory=dict)
    _workers: dict[int, int] = field(default_factory=dict)
    _deaths: deque[float] = field(default_factory=deque)
    _failure: str = ""
    _stopping: bool = False

    def run(self, ready: Callable[[], None], held: Iterable[socket.socket]) -> None:
        """Run until SIGTERM or SIGINT, then close the `held` sockets; raises SystemFaultError for too many deaths."""
        watched = {getattr(signal, name) for name in _SIGNALS}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        # Where its default is to be ignored, a blocked signal need not be kept.
        handler = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            for number in range(self.count):
                self._start(number)
            if all(self._is_ready(number) for number in range(self.count)):
                ready()
            while self._workers:
                number = signal.sigwait(watched)
                if number == signal.SIGHUP:
                    for pid in self._workers:
                        os.kill(pid, number)
                elif number != signal.SIGCHLD:
                    self._stop(held)
                self._reap(held)
        finally:
            for pid in self._workers:
                os.kill(pid, signal.SIGKILL)
            signal.signal(signal.SIGCHLD, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self._failure:
            raise SystemFaultError(self._failure, "the lines before say why; a service manager starts it again")

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become(number, ours, theirs)
        theirs.close()
        if number in self._lines:
            self._lines[number].close()
        self._lines[number], self._workers[pid] = ours, number

    def _become(self, number: int, ours: socket.socket, theirs: socket.socket) -> None:
        """Run as worker `number` in the forked process; never returns: what the supervisor has open stays open."""
        code = 1
        try:
            for name in _SIGNALS:
                signal.signal(getattr(signal, name), signal.SIG_DFL if name == "SIGCHLD" else signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {getattr(signal, name) for name in _SIGNALS})
            for line in (ours, *self._lines.values()):  # an end that stays open here would hide the supervisor's death
                line.close()
            self.work(number, Control(theirs))
            code = 0
        except OtasealError as error:
            self.telemetry.alarm("worker", number=number, message=error.message)
        except BaseException:
            self.telemetry.alarm("worker", number=number, message=traceback.format_exc())
        finally:
            os._exit(code)

    def _is_ready(self, number: int) -> bool:
        line = self._lines[number]
        line.settimeout(START_SECONDS)
        try:
            return line.recv(1) == _READY
        except OSError:
            return False
        finally:
            line.settimeout(None)

    def _stop(self, held: Iterable[socket.socket] = ()) -> None:
        """Tell the workers to stop; a second time, to stop at once."""
        self._stopping = True
        for listening in held:
            listening.close()
        for line in self._lines.values():
            with contextlib.suppress(OSError):
                line.send(_STOP)

    def _reap(self, held: Iterable[socket.socket]) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number = self._workers.pop(pid, None)
            if number is None:
                continue
            self.gone(number)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                if code and not self._failure:
                    self._failure = f"worker {number} ended with {_exit_text(code)} while it was stopping"
            elif self._may_restart(number, code):
                self._start(number)
            else:
                self._stop(held)

    def _may_restart(self, number: int, code: int) -> bool:
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > RESTART_WINDOW:
            self._deaths.popleft()
        self.telemetry.alarm("worker", number=number, message=f"ended with {_exit_text(code)}")
        self.telemetry.post()
        if len(self._deaths) <= MAX_RESTARTS:
            return True
        self._failure = f"worker {number} ended with {_exit_text(code)}, the {len(self._deaths)}th within a minute"
        return False


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
