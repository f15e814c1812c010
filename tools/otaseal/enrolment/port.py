"""A serial port as lines with deadlines, by pyserial, which PlatformIO brings along.

Every line is bounded in length, every wait in time; what is longer than a line may be is passed over to its end.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from importlib import import_module
from types import TracebackType
from typing import Any

from ..errors import SystemFaultError
from .lines import MAX_LINE

WRITE_SECONDS = 10.0
POLL_SECONDS = 0.1
"""How long one read waits: no more than this late is a deadline noticed."""


class Port:
    """An open serial port: `name` is a path, COM3, or a URL of pyserial; `baud` is the sketch's speed.

    Opening it resets many boards, by the control lines, which are on unless `dtr` or `rts` say otherwise. Raises
    SystemFaultError where it cannot be opened or used.
    """

    def __init__(self, name: str, baud: int, dtr: bool | None = None, rts: bool | None = None) -> None:
        self.name, self.baud = name, baud
        self._serial, self._error = _pyserial()
        self._received, self._too_long = b"", False
        try:
            self._port: Any = self._serial.serial_for_url(
                name, baudrate=baud, timeout=POLL_SECONDS, write_timeout=WRITE_SECONDS, do_not_open=True
            )
            for line, state in (("dtr", dtr), ("rts", rts)):
                if state is not None:
                    setattr(self._port, line, bool(state))
            self._port.open()
        except (self._error, ValueError, OSError) as error:
            raise self._fault("opened", error) from error

    def __enter__(self) -> Port:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._port.close()

    def write_line(self, line: str) -> None:
        """Send a line; raises SystemFaultError where it cannot be sent."""
        try:
            self._port.write(line.encode("ascii") + b"\n")
            self._port.flush()
        except (self._error, OSError) as error:
            raise self._fault("written to", error) from error

    def read_line(self, deadline: float) -> bytes | None:
        """Return the next line without its end, or None at the `deadline` (time.monotonic); raises SystemFaultError."""
        while True:
            line, end, rest = self._received.partition(b"\n")
            if end:
                self._received, whole, self._too_long = rest, not self._too_long, False
                if whole and len(line) <= MAX_LINE + 1:
                    return line.removesuffix(b"\r")
                continue
            if len(line) > MAX_LINE + 1:
                self._received, self._too_long = b"", True
            if time.monotonic() >= deadline:
                return None
            self._received += self._read()

    def _read(self) -> bytes:
        try:
            return bytes(self._port.read(max(1, min(self._port.in_waiting, MAX_LINE))))
        except (self._error, OSError) as error:
            raise self._fault("read", error) from error

    def _fault(self, what: str, error: Exception) -> SystemFaultError:
        number = getattr(error, "errno", None)  # pyserial's own text has the name and the number in it again
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        hint = "check the cable and the port's name, close other programs that use it, such as a monitor"
        if number == errno.EACCES:
            hint = "you may not use it: add yourself to the group that owns it, often dialout, and log in again"
        return SystemFaultError(f"the serial port '{self.name}' cannot be {what}: {reason}", hint)


def _pyserial() -> tuple[Any, type[Exception]]:
    try:
        serial = import_module("serial")
        return serial, serial.SerialException
    except (ModuleNotFoundError, AttributeError) as error:  # another package is called `serial`, too
        raise SystemFaultError(
            "a serial port needs the package 'pyserial'", f'install it: "{sys.executable}" -m pip install pyserial'
        ) from error
