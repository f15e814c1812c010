"""Responses on their way to devices: the head in bytes, and a body that takes a while.

An answer has its Content-Length and is never chunked (F29). It goes out as fast as the kernel takes it, with a record
or a few of them in memory: thousands of slow readers must not cost what they read.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from ...protocol.answers import Headers
from .answers import Answer, DeviceRequest
from .app import DeviceApp
from .listener import ListenerContext
from .tls_transport import KERNEL_BUFFER, RECORD, TlsTransport

FIRST_PAUSE, LAST_PAUSE = 0.02, 0.2  # seconds between checks for the acknowledgement of a delivery
ACKNOWLEDGEMENT_SECONDS = 60.0


@dataclass(eq=False)
class Delivery:
    """An answer that takes a while, `position` bytes of its body handed on; without `keeps` it is the last one."""

    request: DeviceRequest
    answer: Answer
    body: memoryview
    keeps: bool
    position: int = 0
    ended: bool = False
    """Whether the end of TLS was sent after it."""
    waits_until: float = 0.0
    """When to give up on the acknowledgement, by the monotonic clock; 0 until all was handed on."""
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    """Of the next check for the acknowledgement."""
    _pause: float = FIRST_PAUSE

    def send(self, tls: TlsTransport) -> bool | None:
        """Send what there is room for; return whether the client has all of it, None while open; raises SSLError."""
        while self.position < len(self.body):
            if tls.paused or tls.transport.is_closing():
                return None
            end = min(self.position + max(RECORD, tls.free()), len(self.body))
            self.ended = end == len(self.body) and not self.keeps
            tls.send(self.body[self.position : end], last=self.ended)
            self.position = end
        if not self.answer.counts and tls.room == KERNEL_BUFFER:
            return True
        tls.flush()
        # What lies in a buffer when a device loses its network was not delivered, and must not count as a loop.
        now = time.monotonic()
        self.waits_until = self.waits_until or now + ACKNOWLEDGEMENT_SECONDS
        if not tls.unacknowledged():
            return True
        return False if now > self.waits_until else None

    def pause(self) -> float:
        """Return the seconds until the next check, each time more of them."""
        pause, self._pause = self._pause, min(2 * self._pause, LAST_PAUSE)
        return pause

    def finish(self, app: DeviceApp, *, arrived: bool) -> None:
        """Record that the delivery has ended, and whether all of it `arrived`."""
        if self.timer is not None:
            self.timer.cancel()
        app.account(self.request, self.answer, len(self.body), arrived)


def start_response(
    listener: ListenerContext, tls: TlsTransport, request: DeviceRequest, answer: Answer, *, keeps: bool
) -> Delivery | None:
    """Encrypt what fits into one record; return what is left to be delivered, None for nothing. Raises ssl.SSLError."""
    body = b"" if request.head.method == "HEAD" else answer.body
    head = _response_head(answer.status, answer.headers, request.head.version, int(time.time()), keeps=keeps)
    room = max(RECORD - len(head), 0)
    tls.write(head + body[:room])
    if len(body) <= room and not answer.counts:
        listener.app.account(request, answer, len(body), True)
        return None
    tls.count_anew()
    # A buffer for all of the answer at once, unless many want that: otherwise the kernel would hold a firmware for each
    # of thousands of slow readers. It is given back when the client has it all and the connection ends.
    if len(body) > RECORD + KERNEL_BUFFER and tls.room == KERNEL_BUFFER and listener.connections.lend():
        tls.enlarge()
    return Delivery(request, answer, memoryview(body), keeps, min(len(body), room))


@lru_cache(maxsize=64)
def _response_head(status: int, headers: Headers, version: str, second: int, *, keeps: bool) -> bytes:
    """Return the head of an answer to a request of HTTP `version`; without `keeps` the connection ends after it."""
    lines = [_STATUS_LINES[status], f"Date: {formatdate(second, usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers if name != "Connection"]
    if not keeps:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
