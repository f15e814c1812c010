"""A program on a real terminal of its own, with a person who reads and types."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence

SECONDS = 120


class Terminal:
    """Run `command` on a new pseudo-terminal: `with Terminal([...]) as terminal: ...`.

    `screen` is all that was shown. Afterwards `returncode` is the program's exit code, or minus its signal.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.screen = ""
        self.returncode: int | None = None
        variables = {k: v for k, v in os.environ.items() if not k.startswith("OTASEAL_")}
        variables |= {"PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
        self._deadline = time.monotonic() + SECONDS
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            # What a shell has started in the background ignores interrupts, and so would all that it starts.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execve(command[0], list(command), variables)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._terminal)
        if self.returncode is None:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)

    def expect(self, text: str) -> None:
        """Read until what is new on the screen ends in `text`; raises AssertionError if it never does."""
        start = len(self.screen)
        while not self.screen[start:].endswith(text):
            assert self._read(), f"the program ended and showed {self.screen!r}"

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        self.send(line.encode() + b"\n")

    def send(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._terminal, keys)

    def rest(self) -> str:
        """Read until the program ends; return the whole screen."""
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.screen

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(self._deadline - time.monotonic(), 0))
        assert ready, f"nothing happened for {SECONDS} seconds after {self.screen!r}"
        try:
            piece = os.read(self._terminal, 4096)
        except OSError:  # how Linux says that the last program on a terminal has ended
            return False
        self.screen += piece.decode(errors="replace")
        return bool(piece)
